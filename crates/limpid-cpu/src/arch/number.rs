//! What tiles multiply.

use super::Backend;
use super::store::Target;
use crate::simd::{LANES, Round, Simd, Vectorize, Widen, round, widen};
use half::bf16;

/// Numbers that dense tiles multiply: floats one by one, or bf16 in pairs. Sums
/// are floats.
pub(crate) trait Number: bytemuck::Pod + Send + Sync {
    /// Products that one instruction adds to a sum.
    const GROUP: usize;

    /// Products that are summed up before their sum is added to the whole.
    const PARTIAL: usize;

    /// A group of factors for each lane.
    type Factors<S: Simd>: Copy;

    /// The float that it is.
    fn widen(self) -> f32;

    /// The nearest to a float.
    fn round(x: f32) -> Self;

    /// The floats that they are, in `work` if they are none.
    fn floats<'a>(numbers: &'a [Self], work: &'a mut Vec<f32>, backend: Backend) -> &'a [f32];

    /// Lets `f` compute floats, and stores them as such numbers.
    fn write(to: &mut [Self], backend: Backend, f: impl FnOnce(&mut [f32]));

    /// Sixteen numbers as floats.
    fn vector<S: Simd>(s: S, from: &[Self; LANES]) -> S::V;

    /// Stores floats, rounded to such numbers.
    fn store<S: Simd>(s: S, v: S::V, to: &mut [Self; LANES]);

    /// Where tiles store such numbers: a vector in each plane or, where the
    /// planes are channels of floats, a lane.
    fn target<'a, 'b>(planes: &'a mut [&'b mut [Self]], lanes: bool) -> Target<'a, 'b>;

    /// Runs `f`, compiled for the instructions that it needs.
    fn vectorize<F: Vectorize>(backend: Backend, f: F) -> F::Output;

    /// The group at `from` in all lanes.
    ///
    /// # Safety
    /// So many numbers must be valid there.
    unsafe fn splat<S: Simd>(s: S, from: *const Self) -> Self::Factors<S>;

    /// The one number at `from`, and zeros, in all lanes.
    ///
    /// # Safety
    /// The number must be valid.
    unsafe fn splat_one<S: Simd>(s: S, from: *const Self) -> Self::Factors<S>;

    /// A group for each lane.
    ///
    /// # Safety
    /// So many numbers must be valid at `from`.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> Self::Factors<S>;

    /// c plus the products of a group.
    fn multiply<S: Simd>(s: S, a: Self::Factors<S>, b: Self::Factors<S>, c: S::V) -> S::V;
}

impl Number for f32 {
    const GROUP: usize = 1;

    /// A sum of n products in one go is off by about sqrt(n / 2) roundings, in
    /// parts of this many by a quarter of that where n is 1000; the kinks of a
    /// network make a hundred times as much of it in a gradient.
    const PARTIAL: usize = 64;

    type Factors<S: Simd> = S::V;

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn round(x: f32) -> f32 {
        x
    }

    fn floats<'a>(numbers: &'a [f32], _: &'a mut Vec<f32>, _: Backend) -> &'a [f32] {
        numbers
    }

    fn write(to: &mut [f32], _: Backend, f: impl FnOnce(&mut [f32])) {
        f(to);
    }

    #[inline(always)]
    fn vector<S: Simd>(s: S, from: &[f32; LANES]) -> S::V {
        s.load(from)
    }

    #[inline(always)]
    fn store<S: Simd>(s: S, v: S::V, to: &mut [f32; LANES]) {
        s.store(v, to);
    }

    fn target<'a, 'b>(planes: &'a mut [&'b mut [f32]], lanes: bool) -> Target<'a, 'b> {
        if lanes {
            Target::Lanes(planes)
        } else {
            Target::Planes(planes)
        }
    }

    #[inline(always)]
    fn vectorize<F: Vectorize>(backend: Backend, f: F) -> F::Output {
        backend.vectorize(f)
    }

    #[inline(always)]
    unsafe fn splat<S: Simd>(s: S, from: *const f32) -> S::V {
        // SAFETY: the caller's.
        s.splat(unsafe { *from })
    }

    #[inline(always)]
    unsafe fn splat_one<S: Simd>(s: S, from: *const f32) -> S::V {
        // SAFETY: the caller's.
        s.splat(unsafe { *from })
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::V {
        // SAFETY: the caller's.
        s.load(unsafe { &*from.cast::<[f32; LANES]>() })
    }

    #[inline(always)]
    fn multiply<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V {
        s.fma(a, b, c)
    }
}

impl Number for bf16 {
    const GROUP: usize = 2;

    /// The factors' own rounding is 60 000 times as large as that of a sum.
    const PARTIAL: usize = usize::MAX;

    type Factors<S: Simd> = S::Pairs;

    #[inline(always)]
    fn widen(self) -> f32 {
        widen(self)
    }

    #[inline(always)]
    fn round(x: f32) -> bf16 {
        round(x)
    }

    fn floats<'a>(numbers: &'a [bf16], work: &'a mut Vec<f32>, backend: Backend) -> &'a [f32] {
        work.resize(numbers.len(), 0.0);
        backend.vectorize(Widen(numbers, work));
        work
    }

    fn write(to: &mut [bf16], backend: Backend, f: impl FnOnce(&mut [f32])) {
        let mut floats = vec![0.0; to.len()];
        f(&mut floats);
        backend.vectorize(Round(&floats, to));
    }

    #[inline(always)]
    fn vector<S: Simd>(s: S, from: &[bf16; LANES]) -> S::V {
        s.load_bf16(from)
    }

    #[inline(always)]
    fn store<S: Simd>(s: S, v: S::V, to: &mut [bf16; LANES]) {
        s.store_bf16(v, to);
    }

    fn target<'a, 'b>(planes: &'a mut [&'b mut [bf16]], _lanes: bool) -> Target<'a, 'b> {
        Target::Rounded(planes)
    }

    #[inline(always)]
    fn vectorize<F: Vectorize>(backend: Backend, f: F) -> F::Output {
        backend.vectorize_bf16(f)
    }

    #[inline(always)]
    unsafe fn splat<S: Simd>(s: S, from: *const bf16) -> S::Pairs {
        // SAFETY: the caller's.
        let [first, second] = unsafe { *from.cast::<[bf16; 2]>() };
        s.splat_pair(u32::from(first.to_bits()) | u32::from(second.to_bits()) << 16)
    }

    #[inline(always)]
    unsafe fn splat_one<S: Simd>(s: S, from: *const bf16) -> S::Pairs {
        // SAFETY: the caller's.
        s.splat_pair(u32::from(unsafe { *from }.to_bits()))
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const bf16) -> S::Pairs {
        // SAFETY: the caller's.
        s.load_pairs(unsafe { &*from.cast::<[bf16; 2 * LANES]>() })
    }

    #[inline(always)]
    fn multiply<S: Simd>(s: S, a: S::Pairs, b: S::Pairs, c: S::V) -> S::V {
        s.dot(a, b, c)
    }
}
