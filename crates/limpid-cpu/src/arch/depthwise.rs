//! Depthwise windows: each channel is its own input channel under a small
//! window, sixteen channels at a time.
//!
//! A tile is some positions of one row. Taps that lie side by side are taken
//! together, so that an input vector is loaded once for all of them. Rows
//! beyond the border are left out; columns beyond it are read as zeros.

use super::Backend;
use super::store::{self, Store, finish};
use super::tile::{scale, start};
use crate::simd::{LANES, Simd, Vectorize};
use std::ops::Range;

/// The numbers of taps side by side for which there are tiles, the best first.
pub(crate) const LENGTHS: [usize; 5] = [7, 5, 3, 2, 1];

/// Taps side by side in one row of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Rows and columns from a position to the first tap.
    pub(crate) offset: [isize; 2],
    /// The first tap's place in the weights' window.
    pub(crate) index: usize,
}

/// The window of some output positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taps {
    /// From the top, and in each row from the left.
    pub(crate) runs: Vec<Run>,
    /// Taps of a run, one of [`LENGTHS`].
    pub(crate) length: usize,
    /// Places in the weights' window from a tap of a run to the next.
    pub(crate) index_step: isize,
}

/// Rows of one block of channels.
pub(crate) struct Sweep<'a> {
    /// Some rows of the image, the first of which is `first`.
    pub(crate) input: &'a [f32],
    pub(crate) first: usize,
    /// Of the whole image.
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// `[tap][16]`.
    pub(crate) weights: &'a [f32],
    /// As of a dense tile.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) scale: Option<&'a [f32]>,
    pub(crate) taps: &'a Taps,
    /// Input rows and columns from a position to the next; where runs have
    /// several taps, at most two columns.
    pub(crate) step: [usize; 2],
    /// The positions: their rows, and the number of columns.
    pub(crate) rows: Range<usize>,
    pub(crate) columns: usize,
    /// Elements of the output's plane from a row of positions to the next.
    pub(crate) row: usize,
}

/// The most columns of input that a tile reads of a row.
const MAX_COLUMNS: usize = 20;

/// Computes all positions of `sweep`; `store.at` is the first one's place, and
/// `store.step` the distance between columns.
pub(crate) fn depthwise(backend: Backend, sweep: &Sweep<'_>, store: &mut Store<'_, '_>) {
    if sweep.rows.is_empty() || sweep.columns == 0 {
        return;
    }
    check_reads(sweep);
    let last = (sweep.rows.len() - 1) * sweep.row + (sweep.columns - 1) * store.step;
    let step = std::mem::replace(&mut store.step, LANES);
    store::check(store, 1, last / LANES + 1);
    store.step = step;
    let (taps, step) = (sweep.taps, sweep.step[1]);
    assert!(taps.length == 1 || step <= 2, "columns are read once");
    let stride = if taps.length == 1 { 1 } else { step };
    let wide = backend.isa().tile_vectors() > 1;
    let fits = |p: &&usize| **p <= sweep.columns;
    let sizes: &[usize] = match (wide, stride) {
        (true, 1) => &[14, 7, 3],
        (true, _) => &[7, 3],
        _ => &[4],
    };
    let positions = sizes.iter().find(fits).map_or(1, |p| *p);
    macro_rules! tiles {
        ($($p:literal x $stride:literal: $($length:literal)*,)*) => {
            match (positions, stride, taps.length) {
                $($(($p, $stride, $length) => {
                    backend.vectorize(Tiles::<$p, $length, $stride>(sweep, store));
                })*)*
                other => unreachable!("no depthwise tile of {other:?}"),
            }
        };
    }
    tiles!(
        14 x 1: 1 2 3 5 7, 7 x 1: 1 2 3 5 7, 4 x 1: 1 2 3 5 7, 3 x 1: 1 2 3 5 7, 1 x 1: 1 2 3 5 7,
        7 x 2: 2 3 5 7, 4 x 2: 2 3 5 7, 3 x 2: 2 3 5 7, 1 x 2: 2 3 5 7,
    );
}

/// Panics unless every row and weight that is read is inside its slice.
/// (Columns are compared with the width when they are read.)
fn check_reads(sweep: &Sweep<'_>) {
    for per_channel in [sweep.bias, sweep.scale].into_iter().flatten() {
        assert!(per_channel.len() >= LANES, "bias of the tile");
    }
    let taps = sweep.taps;
    let begin = (sweep.rows.start * sweep.step[0]) as isize;
    let end = ((sweep.rows.end - 1) * sweep.step[0]) as isize;
    for run in &taps.runs {
        // The first and the last row that the run reads in the image.
        let low = (begin + run.offset[0]).max(0) as usize;
        let high = (end + run.offset[0]).min(sweep.height as isize - 1);
        if high >= low as isize {
            let rows = (high as usize + 1).checked_sub(sweep.first);
            let read = rows.map(|rows| rows * sweep.width * LANES);
            let inside = read.is_some_and(|read| read <= sweep.input.len());
            assert!(low >= sweep.first && inside, "tile reads inside its slices");
        }
        let index = run.index as isize;
        for tap in [index, index + (taps.length as isize - 1) * taps.index_step] {
            let end = (tap + 1) * LANES as isize;
            let inside = tap >= 0 && end <= sweep.weights.len() as isize;
            assert!(inside, "tile reads inside its slices");
        }
    }
}

/// Tiles of `P` positions under runs of `N` taps; positions are `T` of the
/// columns that are read apart.
struct Tiles<'r, 's, 'a, 'b, const P: usize, const N: usize, const T: usize>(
    &'r Sweep<'s>,
    &'r mut Store<'a, 'b>,
);

impl<const P: usize, const N: usize, const T: usize> Vectorize for Tiles<'_, '_, '_, '_, P, N, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if !S::WIDE && P > 4 {
            unreachable!("tiles of {P} are for wide registers");
        }
        const { assert!((P - 1) * T + N <= MAX_COLUMNS) }
        let Self(sweep, store) = self;
        let affine = [sweep.bias, sweep.scale];
        // Columns from one that is read to the next.
        let apart = if N == 1 { sweep.step[1] } else { 1 };
        for i in sweep.rows.clone() {
            let out = store.at + (i - sweep.rows.start) * sweep.row;
            for tile in 0..sweep.columns.div_ceil(P) {
                // The last tile repeats some positions of the one before.
                let at = (tile * P).min(sweep.columns - P);
                let mut acc = start::<S, P, 1>(s, affine);
                for run in &sweep.taps.runs {
                    let y = (i * sweep.step[0]) as isize + run.offset[0];
                    if y < 0 || y >= sweep.height as isize {
                        continue;
                    }
                    let row = (y as usize - sweep.first) * sweep.width * LANES;
                    // SAFETY: `check_reads` has found the row and the first and
                    // last tap's weights to be inside the slices, and all other
                    // weights are between them.
                    let (row, factors) = unsafe {
                        let mut factors = [s.splat(0.0); N];
                        for n in 0..N {
                            let tap = run.index as isize + n as isize * sweep.taps.index_step;
                            let from = sweep.weights.as_ptr().offset(tap * LANES as isize);
                            factors[n] = s.load(&*from.cast());
                        }
                        (sweep.input.as_ptr().add(row), factors)
                    };
                    let left = (at * sweep.step[1]) as isize + run.offset[1];
                    let read = |column: usize| {
                        let x = left.wrapping_add((column * apart) as isize) as usize;
                        let from = if x < sweep.width {
                            row.wrapping_add(x * LANES)
                        } else {
                            ZEROS.as_ptr()
                        };
                        // SAFETY: the column is inside the row, or zeros are read.
                        unsafe { s.load(&*from.cast()) }
                    };
                    columns::<S, P, N, T>(s, &mut acc, &factors, read);
                }
                scale(s, &mut acc, affine);
                finish(s, acc, store, out + at * store.step);
            }
        }
    }
}

static ZEROS: [f32; LANES] = [0.0; LANES];

/// Adds a run's products to the sums of a tile, column by column. (Unrolled by
/// hand: the compiler must know which sum a product belongs to.)
#[inline(always)]
fn columns<S: Simd, const P: usize, const N: usize, const T: usize>(
    s: S,
    acc: &mut [[S::V; 1]; P],
    factors: &[S::V; N],
    read: impl Fn(usize) -> S::V,
) {
    macro_rules! columns {
        ($($column:literal)*) => {$(
            if $column < (P - 1) * T + N {
                let value = read($column);
                for n in 0..N {
                    if $column >= n && ($column - n) % T == 0 && ($column - n) / T < P {
                        let p = ($column - n) / T;
                        acc[p][0] = s.fma(value, factors[n], acc[p][0]);
                    }
                }
            }
        )*};
    }
    columns!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
}
