use crate::simd::{LANES, Simd, Vectorize, Widened, dot_widened, load_widened, splat_widened};
use half::bf16;
use std::arch::x86_64::*;

/// Two registers of eight lanes. Made by [`run`] alone.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// Runs `f` with the instructions enabled.
///
/// # Safety
/// The processor must have them.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run<F: Vectorize>(f: F) -> F::Output {
    f.run(Avx2(()))
}

type V = [__m256; 2];

// SAFETY of every block below: the value `self` exists only under `run`, whose
// caller vouched for the instructions; references to sixteen floats are valid
// for two loads or stores of eight.
impl Simd for Avx2 {
    type V = V;
    type Pairs = Widened<V>;
    const WIDE: bool = false;
    const FUSED: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        // SAFETY: see above.
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> V {
        // SAFETY: see above.
        unsafe {
            let p = from.as_ptr();
            [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))]
        }
    }
    #[inline(always)]
    fn store(self, v: V, to: &mut [f32; LANES]) {
        // SAFETY: see above.
        unsafe {
            let p = to.as_mut_ptr();
            _mm256_storeu_ps(p, v[0]);
            _mm256_storeu_ps(p.add(8), v[1]);
        }
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        // SAFETY: see above.
        unsafe {
            [
                _mm256_fmadd_ps(a[0], b[0], c[0]),
                _mm256_fmadd_ps(a[1], b[1], c[1]),
            ]
        }
    }
    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn inside(self, v: V, low: V, high: V) -> u16 {
        // SAFETY: see above.
        unsafe {
            let half = |i: usize| {
                let above = _mm256_cmp_ps::<_CMP_LT_OQ>(low[i], v[i]);
                let below = _mm256_cmp_ps::<_CMP_LT_OQ>(v[i], high[i]);
                _mm256_movemask_ps(_mm256_and_ps(above, below)) as u16
            };
            half(0) | half(1) << 8
        }
    }
    #[inline(always)]
    fn keep(self, v: V, lanes: u16) -> V {
        // SAFETY: see above.
        unsafe {
            let all = _mm256_set1_epi32(i32::from(lanes));
            let half = |v, first: i32| {
                let bits = _mm256_setr_epi32(
                    first,
                    first << 1,
                    first << 2,
                    first << 3,
                    first << 4,
                    first << 5,
                    first << 6,
                    first << 7,
                );
                let set = _mm256_cmpeq_epi32(_mm256_and_si256(all, bits), bits);
                _mm256_and_ps(v, _mm256_castsi256_ps(set))
            };
            [half(v[0], 1), half(v[1], 1 << 8)]
        }
    }
    #[inline(always)]
    fn prefetch<T>(self, at: *const T) {
        // SAFETY: a prefetch reads nothing and faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn splat_pair(self, pair: u32) -> Widened<V> {
        splat_widened(self, pair)
    }
    #[inline(always)]
    fn load_pairs(self, from: &[bf16; 2 * LANES]) -> Widened<V> {
        load_widened(self, from)
    }
    #[inline(always)]
    fn dot(self, a: Widened<V>, b: Widened<V>, c: V) -> V {
        dot_widened(self, a, b, c)
    }
}
