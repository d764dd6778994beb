//! Matrix products of rows: out[r, :] = a[r, :] * b, through the tiles.

use super::{Context, TASK};
use crate::arch::Backend;
use crate::arch::number::Number;
use crate::arch::store::{Finish, Store, Target};
use crate::arch::tile::{self, Blocks, Sweep, Taps};
use crate::layout::Precision;
use crate::pack::{PackSpec, Tile};
use crate::simd::LANES;

/// Products of a part of a sum; the tile adds parts up.
const DEPTH: usize = 64;
/// Bytes of rows that stay in the cache while the tiles pass.
const CACHED: usize = 1 << 18;

/// The packing of the right factor, `depth` x `columns`.
#[derive(Debug, Clone)]
pub(super) struct Product {
    pub(super) spec: PackSpec,
    pub(super) tiles: Vec<Tile>,
    /// The numbers of the pack.
    pub(super) packed: usize,
}

/// The left factor: `rows` rows from `start` on.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, T = f32> {
    pub(super) data: &'a [T],
    pub(super) start: usize,
    /// Numbers from a row to the next.
    pub(super) row: usize,
    /// Numbers from an element of a row to the next.
    pub(super) column: usize,
    pub(super) rows: usize,
}

/// What the result is worked on with before it is stored.
#[derive(Clone, Copy, Default)]
pub(super) struct Then<'a> {
    pub(super) bias: Option<&'a [f32]>,
    pub(super) finish: Finish<'a>,
    /// Where the result begins in the operands of `finish`.
    pub(super) at: usize,
}

impl Product {
    /// The right factor is given as `[depth, columns]`, or as `[columns, depth]`.
    pub(super) fn new(
        depth: usize,
        columns: usize,
        transposed: bool,
        vectors: usize,
        precision: Precision,
    ) -> Self {
        let spec = PackSpec {
            transposed: !transposed,
            outputs: columns,
            inputs: depth,
            groups: 1,
            taps: 1,
            vectors,
            depthwise: false,
            winograd: 0,
            spread: false,
            precision,
        };
        Self::of(spec)
    }

    /// The product of rows that hold every input of each tap, block by block,
    /// with the weights of a window.
    pub(super) fn of(spec: PackSpec) -> Self {
        let spec = spec.matrix();
        let (tiles, packed) = spec.tiles();
        Self {
            spec,
            tiles,
            packed,
        }
    }

    /// Columns with those that fill the last vector.
    pub(super) fn padded(&self) -> usize {
        self.spec.outputs.next_multiple_of(LANES)
    }

    /// Rows of a task where `threads` share `rows`: no more than stay in the
    /// cache, but enough to make reading the right factor worth while.
    pub(super) fn task_rows(&self, rows: usize, threads: usize) -> usize {
        let fit = CACHED / size_of::<f32>() / self.spec.inputs.max(1);
        let tasks = rows.div_ceil(fit.clamp(24, 504));
        rows.div_ceil(tasks.next_multiple_of(threads.max(1)))
    }

    /// Some tiles of some rows; rows of the result begin every `step` floats
    /// and have whole vectors. The first tile's columns begin at `out`'s.
    fn tiles<T: Number>(
        &self,
        backend: Backend,
        tiles: &[Tile],
        left: Left<'_, T>,
        pack: &[T],
        then: Then<'_>,
        (out, step): (&mut [f32], usize),
        masks: &mut [u16],
    ) {
        let mut taps = Taps::default();
        taps.clear();
        taps.push(0, 0);
        let depth = self.spec.inputs;
        let count = depth.div_ceil(DEPTH);
        let first = tiles.first().map_or(0, |t| t.first);
        for t in tiles {
            let row = t.vectors * LANES;
            let sweep = Sweep {
                input: left.data,
                weights: &pack[t.at..],
                bias: then.bias.map(|b| &b[t.first * LANES..]),
                scale: None,
                taps: &taps,
                blocks: Blocks {
                    count,
                    depth: DEPTH,
                    last: depth - (count - 1) * DEPTH,
                    input: DEPTH * left.column,
                    weights: DEPTH * row,
                },
                start: left.start as isize,
                step: left.row,
                depth_step: left.column,
                row,
            };
            let mut store = Store {
                target: Target::Rows(out),
                masks: &mut [&mut *masks],
                finish: then.finish,
                planes_at: std::array::from_fn(|v| then.at + v * LANES),
                at: (t.first - first) * LANES,
                step,
            };
            tile::dense(backend, t.vectors, left.rows, sweep, &mut store);
        }
    }

    /// All rows of `left` into `out`, whose rows are `step` floats long; masks
    /// and operands of the epilogue there are where rows are whole vectors.
    /// `work` grows where they are not.
    pub(super) fn rows<T: Number>(
        &self,
        backend: Backend,
        left: Left<'_, T>,
        pack: &[T],
        then: Then<'_>,
        (out, step): (&mut [f32], usize),
        masks: &mut [u16],
        work: &mut Vec<f32>,
    ) {
        let padded = self.padded();
        if step >= padded && step.is_multiple_of(LANES) {
            self.tiles(backend, &self.tiles, left, pack, then, (out, step), masks);
            return;
        }
        // Of the last tile's vectors one reaches into the next row.
        let whole = |t: &Tile| (t.first + t.vectors) * LANES <= step;
        let (inside, last) = self.tiles.split_at(self.tiles.partition_point(whole));
        self.tiles(backend, inside, left, pack, then, (&mut *out, step), masks);
        let Some(first) = last.first().map(|t| t.first * LANES) else {
            return;
        };
        let width = padded - first;
        let part = (TASK / width).clamp(12, 504) / 12 * 12;
        work.resize(part * width, 0.0);
        for (i, out) in out.chunks_mut(part * step).enumerate() {
            let rows = out.len() / step;
            let start = left.start + i * part * left.row;
            let left = Left {
                start,
                rows,
                ..left
            };
            self.tiles(backend, last, left, pack, then, (work, width), masks);
            for (to, from) in out.chunks_mut(step).zip(work.chunks(width)) {
                to[first..].copy_from_slice(&from[..step - first]);
            }
        }
    }

    /// Few rows, the tiles of columns shared out among the threads.
    pub(super) fn few_rows<T: Number>(
        &self,
        left: Left<'_, T>,
        pack: &[T],
        bias: Option<&[f32]>,
        (out, step): (&mut [f32], usize),
        work: &mut [f32],
        cx: Context<'_>,
    ) {
        let then = Then {
            bias,
            ..Then::default()
        };
        let mut rest = &mut *work;
        let mut tasks = Vec::with_capacity(self.tiles.len());
        for t in &self.tiles {
            let (own, others) = rest.split_at_mut(left.rows * t.vectors * LANES);
            tasks.push((t, own));
            rest = others;
        }
        cx.pool.each(tasks, |(t, own)| {
            let (tiles, row) = (std::slice::from_ref(t), t.vectors * LANES);
            self.tiles(cx.backend, tiles, left, pack, then, (own, row), &mut []);
        });
        let mut from = &*work;
        for t in &self.tiles {
            let row = t.vectors * LANES;
            let (own, others) = from.split_at(left.rows * row);
            from = others;
            let first = t.first * LANES;
            let width = row.min(step - first);
            for (to, from) in out.chunks_mut(step).zip(own.chunks(row)) {
                to[first..first + width].copy_from_slice(&from[..width]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::pool::Pool;

    /// How rows and columns are shared out is a matter of the batch.
    #[test]
    fn few_rows_have_the_bits_of_many() {
        let (rows, depth, pool) = (31, 200, Pool::new(1).unwrap());
        let number = |i: usize| (i * 7919 % 1013) as f32 / 500.0 - 1.0;
        let data: Vec<f32> = (0..rows * depth).map(number).collect();
        for isa in Isa::available() {
            let backend = Backend::new(isa).unwrap();
            let cx = Context {
                backend,
                pool: &pool,
            };
            for columns in [7, 96, 131] {
                let vectors = isa.tile_vectors();
                let product = Product::new(depth, columns, false, vectors, Precision::F32);
                let weights: Vec<f32> = (0..depth * columns).map(number).collect();
                let mut pack = vec![0.0; product.packed];
                product
                    .spec
                    .pack_matrix(&product.tiles, &weights, &mut pack);
                let left = Left {
                    data: &data,
                    start: 0,
                    row: depth,
                    column: 1,
                    rows,
                };
                let (mut many, mut few) = (vec![0.0; rows * columns], vec![0.0; rows * columns]);
                let to = (&mut many[..], columns);
                let (then, mut work) = (Then::default(), Vec::new());
                product.rows(backend, left, &pack, then, to, &mut [], &mut work);
                let mut work = vec![0.0; rows * product.padded()];
                product.few_rows(left, &pack, None, (&mut few, columns), &mut work, cx);
                assert_eq!(many, few, "{isa} {columns}");
            }
        }
    }
}
