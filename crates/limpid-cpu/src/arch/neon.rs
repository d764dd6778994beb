use crate::simd::{LANES, Simd, Vectorize, Widened, dot_widened, load_widened, splat_widened};
use half::bf16;
use std::arch::aarch64::*;

/// Four registers of four lanes. Made by [`run`] alone.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

/// Runs `f` with the instructions enabled.
///
/// # Safety
/// The processor must have them.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run<F: Vectorize>(f: F) -> F::Output {
    f.run(Neon(()))
}

type V = [float32x4_t; 4];

/// The same operation on the four registers.
macro_rules! each {
    ($i:ident => $e:expr) => {{
        let q = |$i: usize| $e;
        [q(0), q(1), q(2), q(3)]
    }};
}

// SAFETY of every block below: the value `self` exists only under `run`, whose
// caller vouched for the instructions; references to sixteen floats are valid
// for four loads or stores of four.
impl Simd for Neon {
    type V = V;
    type Pairs = Widened<V>;
    const WIDE: bool = false;
    const FUSED: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        // SAFETY: see above.
        unsafe { [vdupq_n_f32(x); 4] }
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> V {
        // SAFETY: see above.
        unsafe { each!(i => vld1q_f32(from.as_ptr().add(4 * i))) }
    }
    #[inline(always)]
    fn store(self, v: V, to: &mut [f32; LANES]) {
        for (i, v) in v.into_iter().enumerate() {
            // SAFETY: see above.
            unsafe { vst1q_f32(to.as_mut_ptr().add(4 * i), v) }
        }
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { each!(i => vaddq_f32(a[i], b[i])) }
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { each!(i => vsubq_f32(a[i], b[i])) }
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { each!(i => vmulq_f32(a[i], b[i])) }
    }
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        // SAFETY: see above.
        unsafe { each!(i => vfmaq_f32(c[i], a[i], b[i])) }
    }
    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        // `vminq_f32` would return a NaN of either side: a select keeps the
        // contract of the trait.
        // SAFETY: see above.
        unsafe { each!(i => vbslq_f32(vcltq_f32(a[i], b[i]), a[i], b[i])) }
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { each!(i => vbslq_f32(vcgtq_f32(a[i], b[i]), a[i], b[i])) }
    }
    #[inline(always)]
    fn inside(self, v: V, low: V, high: V) -> u16 {
        // SAFETY: see above.
        unsafe {
            let weights = vld1q_u32([1, 2, 4, 8].as_ptr());
            let quarters = each!(i => {
                let set = vandq_u32(vcltq_f32(low[i], v[i]), vcltq_f32(v[i], high[i]));
                vaddvq_u32(vandq_u32(set, weights)) as u16
            });
            quarters[0] | quarters[1] << 4 | quarters[2] << 8 | quarters[3] << 12
        }
    }
    #[inline(always)]
    fn keep(self, v: V, lanes: u16) -> V {
        // SAFETY: see above.
        unsafe {
            let all = vdupq_n_u32(u32::from(lanes));
            let first = vld1q_u32([1, 2, 4, 8].as_ptr());
            let bits = [
                first,
                vshlq_n_u32::<4>(first),
                vshlq_n_u32::<8>(first),
                vshlq_n_u32::<12>(first),
            ];
            each!(i => {
                let set = vtstq_u32(all, bits[i]);
                vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v[i]), set))
            })
        }
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
