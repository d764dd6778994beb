use super::product::{Finish, Packed, access, tile, tiled};
use crate::gather::{Axis, Gather};
use crate::kernel::{Dispatch, Kernel, Profile, Signature, Slot};
use crate::tuning::Tile;
use crate::weights::Weights;
use limpid_graph::ops::{Conv, ConvTranspose};

/// A row or column of taps: where it lies in the input, relative to an output
/// pixel, for the window's positions `first`, `first + step`, ...
#[derive(Debug, Clone, PartialEq, Eq)]
struct Taps {
    first: usize,
    step: usize,
    distances: Vec<i32>,
}

impl Taps {
    /// All taps of a convolution's window along one axis.
    fn all(kernel: usize, dilation: usize, pad: usize) -> Self {
        let distance = |k: usize| (k * dilation) as i32 - pad as i32;
        Self {
            first: 0,
            step: 1,
            distances: (0..kernel).map(distance).collect(),
        }
    }

    /// The taps of a transposed convolution that reach the output pixels
    /// `phase`, `phase + stride`, ...: those for which the input's position is
    /// whole. They are evenly spaced.
    fn of_phase(phase: usize, stride: usize, kernel: usize, dilation: usize, pad: usize) -> Self {
        let reach = |k: usize| (phase + pad) as i64 - (k * dilation) as i64;
        let taps = (0..kernel).filter(|k| reach(*k).rem_euclid(stride as i64) == 0);
        let taps: Vec<usize> = taps.collect();
        let step = match taps[..] {
            [a, b, ..] => b - a,
            _ => 1,
        };
        Self {
            first: taps.first().copied().unwrap_or(0),
            step,
            distances: taps
                .iter()
                .map(|k| (reach(*k) / stride as i64) as i32)
                .collect(),
        }
    }
}

/// One phase of a convolution in either direction.
struct Phase {
    taps: [Taps; 2],
    /// Output pixels of the phase, down and across.
    positions: [usize; 2],
    in_step: [usize; 2],
    out_step: [usize; 2],
    out_offset: [usize; 2],
    gather: Gather,
    /// The depth with its zeros, and the channels of a group it runs over.
    depth: usize,
    channels: usize,
}

impl Phase {
    /// For each depth its distance in the input, of rows, and of columns.
    fn table(&self, [height, width]: [usize; 2]) -> Weights {
        const OUTSIDE: i32 = -0x4000_0000;
        let mut words: Vec<i32> = Vec::with_capacity(4 * self.depth);
        for channel in 0..self.channels {
            let plane = (channel * height * width) as i32;
            for dy in &self.taps[0].distances {
                for dx in &self.taps[1].distances {
                    words.extend([plane + dy * width as i32 + dx, *dy, *dx, 0]);
                }
            }
        }
        words.truncate(4 * self.depth);
        while words.len() < 4 * self.depth.max(1) {
            words.extend([0, OUTSIDE, 0, 0]);
        }
        Weights::table(words.into_iter().map(|w| w as u32).collect())
    }
}

/// A convolution: one phase.
pub(crate) fn conv(op: &Conv, s: &Signature<'_>, profile: &Profile) -> Kernel {
    let (x, weight) = (s.shape(0), s.shape(1));
    let [m, per_group, kh, kw] = [0, 1, 2, 3].map(|i| weight[i]);
    let (out, groups) = (s.output(), op.groups);
    let pads = op.pads(x, weight);
    let rows = m / groups;
    let tile = tile(profile, groups, rows, out[2] * out[3]);
    let length = per_group * kh * kw;
    let depth = length.next_multiple_of(tile.depth);
    let [blocks, inner] = Axis::blocks(rows, tile.rows, length, 1);
    let phase = Phase {
        taps: [
            Taps::all(kh, op.dilations[0], pads[0]),
            Taps::all(kw, op.dilations[1], pads[1]),
        ],
        positions: [out[2], out[3]],
        in_step: op.strides,
        out_step: [1, 1],
        out_offset: [0, 0],
        gather: Gather {
            offset: 0,
            axes: vec![
                Axis::new(groups, rows * length),
                blocks,
                Axis::padded(length, depth, 1),
                inner,
            ],
        },
        depth,
        channels: per_group,
    };
    let own = s.inputs.len() - op.epilogue.inputs();
    let scaled = usize::from(op.scaled);
    let convolution = Convolution {
        s,
        tile,
        groups,
        rows,
        bias: (own - scaled == 3).then_some(2),
        factor: op.scaled.then_some(own - 1),
        scale: None,
    };
    let finish = |start| Finish::new(s, op.epilogue, own, true, start);
    convolution.kernel("convolution", vec![phase], finish)
}

/// A transposed convolution: a phase for each position between strides.
pub(crate) fn transpose(op: &ConvTranspose, s: &Signature<'_>, profile: &Profile) -> Kernel {
    let (x, weight) = (s.shape(0), s.shape(1));
    let [_, rows, kh, kw] = [0, 1, 2, 3].map(|i| weight[i]);
    let (out, groups) = (s.output(), op.groups);
    let channels = x[1] / groups;
    let [sy, sx] = op.strides;
    let tile = tile(profile, groups, rows, (out[2] * out[3]).div_ceil(sy * sx));
    let mut phases = Vec::new();
    for (ry, rx) in (0..sy).flat_map(|ry| (0..sx).map(move |rx| (ry, rx))) {
        if ry >= out[2] || rx >= out[3] {
            continue;
        }
        let taps = [
            Taps::of_phase(ry, sy, kh, op.dilations[0], op.pads[0]),
            Taps::of_phase(rx, sx, kw, op.dilations[1], op.pads[1]),
        ];
        let each = taps[0].distances.len() * taps[1].distances.len();
        // Channels are padded until the depth is one of whole steps.
        let whole = (1..=tile.depth).find(|n| (n * each).is_multiple_of(tile.depth));
        let padded = channels.next_multiple_of(whole.unwrap_or(tile.depth));
        let window = kh * kw;
        let [blocks, inner] = Axis::blocks(rows, tile.rows, window, 1);
        let axes = vec![
            Axis::new(groups, channels * rows * window),
            blocks,
            Axis::padded(channels, padded, rows * window),
            Axis::new(taps[0].distances.len(), taps[0].step * kw),
            Axis::new(taps[1].distances.len(), taps[1].step),
            inner,
        ];
        phases.push(Phase {
            positions: [(out[2] - ry).div_ceil(sy), (out[3] - rx).div_ceil(sx)],
            in_step: [1, 1],
            out_step: op.strides,
            out_offset: [ry, rx],
            gather: Gather {
                offset: taps[0].first * kw + taps[1].first,
                axes,
            },
            depth: padded * each,
            channels,
            taps,
        });
    }
    let own = s.inputs.len() - op.epilogue.inputs();
    let scaled = usize::from(op.scaled);
    let convolution = Convolution {
        s,
        tile,
        groups,
        rows,
        bias: (own - scaled == 3).then_some(2),
        factor: None,
        scale: op.scaled.then_some((own - 1, rows * kh * kw)),
    };
    let whole = phases.len() == 1 && sy * sx == 1;
    let finish = |start| Finish::new(s, op.epilogue, own, whole, start);
    convolution.kernel("transposed convolution", phases, finish)
}

/// What the phases of a convolution share.
struct Convolution<'a> {
    s: &'a Signature<'a>,
    tile: Tile,
    groups: usize,
    /// Output channels of a group.
    rows: usize,
    bias: Option<usize>,
    /// The input with a factor for each output channel.
    factor: Option<usize>,
    /// The input with a factor for each of the weight's lines, and their length.
    scale: Option<(usize, usize)>,
}

impl Convolution<'_> {
    fn kernel(
        self,
        name: &'static str,
        phases: Vec<Phase>,
        finish: impl Fn(usize) -> Finish,
    ) -> Kernel {
        let mut workspace = 0;
        let mut packed = Vec::new();
        for phase in &phases {
            let gather = phase.gather.clone();
            // A phase that no tap reaches has no weights, but a buffer.
            let one = match phase.depth {
                0 => None,
                _ => Some(Packed::new(self.s, 1, gather, self.scale, workspace)),
            };
            workspace += one.as_ref().map_or(0, |p| p.workspace);
            packed.push(one);
        }
        let finish = finish(workspace);
        let mut dispatches = Vec::new();
        for (phase, packed) in phases.iter().zip(packed) {
            let weights = match packed {
                None => Slot::Missing,
                Some(packed) => {
                    dispatches.extend(packed.launch);
                    packed.slot
                }
            };
            dispatches.push(self.launch(phase, weights, &finish));
        }
        finish.kernel(name, dispatches, workspace)
    }

    fn launch(&self, phase: &Phase, weights: Slot, finish: &Finish) -> Dispatch {
        let s = self.s;
        let (x, out) = (s.shape(0), s.output());
        let [height, width] = [x[2], x[3]];
        let positions = phase.positions[0] * phase.positions[1];
        let columns = out[0] * positions;
        let (row_blocks, column_blocks) = (
            self.rows.div_ceil(self.tile.rows),
            columns.div_ceil(self.tile.columns),
        );
        let input = |i: Option<usize>| i.map_or(Slot::Missing, Slot::Input);
        let dispatch = tiled("conv", self.tile)
            .choose("X", s.reads[0].wgsl())
            .choose("Y", s.writes[0].wgsl())
            .choose("WEIGHTS", access(&weights))
            .switch("BIAS", self.bias.is_some())
            .switch("FACTOR", self.factor.is_some())
            .params([self.rows, row_blocks, column_blocks, columns, positions])
            .params([phase.positions[1], phase.depth])
            .params([x[1], phase.channels, height, width])
            .params(phase.in_step)
            .params([out[1], out[2] * out[3], out[3]])
            .params(phase.out_step)
            .params([phase.out_offset[0] * out[3] + phase.out_offset[1]]);
        let mut dispatch = finish
            .bounds(finish.switches(dispatch))
            .bind(weights)
            .bind(Slot::Weights(phase.table([height, width])))
            .bind(input(self.bias))
            .bind(input(self.factor))
            .bind(Slot::Input(0));
        dispatch.slots.extend(finish.slots());
        dispatch.slots.push(finish.output());
        dispatch.groups = (row_blocks * column_blocks * self.groups) as u64;
        dispatch.work = 2 * (self.groups * self.rows * columns) as u64 * phase.depth as u64;
        dispatch
    }
}
