//! The vector that kernels are written over.

use half::bf16;

/// Lanes of the logical vector, on every instruction set.
pub(crate) const LANES: usize = 16;

/// The float that a bf16 stands for.
#[inline(always)]
pub(crate) fn widen(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// The bf16 nearest to a float, the even one of two; what is no number stays so.
#[inline(always)]
pub(crate) fn round(x: f32) -> bf16 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    bf16::from_bits((if x.is_nan() { quiet } else { nearest }) as u16)
}

/// Lanes of the logical vector of doubles.
pub(crate) const DOUBLES: usize = 8;

/// An instruction set's vector of eight doubles.
pub(crate) trait Double: Copy {
    /// Eight doubles.
    type D: Copy;

    fn splat_doubles(self, x: f64) -> Self::D;
    fn load_doubles(self, from: &[f64; DOUBLES]) -> Self::D;
    fn store_doubles(self, v: Self::D, to: &mut [f64; DOUBLES]);
    fn add_doubles(self, a: Self::D, b: Self::D) -> Self::D;
    fn sub_doubles(self, a: Self::D, b: Self::D) -> Self::D;
    /// a * b + c, rounded once; the scalar set rounds twice.
    fn fma_doubles(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D;
}

/// An instruction set's vector of sixteen floats. A value of an implementing
/// type is the proof that the processor has the instructions.
///
/// Every method is inlined into the function that enables the instructions.
pub(crate) trait Simd: Double {
    /// Sixteen floats.
    type V: Copy;

    /// Sixteen pairs of bf16.
    type Pairs: Copy;

    /// Whether the registers hold tiles of up to four vectors of channels; else of one.
    const WIDE: bool;

    /// Whether the processor multiplies and adds in one instruction.
    const FUSED: bool;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, from: &[f32; LANES]) -> Self::V;
    fn store(self, v: Self::V, to: &mut [f32; LANES]);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a * b + c, rounded once; the scalar set rounds twice.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The smaller; `b` where one is no number.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger; `b` where one is no number.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The lanes with low < v < high, lane 0 in the lowest bit.
    fn inside(self, v: Self::V, low: Self::V, high: Self::V) -> u16;
    /// `v` in the lanes that are set, 0 in the others.
    fn keep(self, v: Self::V, lanes: u16) -> Self::V;
    /// Asks for the line of this address, which need not be one of ours.
    fn prefetch<T>(self, _at: *const T) {}

    /// A pair of bf16, the first in the lower half, in all lanes.
    fn splat_pair(self, pair: u32) -> Self::Pairs;
    fn load_pairs(self, from: &[bf16; 2 * LANES]) -> Self::Pairs;
    /// c + a.0 * b.0 + a.1 * b.1 in f32. How often it rounds, and whether
    /// numbers below the normal ones count, is the instruction set's matter.
    fn dot(self, a: Self::Pairs, b: Self::Pairs, c: Self::V) -> Self::V;

    /// Sixteen bf16 as floats.
    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> Self::V {
        self.load(&from.map(widen))
    }

    /// Rounds to bf16.
    #[inline(always)]
    fn store_bf16(self, v: Self::V, to: &mut [bf16; LANES]) {
        let mut floats = [0.0; LANES];
        self.store(v, &mut floats);
        *to = floats.map(round);
    }
}

/// The pairs of processors that multiply no bf16: floats, the first ones and
/// the second ones.
pub(crate) type Widened<V> = [V; 2];

/// [`Simd::splat_pair`] where pairs are floats.
#[inline(always)]
pub(crate) fn splat_widened<S: Simd>(s: S, pair: u32) -> Widened<S::V> {
    [pair << 16, pair & 0xffff_0000].map(|bits| s.splat(f32::from_bits(bits)))
}

/// [`Simd::load_pairs`] where pairs are floats.
#[inline(always)]
pub(crate) fn load_widened<S: Simd>(s: S, from: &[bf16; 2 * LANES]) -> Widened<S::V> {
    [0, 1].map(|half| s.load(&std::array::from_fn(|l| widen(from[2 * l + half]))))
}

/// [`Simd::dot`] where pairs are floats.
#[inline(always)]
pub(crate) fn dot_widened<S: Simd>(s: S, a: Widened<S::V>, b: Widened<S::V>, c: S::V) -> S::V {
    s.fma(a[1], b[1], s.fma(a[0], b[0], c))
}

/// Work that is written over [`Simd`]. Its `run` and what that calls are
/// `#[inline(always)]`, so that they are compiled with the instructions.
pub(crate) trait Vectorize {
    type Output;
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Rounds numbers.
pub(crate) struct Round<'a>(pub(crate) &'a [f32], pub(crate) &'a mut [bf16]);

impl Vectorize for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (from, from_tail) = self.0.as_chunks::<LANES>();
        let (to, to_tail) = self.1.as_chunks_mut::<LANES>();
        for (from, to) in from.iter().zip(to) {
            s.store_bf16(s.load(from), to);
        }
        for (from, to) in from_tail.iter().zip(to_tail) {
            *to = round(*from);
        }
    }
}

/// Widens numbers.
pub(crate) struct Widen<'a>(pub(crate) &'a [bf16], pub(crate) &'a mut [f32]);

impl Vectorize for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (from, from_tail) = self.0.as_chunks::<LANES>();
        let (to, to_tail) = self.1.as_chunks_mut::<LANES>();
        for (from, to) in from.iter().zip(to) {
            s.store(s.load_bf16(from), to);
        }
        for (from, to) in from_tail.iter().zip(to_tail) {
            *to = widen(*from);
        }
    }
}
