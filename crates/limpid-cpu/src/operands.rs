//! The values that a step reads and writes, as slices.

use crate::arch::store::Numbers;
use crate::layout::Precision;
use bytemuck::Pod;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A step's operands, in the order of the node's inputs and outputs.
pub(crate) struct Operands<'a> {
    pub(crate) inputs: Vec<&'a [u8]>,
    pub(crate) outputs: Vec<&'a mut [u8]>,
    /// What the kernel asked for by [`crate::kernels::Kernel::workspace`].
    pub(crate) workspace: Workspace<'a>,
}

/// Working memory of a kernel, with whatever the last one left in it.
#[derive(Default)]
pub(crate) struct Workspace<'a>(pub(crate) &'a mut [f32]);

impl<'a> Workspace<'a> {
    /// All of it.
    pub(crate) fn floats(self) -> &'a mut [f32] {
        self.0
    }

    /// The first `size` floats, and the rest.
    pub(crate) fn split_at(self, size: usize) -> (&'a mut [f32], Self) {
        let (first, rest) = self.0.split_at_mut(size);
        (first, Self(rest))
    }

    /// A piece of `size` floats for each of so many threads.
    pub(crate) fn split(self, threads: usize, size: usize) -> Pieces<'a> {
        let pieces = self.0.chunks_exact_mut(size.max(1)).take(threads);
        Pieces(size, Mutex::new(pieces.collect()))
    }
}

/// Pieces of working memory, which tasks borrow in turn.
pub(crate) struct Pieces<'a>(usize, Mutex<Vec<&'a mut [f32]>>);

impl Pieces<'_> {
    /// Runs `f` with a piece that nobody else uses.
    pub(crate) fn with(&self, f: impl FnOnce(&mut [f32])) {
        let lock = || self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let free = lock().pop();
        match free {
            Some(piece) => {
                f(piece);
                lock().push(piece);
            }
            None => f(&mut vec![0.0; self.0]),
        }
    }
}

impl<'a> Operands<'a> {
    /// An input as floats, words or the words of a mask.
    pub(crate) fn input<T: Pod>(&self, i: usize) -> &'a [T] {
        bytemuck::cast_slice(self.inputs[i])
    }

    /// An input of numbers of this precision.
    pub(crate) fn numbers(&self, i: usize, precision: Precision) -> Numbers<'a> {
        match precision {
            Precision::F32 => Numbers::F32(self.input(i)),
            Precision::Bf16 => Numbers::Bf16(self.input(i)),
        }
    }

    /// The first output.
    pub(crate) fn output<O: Pod>(&mut self) -> &mut [O] {
        bytemuck::cast_slice_mut(self.outputs[0])
    }

    /// The first output, and the second where there is one.
    pub(crate) fn outputs<O: Pod, T: Pod>(&mut self) -> (&mut [O], &mut [T]) {
        match &mut self.outputs[..] {
            [first, second, ..] => (
                bytemuck::cast_slice_mut(first),
                bytemuck::cast_slice_mut(second),
            ),
            [first] => (bytemuck::cast_slice_mut(first), &mut []),
            [] => (&mut [], &mut []),
        }
    }
}

/// The shared and the exclusive slices of [`borrow`].
type Borrowed<'a> = (Vec<&'a [u8]>, Vec<&'a mut [u8]>);

/// Borrows ranges of `bytes`: `shared` ones may overlap each other in part or
/// whole, `exclusive` ones nothing. `None` where they do overlap, or reach
/// beyond the bytes.
pub(crate) fn borrow<'a>(
    bytes: &'a mut [u8],
    shared: &[Range<usize>],
    exclusive: &[Range<usize>],
) -> Option<Borrowed<'a>> {
    // Overlapping shared ranges are merged, so that all that is left is
    // disjoint and can be split off from front to back.
    let mut merged: Vec<Range<usize>> = Vec::new();
    let mut sorted: Vec<&Range<usize>> = shared.iter().filter(|r| !r.is_empty()).collect();
    sorted.sort_by_key(|r| r.start);
    for r in sorted {
        match merged.last_mut() {
            Some(last) if r.start < last.end => last.end = last.end.max(r.end),
            _ => merged.push(r.clone()),
        }
    }
    let mut cuts: Vec<(Range<usize>, Option<usize>)> =
        merged.into_iter().map(|r| (r, None)).collect();
    let own = exclusive.iter().enumerate();
    cuts.extend(
        own.filter(|(_, r)| !r.is_empty())
            .map(|(i, r)| (r.clone(), Some(i))),
    );
    cuts.sort_by_key(|(r, _)| r.start);

    let mut outputs: Vec<&'a mut [u8]> = exclusive.iter().map(|_| &mut [][..]).collect();
    let mut pieces: Vec<(Range<usize>, &'a [u8])> = Vec::new();
    let (mut rest, mut at) = (bytes, 0);
    for (range, output) in cuts {
        let skip = range.start.checked_sub(at)?;
        let (_, tail) = rest.split_at_mut_checked(skip)?;
        let (piece, tail) = tail.split_at_mut_checked(range.end.checked_sub(range.start)?)?;
        at = range.end;
        rest = tail;
        match output {
            Some(i) => outputs[i] = piece,
            None => pieces.push((range, piece)),
        }
    }
    let find = |r: &Range<usize>| {
        if r.is_empty() {
            return Some(&[][..]);
        }
        let (of, piece) = pieces
            .iter()
            .find(|(p, _)| p.start <= r.start && r.end <= p.end)?;
        Some(&piece[r.start - of.start..r.end - of.start])
    };
    let inputs = shared.iter().map(find).collect::<Option<Vec<_>>>()?;
    Some((inputs, outputs))
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    #[test]
    fn splits_into_what_was_asked_for() {
        let mut bytes: Vec<u8> = (0..100).collect();
        let shared = [10..20, 10..20, 15..30, 60..61, 5..5];
        let (inputs, mut outputs) = borrow(&mut bytes, &shared, &[30..40, 0..10, 90..100]).unwrap();
        for (r, s) in shared.iter().zip(inputs) {
            assert_eq!(s, r.clone().map(|i| i as u8).collect::<Vec<_>>());
        }
        outputs[0].fill(255);
        assert_eq!(outputs[1][9], 9);
        assert_eq!(outputs[2][0], 90);
        drop(outputs);
        assert_eq!(
            (bytes[29], bytes[30], bytes[39], bytes[40]),
            (29, 255, 255, 40)
        );
    }

    #[test]
    fn refuses_overlap_and_overrun() {
        let mut bytes = [0u8; 16];
        assert!(borrow(&mut bytes, &[0..8], &[7..9]).is_none());
        assert!(borrow(&mut bytes, &[], &[0..4, 3..5]).is_none());
        assert!(borrow(&mut bytes, &[0..17], &[]).is_none());
        assert!(borrow(&mut bytes, &[0..8], &[8..16]).is_some());
    }
}
