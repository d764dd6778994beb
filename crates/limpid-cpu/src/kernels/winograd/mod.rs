//! Convolution with windows of 3 x 3 and a step of one by fewer products, after
//! Winograd: tiles of the input are transformed ([`transform`]), one matrix
//! product is made for each of the tile's points, and the products are
//! transformed back. F(2 x 2) takes 16 products for 4 outputs where the direct
//! sum takes 36, F(4 x 4) 36 where it takes 144.
//!
//! Which one is used is a matter of the shape alone ([`tile_size`]): each has
//! its own rounding. How tiles are dealt out to threads changes no bit, as each
//! tile's sums are its own.

#[cfg(test)]
mod tests;
mod transform;

pub(crate) use transform::kernel_matrix;

use super::Context;
use super::finish;
use super::window::{Destination, Offset, Source};
use crate::arch::number::Number;
use crate::arch::store::{Finish, Store, Target};
use crate::arch::tile::{self, Blocks, Sweep, Taps};
use crate::operands::Workspace;
use crate::pack::{PackSpec, Tile};
use crate::simd::{LANES, Simd, Vectorize};
use transform::{Four, Transform, Two};

/// Floats of transformed input and output that stay in a core's own cache.
const BLOCK: usize = 1 << 18;
/// Floats of them that are in memory at once otherwise: they stay in the cache
/// that cores share.
const SHARED: usize = 3 << 20;
/// Transformed weights that are read anew for every block of tiles.
const SMALL_WEIGHTS: usize = 3 << 18;
/// Floats between the values at two points of a tile beyond those that there
/// are, so that stores to all points do not meet in one set of the cache.
const SKEW: usize = 80;

/// The output tile of a convolution with these channels and this output, by
/// measurement (docs/cpu.md); `None` where a direct sum is as fast.
pub(super) fn tile_size(
    inputs: usize,
    outputs: usize,
    height: usize,
    width: usize,
) -> Option<usize> {
    let narrow = inputs.min(outputs);
    if narrow < 32 || height < 4 || width < 4 {
        return None;
    }
    // The weights of the larger tile are 4 times as many, of the smaller 1.8,
    // and a small image has few tiles to share them or to fill.
    let tiles = height.div_ceil(4) * width.div_ceil(4);
    Some(if tiles >= 49 || narrow <= 128 && tiles >= 16 {
        4
    } else {
        2
    })
}

/// The distances of a window of 3 x 3 that lies around its position in C order,
/// or reversed; `None` for any other.
pub(super) fn origin(taps: &[Offset], transposed: bool) -> Option<[isize; 2]> {
    let low = taps.iter().min_by_key(|t| (t.dy, t.dx))?;
    let at = |t: &Offset| {
        let index = if transposed { 8 - t.index } else { t.index };
        let (y, x) = (index as isize / 3, index as isize % 3);
        t.dy == low.dy + y && t.dx == low.dx + x
    };
    (taps.len() == 9 && taps.iter().all(at)).then_some([low.dy, low.dx])
}

/// The sums, without their weights.
#[derive(Debug, Clone)]
pub(super) struct Winograd {
    source: Source,
    destination: Destination,
    /// Where the window of the first output begins in the input.
    origin: [isize; 2],
    /// Rows and columns of an output tile.
    size: usize,
    spec: PackSpec,
    tiles: Vec<Tile>,
    /// Weights of one point.
    packed: usize,
}

/// Some rows of tiles of some images, and where their transforms lie.
#[derive(Clone, Copy)]
struct Part {
    image: usize,
    /// Rows of tiles.
    first: usize,
    rows: usize,
    /// The first tile's place among those that are transformed together.
    at: usize,
}

impl Winograd {
    pub(super) fn new(
        source: Source,
        destination: Destination,
        origin: [isize; 2],
        size: usize,
        mut spec: PackSpec,
    ) -> Self {
        spec.winograd = size;
        let (tiles, packed) = PackSpec { taps: 1, ..spec }.tiles();
        Self {
            source,
            destination,
            origin,
            size,
            spec,
            tiles,
            packed,
        }
    }

    /// How its weights are packed.
    pub(super) fn spec(&self) -> PackSpec {
        self.spec
    }

    /// Points of a tile.
    fn points(&self) -> usize {
        (self.size + 2) * (self.size + 2)
    }

    /// Blocks of input and of output channels.
    fn blocks(&self) -> [usize; 2] {
        [self.spec.inputs, self.spec.outputs].map(|n| n.div_ceil(LANES))
    }

    /// Rows and columns of tiles.
    fn grid(&self) -> [usize; 2] {
        let d = &self.destination;
        [d.height, d.width].map(|n| n.div_ceil(self.size))
    }

    /// Floats of the transforms of `tiles` tiles.
    fn floats(&self, tiles: usize) -> usize {
        self.points() * self.blocks().iter().sum::<usize>() * stride(tiles)
    }

    /// Rows of tiles that a thread transforms, multiplies and transforms back
    /// in its own cache; `None` where weights are too many to be read for each.
    fn block_rows(&self) -> Option<usize> {
        let [rows, columns] = self.grid();
        let small = self.points() * self.packed <= SMALL_WEIGHTS;
        let fit = (1..=rows).rev().find(|r| self.floats(r * columns) <= BLOCK);
        let rows_of = |fit: usize| rows.div_ceil(rows.div_ceil(fit));
        (small && columns * fit.unwrap_or(1) >= 12).then(|| rows_of(fit.unwrap_or(1)))
    }

    /// Images, and rows of their tiles, whose transforms lie in memory at once:
    /// several images, or a part of one.
    fn together(&self) -> [usize; 2] {
        let [rows, columns] = self.grid();
        let fit = |rows: &usize| self.floats(rows * columns) <= SHARED;
        let images = (SHARED / self.floats(rows * columns).max(1)).min(self.destination.images);
        match images {
            0 => [1, (1..rows).rev().find(fit).unwrap_or(1)],
            images => [images, rows],
        }
    }

    /// Floats of working memory on so many threads.
    pub(super) fn workspace(&self, threads: usize) -> usize {
        let columns = self.grid()[1];
        match self.block_rows() {
            Some(rows) => threads * self.floats(rows * columns),
            None => {
                let [images, rows] = self.together();
                self.floats(images * rows * columns)
            }
        }
    }

    /// Computes all outputs into `out` and the masks into `masks`.
    pub(super) fn run<T: Number, O: Number>(
        &self,
        input: &[T],
        weights: &[f32],
        affine: [Option<&[f32]>; 2],
        out: &mut [O],
        masks: &mut [u16],
        finish: Finish<'_>,
        workspace: Workspace<'_>,
        cx: Context<'_>,
    ) {
        let d = &self.destination;
        let plane = d.height * d.width * LANES;
        if plane == 0 || d.images == 0 || self.spec.outputs == 0 {
            return;
        }
        let job = Job {
            winograd: self,
            input,
            weights,
            affine,
            finish,
            cx,
        };
        let out = &mut out[..d.images * d.planes * plane];
        match self.block_rows() {
            Some(rows) => job.by_blocks(rows, out, masks, workspace),
            None => job.by_stages(out, masks, workspace),
        }
    }
}

/// Floats from the values at a point of so many tiles to those at the next.
fn stride(tiles: usize) -> usize {
    tiles * LANES + SKEW
}

struct Job<'a, T> {
    winograd: &'a Winograd,
    input: &'a [T],
    weights: &'a [f32],
    affine: [Option<&'a [f32]>; 2],
    finish: Finish<'a>,
    cx: Context<'a>,
}

/// Rows of an output plane, and of its mask.
type Piece<'a, O> = (&'a mut [O], &'a mut [u16]);

impl<T: Number> Job<'_, T> {
    /// The planes of `out` in pieces of `rows` rows, each with its mask's: of
    /// each plane a list.
    fn pieces<'o, O>(
        &self,
        rows: usize,
        out: &'o mut [O],
        masks: &'o mut [u16],
    ) -> impl Iterator<Item = Vec<Piece<'o, O>>> {
        let d = &self.winograd.destination;
        let (piece, plane) = (rows * d.width * LANES, d.height * d.width * LANES);
        let masked = self.finish.mask.is_some();
        let mut masks = masks.chunks_mut(plane / LANES);
        out.chunks_mut(plane).map(move |out| {
            let mask = if masked { masks.next() } else { None };
            let mut mask = mask.unwrap_or_default().chunks_mut(piece / LANES);
            let pieces = out.chunks_mut(piece);
            pieces
                .map(|out| (out, mask.next().unwrap_or_default()))
                .collect()
        })
    }

    /// All stages of `rows` rows of tiles, then the next.
    fn by_blocks<O: Number>(
        &self,
        rows: usize,
        out: &mut [O],
        masks: &mut [u16],
        work: Workspace<'_>,
    ) {
        let w = self.winograd;
        let d = &w.destination;
        let [all, columns] = w.grid();
        let parts = all.div_ceil(rows);
        let part = |i: usize| Part {
            image: i / parts,
            first: i % parts * rows,
            rows: rows.min(all - i % parts * rows),
            at: 0,
        };
        let none = (0..d.images * parts).map(|i| (part(i), Vec::with_capacity(d.planes)));
        let mut tasks: Vec<(Part, Vec<Piece<'_, O>>)> = none.collect();
        for (i, pieces) in self.pieces(rows * w.size, out, masks).enumerate() {
            for (k, piece) in pieces.into_iter().enumerate() {
                tasks[i / d.planes * parts + k].1.push(piece);
            }
        }
        let [inputs, _] = w.blocks();
        let work = work.split(self.cx.pool.count(), w.floats(rows * columns));
        self.cx.pool.each(tasks, |(part, pieces)| {
            work.with(|work| {
                let step = stride(rows * columns);
                let (x, y) = work.split_at_mut(inputs * w.points() * step);
                for (block, x) in x.chunks_mut(w.points() * step).enumerate() {
                    self.transform_input(block, part, step, x);
                }
                let per_point = y.len() / w.points();
                for (point, y) in y.chunks_mut(per_point).enumerate() {
                    self.products(point, part.rows * columns, step, x, y);
                }
                for (block, piece) in pieces.into_iter().enumerate() {
                    self.transform_output(block, part, step, y, piece);
                }
            });
        });
    }

    /// One stage of some images, or of a part of one, then the next stage.
    fn by_stages<O: Number>(&self, out: &mut [O], masks: &mut [u16], work: Workspace<'_>) {
        let w = self.winograd;
        let d = &w.destination;
        let [all, columns] = w.grid();
        let [inputs, outputs] = w.blocks();
        let [together, rows] = w.together();
        let step = stride(together * rows * columns);
        let work = &mut work.floats()[..w.floats(together * rows * columns)];
        let (x, y) = work.split_at_mut(inputs * w.points() * step);
        let pieces = self.pieces(rows * w.size, out, masks);
        let mut pieces: Vec<_> = pieces.map(Vec::into_iter).collect();
        let firsts = (0..d.images).step_by(together);
        for (first, row) in firsts.flat_map(|i| (0..all).step_by(rows).map(move |r| (i, r))) {
            let images = together.min(d.images - first);
            let part = |image: usize| Part {
                image: first + image,
                first: row,
                rows: rows.min(all - row),
                at: image * rows * columns,
            };
            let blocks = x.chunks_mut(w.points() * step).enumerate();
            self.cx.pool.each(blocks.collect(), |(block, x)| {
                for image in 0..images {
                    self.transform_input(block, part(image), step, x);
                }
            });
            let points = y.chunks_mut(outputs * step).enumerate();
            let (x, tiles) = (&*x, images * part(0).rows * columns);
            self.cx.pool.each(points.collect(), |(point, y)| {
                self.products(point, tiles, step, x, y);
            });
            let y = &*y;
            let planes = &mut pieces[first * d.planes..][..images * d.planes];
            let now = planes.iter_mut().map(Iterator::next).enumerate();
            let now = now.filter_map(|(i, piece)| Some((i, piece?)));
            self.cx.pool.each(now.collect(), |(i, piece)| {
                self.transform_output(i % d.planes, part(i / d.planes), step, y, piece);
            });
        }
    }

    /// The transforms of a block of input channels: `[point][tile][16]`.
    fn transform_input(&self, block: usize, part: Part, step: usize, to: &mut [f32]) {
        let w = self.winograd;
        let backend = self.cx.backend;
        let plane = &self.input[part.image * w.source.image + block * w.source.block..];
        let plane = plane[..w.source.height * w.source.width * LANES]
            .as_chunks()
            .0;
        if w.size == 2 {
            backend.vectorize(Input::<T, Two, 2, 4>(w, part, plane, step, to, Two));
        } else {
            backend.vectorize(Input::<T, Four, 4, 6>(w, part, plane, step, to, Four));
        }
    }

    /// The products of `tiles` tiles at a point: `x` is `[block][point][tile][16]`,
    /// `y` is `[block][tile][16]` of the point.
    fn products(&self, point: usize, tiles: usize, step: usize, x: &[f32], y: &mut [f32]) {
        let w = self.winograd;
        let mut taps = Taps::default();
        taps.clear();
        taps.push(0, 0);
        let mut planes = y.chunks_mut(step);
        for t in &w.tiles {
            let row = t.vectors * LANES;
            let sweep = Sweep {
                input: x,
                weights: &self.weights[point * w.packed + t.at..],
                bias: None,
                scale: None,
                taps: &taps,
                blocks: Blocks {
                    count: t.blocks,
                    depth: LANES,
                    last: t.last,
                    input: w.points() * step,
                    weights: t.room * row,
                },
                start: (point * step) as isize,
                step: LANES,
                depth_step: 1,
                row,
            };
            let mut outs: [&mut [f32]; tile::MAX_VECTORS] = Default::default();
            for out in &mut outs[..t.vectors] {
                *out = planes.next().unwrap_or_default();
            }
            let mut store = Store {
                target: Target::Planes(&mut outs[..t.vectors]),
                masks: &mut [],
                finish: Finish::default(),
                planes_at: [0; tile::MAX_VECTORS],
                at: 0,
                step: LANES,
            };
            tile::dense(self.cx.backend, t.vectors, tiles, sweep, &mut store);
        }
    }

    /// Transforms a block of output channels back: `from` is
    /// `[point][block][tile][16]`.
    fn transform_output<O: Number>(
        &self,
        block: usize,
        part: Part,
        step: usize,
        from: &[f32],
        to: Piece<'_, O>,
    ) {
        let w = self.winograd;
        let d = &w.destination;
        let plane = (part.image * d.planes + block) * d.height * d.width;
        let row = part.first * w.size * d.width;
        let output = Output {
            winograd: w,
            part,
            from: &from[block * step..],
            step: w.blocks()[1] * step,
            affine: self.affine.map(|a| a.map(|a| &a.as_chunks().0[block])),
            finish: self.finish,
            whole: plane + row,
            out: to.0.as_chunks_mut().0,
            masks: to.1,
        };
        let backend = self.cx.backend;
        if w.size == 2 {
            backend.vectorize(OutputOf::<O, Two, 2, 4>(output, Two));
        } else {
            backend.vectorize(OutputOf::<O, Four, 4, 6>(output, Four));
        }
    }
}

/// Tiles of `M` outputs a side into their values at `A` x `A` points.
struct Input<'a, N, T, const M: usize, const A: usize>(
    &'a Winograd,
    Part,
    &'a [[N; LANES]],
    usize,
    &'a mut [f32],
    T,
);

impl<N: Number, T: Transform<M, A>, const M: usize, const A: usize> Vectorize
    for Input<'_, N, T, M, A>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(w, part, plane, step, to, _) = self;
        let (height, width) = (w.source.height as isize, w.source.width as isize);
        let columns = w.grid()[1];
        for i in 0..part.rows {
            let y = ((part.first + i) * M) as isize + w.origin[0];
            for j in 0..columns {
                let x = (j * M) as isize + w.origin[1];
                let inside = 0 <= x && x + A as isize <= width;
                let mut lines = [[s.splat(0.0); A]; A];
                for (r, line) in lines.iter_mut().enumerate() {
                    let y = y + r as isize;
                    if y < 0 || y >= height {
                        continue;
                    }
                    let at = y * width + x;
                    if inside {
                        let row = &plane[at as usize..][..A];
                        for c in 0..A {
                            line[c] = N::vector(s, &row[c]);
                        }
                    } else {
                        for c in 0..A as isize {
                            if 0 <= x + c && x + c < width {
                                line[c as usize] = N::vector(s, &plane[(at + c) as usize]);
                            }
                        }
                    }
                    *line = T::input(s, *line);
                }
                let tile = (part.at + i * columns + j) * LANES;
                for c in 0..A {
                    let column = T::input(s, std::array::from_fn(|r| lines[r][c]));
                    for r in 0..A {
                        let to = &mut to[(r * A + c) * step + tile..];
                        s.store(column[r], &mut to.as_chunks_mut().0[0]);
                    }
                }
            }
        }
    }
}

/// What the transform of a block of output channels reads and writes.
struct Output<'a, O> {
    winograd: &'a Winograd,
    part: Part,
    from: &'a [f32],
    /// Floats from a point to the next.
    step: usize,
    /// Bias and factor of the channels.
    affine: [Option<&'a [f32; LANES]>; 2],
    finish: Finish<'a>,
    /// The first output's place in the whole, in vectors.
    whole: usize,
    out: &'a mut [[O; LANES]],
    masks: &'a mut [u16],
}

struct OutputOf<'a, O, T, const M: usize, const A: usize>(Output<'a, O>, T);

impl<O: Number, T: Transform<M, A>, const M: usize, const A: usize> Vectorize
    for OutputOf<'_, O, T, M, A>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(o, _) = self;
        let w = o.winograd;
        let (columns, width) = (w.grid()[1], w.destination.width);
        let [bias, scale] = o.affine.map(|a| a.map(|a| s.load(a)));
        for i in 0..o.part.rows {
            for j in 0..columns {
                let tile = (o.part.at + i * columns + j) * LANES;
                let mut lines = [[s.splat(0.0); A]; M];
                for c in 0..A {
                    let column = T::output(
                        s,
                        std::array::from_fn(|r| {
                            let from = &o.from[(r * A + c) * o.step + tile..];
                            s.load(&from.as_chunks().0[0])
                        }),
                    );
                    for r in 0..M {
                        lines[r][c] = column[r];
                    }
                }
                for (r, line) in lines.into_iter().enumerate() {
                    let at = (i * M + r) * width + j * M;
                    if at >= o.out.len() {
                        break;
                    }
                    let line = T::output(s, line);
                    for c in 0..M.min(width - j * M) {
                        let v = match (scale, bias) {
                            (Some(scale), _) => s.fma(line[c], scale, bias.unwrap_or(s.splat(0.0))),
                            (None, Some(bias)) => s.add(line[c], bias),
                            (None, None) => line[c],
                        };
                        let mask = o.masks.get_mut(at + c);
                        let v = finish::vector(s, &o.finish, v, o.whole + at + c, mask);
                        O::store(s, v, &mut o.out[at + c]);
                    }
                }
            }
        }
    }
}
