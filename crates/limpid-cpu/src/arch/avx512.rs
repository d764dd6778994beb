use crate::simd::{LANES, Simd, Vectorize};
use std::arch::x86_64::*;

/// One register of sixteen lanes. Made by [`run`] alone.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

/// Runs `f` with the instructions enabled.
///
/// # Safety
/// The processor must have them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn run<F: Vectorize>(f: F) -> F::Output {
    f.run(Avx512(()))
}

// SAFETY of every block below: the value `self` exists only under `run`, whose
// caller vouched for the instructions; references to sixteen floats are valid
// for sixteen floats.
impl Simd for Avx512 {
    type V = __m512;
    const WIDE: bool = true;
    const FUSED: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: __m512, to: &mut [f32; LANES]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn inside(self, v: __m512, low: __m512, high: __m512) -> u16 {
        // SAFETY: see above.
        unsafe {
            let above = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(low, v);
            _mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(above, v, high)
        }
    }
    #[inline(always)]
    fn keep(self, v: __m512, lanes: u16) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_maskz_mov_ps(lanes, v) }
    }
    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: a prefetch reads nothing and faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
