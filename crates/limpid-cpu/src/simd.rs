//! The vector that kernels are written over.

/// Lanes of the logical vector, on every instruction set.
pub(crate) const LANES: usize = 16;

/// An instruction set's vector of sixteen floats. A value of an implementing
/// type is the proof that the processor has the instructions.
///
/// Every method is inlined into the function that enables the instructions.
pub(crate) trait Simd: Copy {
    /// Sixteen floats.
    type V: Copy;

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
    fn prefetch(self, _at: *const f32) {}
}

/// Work that is written over [`Simd`]. Its `run` and what that calls are
/// `#[inline(always)]`, so that they are compiled with the instructions.
pub(crate) trait Vectorize {
    type Output;
    fn run<S: Simd>(self, s: S) -> Self::Output;
}
