//! Products of small matrices.

use crate::arch::Backend;
use crate::arch::tile::{self, Blocks, Finish, MAX_VECTORS, Store, Sweep, Taps, Target};
use crate::simd::LANES;

/// A matrix whose element (i, k) is at i * `row` + k * `column`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) data: &'a [f32],
    pub(super) row: usize,
    pub(super) column: usize,
}

/// out = a * b, with `rows` rows, sums of `depth` products and `columns`
/// columns rounded up to sixteen; rows of b and out begin every `stride` floats.
pub(super) fn product(
    backend: Backend,
    [rows, depth, columns]: [usize; 3],
    a: Matrix<'_>,
    b: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    let blocks = columns.div_ceil(LANES);
    let taps = Taps::one();
    let mut first = 0;
    while first < blocks {
        let vectors = (blocks - first).min(backend.isa().tile_vectors());
        let sweep = Sweep {
            input: a.data,
            weights: &b[first * LANES..],
            bias: None,
            taps: &taps,
            blocks: Blocks {
                count: 1,
                depth,
                last: depth,
                input: 0,
                weights: 0,
            },
            start: 0,
            step: a.row,
            depth_step: a.column,
            row: stride,
        };
        let mut store = Store {
            target: Target::Rows(&mut out[first * LANES..]),
            masks: &mut [],
            finish: Finish::default(),
            planes_at: [0; MAX_VECTORS],
            at: 0,
            step: stride,
        };
        tile::dense(backend, vectors, rows, sweep, &mut store);
        first += vectors;
    }
}
