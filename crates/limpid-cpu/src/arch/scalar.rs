use crate::simd::{LANES, Simd, Vectorize, Widened, dot_widened, load_widened, splat_widened};
use half::bf16;

/// Sixteen floats in plain code, for processors without a set of their own and
/// for comparison.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

/// Runs `f` without any instruction beyond the target's.
pub(super) fn run<F: Vectorize>(f: F) -> F::Output {
    f.run(Scalar)
}

type V = [f32; LANES];

#[inline(always)]
fn each(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Scalar {
    type V = V;
    type Pairs = Widened<V>;
    const WIDE: bool = false;
    const FUSED: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> V {
        *from
    }
    #[inline(always)]
    fn store(self, v: V, to: &mut [f32; LANES]) {
        *to = v;
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        each(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        each(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        each(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        each(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        each(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn inside(self, v: V, low: V, high: V) -> u16 {
        let mut lanes = 0;
        for i in 0..LANES {
            lanes |= u16::from(low[i] < v[i] && v[i] < high[i]) << i;
        }
        lanes
    }
    #[inline(always)]
    fn keep(self, v: V, lanes: u16) -> V {
        std::array::from_fn(|i| if lanes >> i & 1 == 1 { v[i] } else { 0.0 })
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
