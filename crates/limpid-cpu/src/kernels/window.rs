//! Convolution and its transpose, dense and grouped, as one algorithm:
//! out[i * out_step + phase] = bias + the sum over taps of
//! weight[tap] * in[i * in_step + offset(tap)].
//!
//! A convolution has one phase with all taps. A transposed one has a phase for
//! each remainder of an output position by the stride, with the taps that
//! reach it. Positions at which all taps of a row are inside the image are
//! swept in tiles; those at the left and right border one by one, with the
//! taps that are inside.
//!
//! The order of each output's sum is: blocks of input channels, taps, channels
//! within the block. It depends on neither tile, batch nor thread.

use super::Context;
use crate::arch::Backend;
use crate::arch::number::Number;
use crate::arch::store::{Finish, Store};
use crate::arch::tile::{self, Blocks, Sweep, Taps};
use crate::pack::{PackSpec, Tile};
use crate::simd::LANES;
use std::ops::Range;

/// Positions of a task where a convolution reads one tap: a multiple of every tile.
const POSITIONS: usize = 504;
/// Packs up to this many bytes are read anew for every part of an image;
/// larger ones are kept in the cache while images pass.
const SMALL_PACK: usize = 1 << 19;

/// A tap of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) dy: isize,
    pub(super) dx: isize,
    /// Its place in the weights' window.
    pub(super) index: usize,
}

/// Output positions that share their taps.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Phase {
    at: [usize; 2],
    /// Output columns of the phase.
    columns: usize,
    /// The columns at which all taps are inside the image.
    inner: Range<usize>,
    taps: Vec<Offset>,
}

/// Distances in the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) image: usize,
    pub(super) block: usize,
    pub(super) depth: usize,
    pub(super) position: usize,
}

/// Distances in the output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Destination {
    pub(super) images: usize,
    /// Planes of an image: blocks of channels, or channels.
    pub(super) planes: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Floats of a position: sixteen channels, or one.
    pub(super) position: usize,
}

/// An image, or some rows of all its blocks of channels, to be read.
#[derive(Clone, Copy)]
pub(super) struct View<'a, T> {
    pub(super) data: &'a [T],
    /// The row that the data begin with.
    pub(super) first: usize,
    /// Elements from a block to the next.
    pub(super) block: usize,
}

/// Rows of one image to be computed, of every plane a piece.
pub(super) struct Band<'a, 'b, O> {
    pub(super) image: usize,
    pub(super) first: usize,
    pub(super) outs: &'a mut [&'b mut [O]],
    pub(super) masks: &'a mut [&'b mut [u16]],
}

/// What the input is multiplied with, and what becomes of the sums.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a, W> {
    pub(super) weights: &'a [W],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) scale: Option<&'a [f32]>,
    pub(super) finish: Finish<'a>,
    pub(super) backend: Backend,
}

/// How output rows depend on input rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// The nearest and the farthest row of a tap.
    dy: [isize; 2],
    in_step: usize,
    out_step: usize,
    height: usize,
}

impl Reach {
    pub(super) fn new<'t>(
        taps: impl Iterator<Item = &'t Offset>,
        [in_step, out_step]: [usize; 2],
        height: usize,
    ) -> Self {
        let rows = taps.map(|t| t.dy);
        let dy = rows.fold([0, 0], |[low, high], dy| [low.min(dy), high.max(dy)]);
        Self {
            dy,
            in_step,
            out_step,
            height,
        }
    }

    /// The input rows that output rows are computed from.
    pub(super) fn needs(&self, rows: &Range<usize>) -> Range<usize> {
        let [low, high] = [rows.start, rows.end.saturating_sub(1)]
            .map(|row| (row / self.out_step * self.in_step) as isize);
        let inside = |row: isize| row.clamp(0, self.height as isize) as usize;
        inside(low + self.dy[0])..inside(high + self.dy[1] + 1)
    }
}

/// The sums, without their weights.
#[derive(Debug, Clone)]
pub(super) struct Window {
    source: Source,
    destination: Destination,
    in_step: [usize; 2],
    out_step: [usize; 2],
    phases: Vec<Phase>,
    reach: Reach,
    /// A single tap at the position itself: the image is one long column.
    pointwise: bool,
    /// Rows that were made of each of the image's.
    split: usize,
    spec: PackSpec,
    tiles: Vec<Tile>,
}

impl Window {
    pub(super) fn new(
        source: Source,
        destination: Destination,
        in_step: [usize; 2],
        out_step: [usize; 2],
        phases: Vec<([usize; 2], Vec<Offset>)>,
        spec: PackSpec,
    ) -> Self {
        let phase = |(at, taps): ([usize; 2], Vec<Offset>)| {
            let columns = destination
                .width
                .saturating_sub(at[1])
                .div_ceil(out_step[1]);
            let (mut low, mut high) = (0, columns as isize);
            let step = in_step[1] as isize;
            for t in &taps {
                // The first and the last column whose input is inside.
                low = low.max(((-t.dx).max(0) + step - 1) / step);
                high = high.min((source.width as isize - 1 - t.dx).div_euclid(step) + 1);
            }
            let low = low.min(columns as isize);
            Phase {
                at,
                columns,
                inner: low as usize..high.max(low) as usize,
                taps,
            }
        };
        let taps = phases.iter().flat_map(|(_, taps)| taps);
        let mut window = Self {
            source,
            destination,
            in_step,
            out_step,
            reach: Reach::new(taps, [in_step[0], out_step[0]], source.height),
            phases: phases.into_iter().map(phase).collect(),
            pointwise: false,
            split: 1,
            spec,
            tiles: spec.tiles().0,
        };
        let origin = |p: &Phase| p.taps.iter().all(|t| t.dy == 0 && t.dx == 0);
        let same = source.height == destination.height && source.width == destination.width;
        let unit = in_step == [1, 1] && out_step == [1, 1];
        if same && unit && window.phases.iter().all(|p| p.taps.len() == 1 && origin(p)) {
            window.flatten();
        }
        window
    }

    /// Makes a column of every position: there is no border.
    fn flatten(&mut self) {
        self.pointwise = true;
        self.split = self.destination.width;
        for (h, w) in [
            (&mut self.source.height, &mut self.source.width),
            (&mut self.destination.height, &mut self.destination.width),
        ] {
            (*h, *w) = (*h * *w, 1);
        }
    }

    /// How its weights are packed.
    pub(super) fn spec(&self) -> PackSpec {
        self.spec
    }

    /// How its rows depend on the input's.
    pub(super) fn reach(&self) -> Reach {
        self.reach
    }

    /// Whether the image is one long column.
    pub(super) fn is_pointwise(&self) -> bool {
        self.pointwise
    }

    /// Rows of the output that make a task.
    fn task_rows(&self) -> usize {
        let d = &self.destination;
        if !self.pointwise {
            return (POSITIONS / d.width.max(1)).max(1);
        }
        if d.height <= POSITIONS + POSITIONS / 4 {
            d.height
        } else {
            POSITIONS
        }
    }

    /// Computes all outputs into `out` and the masks into `masks`.
    pub(super) fn run<T: Number, O: Number>(
        &self,
        input: &[T],
        weights: &[T],
        [bias, scale]: [Option<&[f32]>; 2],
        out: &mut [O],
        masks: &mut [u16],
        finish: Finish<'_>,
        cx: Context<'_>,
    ) {
        let d = &self.destination;
        let row = d.width * d.position;
        let plane = d.height * row;
        if plane == 0 || d.images == 0 || self.spec.outputs == 0 {
            return;
        }
        let rows = self.task_rows();
        let parts = d.height.div_ceil(rows);
        let tiles = &self.tiles;
        let tile_outer = size_of_val(weights) > SMALL_PACK;
        let index = |image: usize, part: usize, tile: usize| {
            if tile_outer {
                (tile * d.images + image) * parts + part
            } else {
                (image * parts + part) * tiles.len() + tile
            }
        };
        let mut tasks: Vec<Task<'_, O>> = Vec::with_capacity(d.images * parts * tiles.len());
        tasks.resize_with(d.images * parts * tiles.len(), Task::default);
        // A picture in C order has one tile, and its channels are the planes.
        let lanes = d.position == 1;
        let mut place = vec![(0, 0); d.planes];
        for (i, t) in tiles.iter().enumerate() {
            let planes = if lanes { d.planes } else { t.vectors };
            for v in 0..planes {
                place[t.first + v] = (i, v);
            }
        }
        let out = &mut out[..d.images * d.planes * plane];
        let mut masks = masks.chunks_mut((plane / LANES).max(1));
        for (i, whole) in out.chunks_mut(plane).enumerate() {
            let (image, (tile, v)) = (i / d.planes, place[i % d.planes]);
            let mask = if finish.mask.is_some() {
                masks.next()
            } else {
                None
            };
            let mut mask = mask
                .unwrap_or_default()
                .chunks_mut((rows * row / LANES).max(1));
            for (part, piece) in whole.chunks_mut(rows * row).enumerate() {
                let task = &mut tasks[index(image, part, tile)];
                (task.image, task.tile, task.first) = (image, tile, part * rows);
                task.rows = piece.len() / row;
                task.outs[v] = piece;
                task.masks[v] = mask.next().unwrap_or_default();
            }
        }
        let terms = Terms {
            weights,
            bias,
            scale,
            finish,
            backend: cx.backend,
        };
        cx.pool.each(tasks, |task| {
            let view = View {
                data: &input[task.image * self.source.image..],
                first: 0,
                block: self.source.block,
            };
            let tile = tiles[task.tile];
            self.task(task, tile, view, terms);
        });
    }

    /// Computes some rows of an image.
    pub(super) fn band<T: Number, O: Number>(
        &self,
        mut view: View<'_, T>,
        band: Band<'_, '_, O>,
        terms: Terms<'_, T>,
    ) {
        view.first *= self.split;
        for (i, tile) in self.tiles.iter().enumerate() {
            let mut task = Task {
                image: band.image,
                tile: i,
                first: band.first * self.split,
                ..Task::default()
            };
            let planes = tile.first..tile.first + tile.vectors;
            let outs = band.outs[planes.clone()].iter_mut();
            task.outs
                .iter_mut()
                .zip(outs)
                .for_each(|(to, out)| *to = out);
            if terms.finish.mask.is_some() {
                let masks = band.masks[planes].iter_mut();
                let to = task.masks.iter_mut().zip(masks);
                to.for_each(|(to, mask)| *to = mask);
            }
            task.rows = task.outs[0].len() / (self.destination.width * self.destination.position);
            self.task(task, *tile, view, terms);
        }
    }

    fn task<T: Number, O: Number>(
        &self,
        mut task: Task<'_, O>,
        tile: Tile,
        view: View<'_, T>,
        terms: Terms<'_, T>,
    ) {
        let Window {
            source: s,
            destination: d,
            spec,
            ..
        } = self;
        let row = tile.vectors * LANES;
        let tap_weights = tile.room * row;
        let mut taps = Taps::default();
        let (mut planes_at, row_floats) = ([0; tile::MAX_VECTORS], d.width * d.position);
        for (v, at) in planes_at.iter_mut().enumerate() {
            let plane = task.image * d.planes + tile.first + v;
            *at = (plane * d.height + task.first) * row_floats;
        }
        let lanes = d.position == 1;
        let planes = if lanes { d.planes } else { tile.vectors };
        let base =
            (tile.input * view.block) as isize - (view.first * s.width * s.position) as isize;
        let push = |taps: &mut Taps, t: &Offset| {
            let input = (t.dy * s.width as isize + t.dx) * s.position as isize;
            taps.push(input, t.index * tap_weights);
        };
        let mut sweep =
            |taps: &Taps, input: usize, step: usize, at: usize, out: usize, n: usize| {
                if n == 0 {
                    return;
                }
                let sweep = Sweep {
                    input: view.data,
                    weights: &terms.weights[tile.at..],
                    bias: terms.bias.map(|b| &b[tile.first * LANES..]),
                    scale: terms.scale.map(|s| &s[tile.first * LANES..]),
                    taps,
                    blocks: Blocks {
                        count: tile.blocks,
                        depth: LANES,
                        last: tile.last,
                        input: view.block,
                        weights: spec.taps * tap_weights,
                    },
                    start: base + (input * s.position) as isize,
                    step: step * s.position,
                    depth_step: s.depth,
                    row,
                };
                let outs = &mut task.outs[..planes];
                let mut store = Store {
                    target: O::target(outs, lanes),
                    masks: &mut task.masks,
                    finish: terms.finish,
                    planes_at,
                    at: at * d.position,
                    step: out * d.position,
                };
                tile::dense(terms.backend, tile.vectors, n, sweep, &mut store);
            };
        if self.pointwise {
            taps.clear();
            for t in self.phases.iter().flat_map(|p| &p.taps) {
                push(&mut taps, t);
            }
            sweep(&taps, task.first, 1, 0, 1, task.rows);
            return;
        }
        let ([in_y, in_x], [out_y, out_x]) = (self.in_step, self.out_step);
        let mut edge = Taps::default();
        for phase in &self.phases {
            let mut i = task.first.saturating_sub(phase.at[0]).div_ceil(out_y);
            while i * out_y + phase.at[0] < task.first + task.rows {
                let y = i * in_y;
                let row_taps = phase.taps.iter().filter(|t| {
                    let y = y as isize + t.dy;
                    0 <= y && y < s.height as isize
                });
                taps.clear();
                row_taps.clone().for_each(|t| push(&mut taps, t));
                let at = (i * out_y + phase.at[0] - task.first) * d.width + phase.at[1];
                let inner = phase.inner.clone();
                let n = inner.len();
                let start = y * s.width + inner.start * in_x;
                sweep(&taps, start, in_x, at + inner.start * out_x, out_x, n);
                for j in (0..inner.start).chain(inner.end..phase.columns) {
                    let x = j * in_x;
                    edge.clear();
                    let inside = row_taps.clone().filter(|t| {
                        let x = x as isize + t.dx;
                        0 <= x && x < s.width as isize
                    });
                    inside.for_each(|t| push(&mut edge, t));
                    sweep(&edge, y * s.width + x, in_x, at + j * out_x, out_x, 1);
                }
                i += 1;
            }
        }
    }
}

/// Some rows of one image and tile.
struct Task<'a, O> {
    image: usize,
    tile: usize,
    first: usize,
    rows: usize,
    outs: [&'a mut [O]; tile::MAX_VECTORS],
    masks: [&'a mut [u16]; tile::MAX_VECTORS],
}

impl<O> Default for Task<'_, O> {
    fn default() -> Self {
        Self {
            image: 0,
            tile: 0,
            first: 0,
            rows: 0,
            outs: Default::default(),
            masks: Default::default(),
        }
    }
}
