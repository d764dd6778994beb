//! Depthwise convolution and its transpose: the windows of [`super::window`]
//! where each output channel reads the one input channel of its number.
//!
//! The order of each output's sum is the window's, from the top and from the
//! left.

use super::Context;
use super::window::{Band, Destination, Offset, Reach, Source, Terms, View};
use crate::arch::depthwise::{LENGTHS, Run, Sweep, Taps, depthwise};
use crate::arch::number::Number;
use crate::arch::store::{Finish, Store};
use crate::arch::tile::MAX_VECTORS;
use crate::pack::PackSpec;
use crate::simd::LANES;

/// Positions that are worth a task of their own.
const POSITIONS: usize = 1 << 11;

/// Output positions that share their taps.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Phase {
    at: [usize; 2],
    taps: Taps,
}

/// The sums, without their weights.
#[derive(Debug, Clone)]
pub(super) struct Depthwise {
    source: Source,
    destination: Destination,
    in_step: [usize; 2],
    out_step: [usize; 2],
    reach: Reach,
    phases: Vec<Phase>,
    spec: PackSpec,
}

impl Depthwise {
    pub(super) fn new(
        source: Source,
        destination: Destination,
        in_step: [usize; 2],
        out_step: [usize; 2],
        phases: Vec<([usize; 2], Vec<Offset>)>,
        spec: PackSpec,
    ) -> Self {
        let phase = |(at, offsets)| Phase {
            at,
            taps: runs(offsets, in_step[1]),
        };
        let taps = phases.iter().flat_map(|(_, taps)| taps);
        Self {
            source,
            destination,
            in_step,
            out_step,
            reach: Reach::new(taps, [in_step[0], out_step[0]], source.height),
            phases: phases.into_iter().map(phase).collect(),
            spec,
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

    /// Computes all outputs into `out` and the masks into `masks`.
    pub(super) fn run<T: Number, O: Number>(
        &self,
        input: &[T],
        weights: &[f32],
        [bias, scale]: [Option<&[f32]>; 2],
        out: &mut [O],
        masks: &mut [u16],
        finish: Finish<'_>,
        cx: Context<'_>,
    ) {
        let (s, d) = (&self.source, &self.destination);
        let (row, planes) = (d.width * LANES, d.images * d.planes);
        let plane = d.height * row;
        if planes * plane == 0 {
            return;
        }
        let rows = POSITIONS.div_ceil(d.width).min(d.height);
        let mut masks = masks.chunks_mut(plane / LANES);
        let mut parts = Vec::with_capacity(planes * d.height.div_ceil(rows));
        for (index, out) in out[..planes * plane].chunks_mut(plane).enumerate() {
            let masks = masks.next().unwrap_or_default();
            let mut masks = masks.chunks_mut(rows * row / LANES);
            for (i, out) in out.chunks_mut(rows * row).enumerate() {
                parts.push(Part {
                    plane: index,
                    first: i * rows,
                    out,
                    mask: masks.next().unwrap_or_default(),
                });
            }
        }
        let each = (POSITIONS / (rows * d.width)).max(1);
        let terms = Terms {
            weights,
            bias,
            scale,
            finish,
            backend: cx.backend,
        };
        cx.pool.each(parts.chunks_mut(each).collect(), |parts| {
            let mut work = Vec::new();
            for part in parts {
                let view = View {
                    data: &input[part.plane / d.planes * s.image..],
                    first: 0,
                    block: s.block,
                };
                self.part(view, part, terms, &mut work);
            }
        });
    }

    /// Computes some rows of an image.
    pub(super) fn band<T: Number, O: Number>(
        &self,
        view: View<'_, T>,
        band: Band<'_, '_, O>,
        terms: Terms<'_, f32>,
    ) {
        let (mut masks, mut work) = (band.masks.iter_mut(), Vec::new());
        for (block, out) in band.outs.iter_mut().enumerate() {
            let mut part = Part {
                plane: band.image * self.destination.planes + block,
                first: band.first,
                out,
                mask: masks.next().map_or(&mut [], |mask| &mut **mask),
            };
            self.part(view, &mut part, terms, &mut work);
        }
    }

    /// Computes some rows of one plane.
    fn part<T: Number, O: Number>(
        &self,
        view: View<'_, T>,
        part: &mut Part<'_, O>,
        terms: Terms<'_, f32>,
        work: &mut Vec<f32>,
    ) {
        let (s, d) = (&self.source, &self.destination);
        let row = d.width * LANES;
        let end = part.first + part.out.len() / row;
        let block = part.plane % d.planes;
        let window = self.spec.taps * LANES;
        let plane = &view.data[block * view.block..][..view.block];
        let mut planes_at = [0; MAX_VECTORS];
        planes_at[0] = (part.plane * d.height + part.first) * row;
        let read = self.reach.needs(&(part.first..end));
        let place = |row: usize| (row - view.first) * s.width * LANES;
        let input = &plane[place(read.start)..place(read.end)];
        let input = T::floats(input, work, terms.backend);
        for phase in &self.phases {
            // The first position of the phase at or after a row or column.
            let after = |axis: usize, at: usize| {
                let past = at.saturating_sub(phase.at[axis]);
                past.div_ceil(self.out_step[axis])
            };
            let rows = after(0, part.first)..after(0, end);
            let y = rows.start * self.out_step[0] + phase.at[0];
            if rows.is_empty() {
                continue;
            }
            let sweep = Sweep {
                input,
                first: read.start,
                height: s.height,
                width: s.width,
                weights: &terms.weights[block * window..][..window],
                bias: terms.bias.map(|b| &b[block * LANES..]),
                scale: terms.scale.map(|s| &s[block * LANES..]),
                taps: &phase.taps,
                step: self.in_step,
                rows,
                columns: after(1, d.width),
                row: self.out_step[0] * row,
            };
            let mut outs = [&mut *part.out];
            let mut store = Store {
                target: O::target(&mut outs, false),
                masks: &mut [&mut *part.mask],
                finish: terms.finish,
                planes_at,
                at: y.saturating_sub(part.first) * row + phase.at[1] * LANES,
                step: self.out_step[1] * LANES,
            };
            depthwise(terms.backend, &sweep, &mut store);
        }
    }
}

/// Some rows of a plane of the output.
struct Part<'a, O> {
    /// Counted over images.
    plane: usize,
    first: usize,
    out: &'a mut [O],
    mask: &'a mut [u16],
}

/// Puts the taps of a window together. They are a product of rows and columns,
/// so that all rows have the same columns.
fn runs(mut offsets: Vec<Offset>, in_step: usize) -> Taps {
    offsets.sort_by_key(|t| (t.dy, t.dx));
    let index_step = match offsets[..] {
        [a, b, ..] => b.index as isize - a.index as isize,
        _ => 0,
    };
    let columns = offsets.iter().take_while(|t| t.dy == offsets[0].dy).count();
    let near = offsets[..columns]
        .windows(2)
        .all(|t| t[1].dx == t[0].dx + 1);
    let fits = |n: &&usize| columns % **n == 0 && near && in_step <= 2;
    let length = LENGTHS.iter().find(fits).map_or(1, |n| *n);
    let run = |taps: &[Offset]| Run {
        offset: [taps[0].dy, taps[0].dx],
        index: taps[0].index,
    };
    Taps {
        runs: offsets.chunks(length).map(run).collect(),
        length,
        index_step,
    }
}
