use super::product::{Finish, Packed, access, multiplied, part, parts, tile};
use super::taps::Phase;
use super::{depthwise, winograd};
use crate::gather::{Axis, Gather};
use crate::kernel::{Dispatch, Kernel, Profile, Signature, Slot};
use crate::layout::Stored;
use crate::tuning::Tile;
use crate::weights::Weights;
use limpid_graph::Fact;
use limpid_graph::ops::{Conv, ConvTranspose, Epilogue};

/// A convolution.
pub(crate) fn conv(op: &Conv, s: &Signature<'_>, profile: &Profile) -> Kernel {
    let (x, weight, out) = (s.shape(0), s.shape(1), s.output());
    let own = s.inputs.len() - op.epilogue.inputs();
    let biased = own - usize::from(op.scaled) == 3;
    let rows = weight[0] / op.groups;
    let convolution = Convolution {
        s,
        profile,
        transposed: false,
        tile: tile(profile, op.groups, rows, out[0] * out[2] * out[3]),
        groups: op.groups,
        rows,
        channels: weight[1],
        bias: biased.then_some(2),
        factor: op.scaled.then_some(own - 1),
        scale: None,
        own,
        epilogue: op.epilogue,
    };
    convolution.kernel(&[Phase::of_conv(op, x, weight, out)])
}

/// A transposed convolution: a phase for each position between strides.
pub(crate) fn transpose(op: &ConvTranspose, s: &Signature<'_>, profile: &Profile) -> Kernel {
    if let [x, weight] = [s.shape(0), s.shape(1)].map(|d| &d[..])
        && let ([n, m, 1, 1], [_, c, kh, kw]) = (x, weight)
        && kh * kw > 1
        && s.output()[..] == [*n, *c, *kh, *kw]
        && s.inputs.len() == 2 + usize::from(op.scaled)
        && op.epilogue.is_none()
        && op.pads == [0; 4]
    {
        // Of one pixel: each output has one product for each input channel, and no
        // tap is looked at in vain.
        let rows = c * kh * kw;
        let weight = Fact::f32([*m, rows, 1, 1]);
        let y = Fact::f32([*n, rows, 1, 1]);
        let mut inputs = s.inputs.clone();
        inputs[1] = &weight;
        let flat = Signature {
            op: s.op,
            inputs,
            outputs: vec![&y],
            constants: s.constants.clone(),
            reads: s.reads.clone(),
            writes: s.writes.clone(),
            used: s.used.clone(),
        };
        let op = ConvTranspose {
            scaled: op.scaled,
            ..ConvTranspose::default()
        };
        return transpose(&op, &flat, profile);
    }
    let (x, weight, out) = (s.shape(0), s.shape(1), s.output());
    let own = s.inputs.len() - op.epilogue.inputs();
    let biased = own - usize::from(op.scaled) == 3;
    let line: usize = weight[1..].iter().product();
    let pixels = out[0] * (out[2] * out[3]).div_ceil(op.strides[0] * op.strides[1]);
    let convolution = Convolution {
        s,
        profile,
        transposed: true,
        tile: tile(profile, op.groups, weight[1], pixels),
        groups: op.groups,
        rows: weight[1],
        channels: x[1] / op.groups,
        bias: biased.then_some(2),
        factor: None,
        scale: op.scaled.then_some((own - 1, line)),
        own,
        epilogue: op.epilogue,
    };
    convolution.kernel(&Phase::all_of_transpose(op, weight, out))
}

/// What the phases of a convolution share.
pub(super) struct Convolution<'a> {
    pub(super) s: &'a Signature<'a>,
    pub(super) profile: &'a Profile,
    pub(super) transposed: bool,
    tile: Tile,
    pub(super) groups: usize,
    /// Output and input channels of a group.
    pub(super) rows: usize,
    pub(super) channels: usize,
    pub(super) bias: Option<usize>,
    /// The input with a factor for each output channel.
    pub(super) factor: Option<usize>,
    /// The input with a factor for each of the weight's lines, and their length.
    pub(super) scale: Option<(usize, usize)>,
    /// Inputs before the epilogue's.
    pub(super) own: usize,
    pub(super) epilogue: Epilogue,
}

impl Convolution<'_> {
    fn kernel(self, phases: &[Phase]) -> Kernel {
        if let [phase] = phases
            && let Some(kernel) = winograd::kernel(&self, phase)
        {
            return kernel;
        }
        let depthwise = self.channels == 1 && (self.rows == 1 || !self.transposed);
        let contiguous = phases.iter().all(|p| p.out_step == [1, 1]);
        let mut workspace = 0;
        let mut packed = Vec::new();
        for phase in phases {
            let gather = match depthwise {
                true => self.plain(),
                false => self.gather(phase),
            };
            // A phase that no tap reaches has no weights.
            let one = match gather.elements() {
                0 => None,
                _ => {
                    let stored = if depthwise {
                        Stored::F32
                    } else {
                        self.tile_type()
                    };
                    Some(Packed::new(
                        self.s, 1, gather, self.scale, workspace, stored,
                    ))
                }
            };
            workspace += one.as_ref().map_or(0, |p| p.workspace);
            packed.push(one);
        }
        let finish = Finish::new(self.s, self.epilogue, self.own, contiguous, workspace);
        let mut dispatches = Vec::new();
        for (phase, packed) in phases.iter().zip(packed) {
            let weights = packed.map_or(Slot::Missing, |packed| {
                dispatches.extend(packed.launch);
                packed.slot
            });
            match depthwise {
                true => dispatches.push(depthwise::launch(&self, phase, weights, &finish)),
                false => dispatches.extend(self.launches(phase, weights, &finish)),
            }
        }
        let name = match (depthwise, self.transposed) {
            (true, false) => "depthwise convolution",
            (true, true) => "transposed depthwise convolution",
            (false, false) => "convolution",
            (false, true) => "transposed convolution",
        };
        finish.kernel(name, dispatches, workspace)
    }

    /// Of what both operands are made in workgroup memory. Weights that a launch
    /// packs are f32.
    fn tile_type(&self) -> Stored {
        match self.s.constants[1] {
            Some(_) => self.s.reads[0],
            None => Stored::F32,
        }
    }

    /// The input channels of a group, with as many of zeros as the depth needs
    /// to be one of whole steps.
    fn padded_channels(&self, phase: &Phase) -> usize {
        let whole =
            (1..=self.tile.depth).find(|n| (n * phase.count()).is_multiple_of(self.tile.depth));
        self.channels
            .next_multiple_of(whole.unwrap_or(self.tile.depth))
    }

    fn depth(&self, phase: &Phase) -> usize {
        match self.transposed {
            true => self.padded_channels(phase) * phase.count(),
            false => (self.channels * phase.count()).next_multiple_of(self.tile.depth),
        }
    }

    /// Weights as they are.
    fn plain(&self) -> Gather {
        let elements = self.s.shape(1).iter().product();
        Gather {
            offset: 0,
            axes: vec![Axis::new(elements, 1)],
        }
    }

    /// Weights as `conv.wgsl` reads them.
    fn gather(&self, phase: &Phase) -> Gather {
        let weight = self.s.shape(1);
        let [window, width] = [weight[2] * weight[3], weight[3]];
        if !self.transposed {
            let length = self.channels * window;
            let [blocks, inner] = Axis::blocks(self.rows, self.tile.rows, length, 1);
            let groups = Axis::new(self.groups, self.rows * length);
            let depth = Axis::padded(length, self.depth(phase), 1);
            return Gather {
                offset: 0,
                axes: vec![groups, blocks, depth, inner],
            };
        }
        let line = self.rows * window;
        let [blocks, inner] = Axis::blocks(self.rows, self.tile.rows, window, 1);
        let [down, across] = &phase.taps;
        Gather {
            offset: down.first * width + across.first,
            axes: vec![
                Axis::new(self.groups, self.channels * line),
                blocks,
                Axis::padded(self.channels, self.padded_channels(phase), line),
                Axis::new(down.count(), down.step * width),
                Axis::new(across.count(), across.step),
                inner,
            ],
        }
    }

    /// For each depth its distance in the input, that of rows, and of columns.
    fn table(&self, phase: &Phase) -> Weights {
        const OUTSIDE: i32 = -0x4000_0000;
        let x = self.s.shape(0);
        let (plane, width) = ((x[2] * x[3]) as i32, x[3] as i32);
        let mut words: Vec<i32> = Vec::new();
        for channel in 0..self.channels as i32 {
            for dy in &phase.taps[0].distances {
                for dx in &phase.taps[1].distances {
                    words.extend([channel * plane + dy * width + dx, *dy, *dx, 0]);
                }
            }
        }
        while words.len() < 4 * self.depth(phase).max(1) {
            words.extend([0, OUTSIDE, 0, 0]);
        }
        Weights::table(words.into_iter().map(|w| w as u32).collect())
    }

    /// The launches of a phase: one, or one for as many rows as a binding holds
    /// the weights of.
    fn launches(&self, phase: &Phase, weights: Slot, finish: &Finish) -> Vec<Dispatch> {
        let row_blocks = self.rows.div_ceil(self.tile.rows);
        let block = (self.depth(phase) * self.tile.rows * self.tile_type().bytes()) as u64;
        let most = parts(self.profile, block);
        if self.groups > 1 || row_blocks <= most {
            return vec![self.launch(phase, weights, finish, 0..row_blocks)];
        }
        let firsts = (0..row_blocks).step_by(most);
        let launch = |first: usize| {
            let blocks = first..row_blocks.min(first + most);
            let bytes = blocks.start as u64 * block..blocks.end as u64 * block;
            self.launch(phase, part(weights.clone(), bytes), finish, blocks)
        };
        firsts.map(launch).collect()
    }

    /// The launch of some blocks of rows.
    fn launch(
        &self,
        phase: &Phase,
        weights: Slot,
        finish: &Finish,
        blocks: std::ops::Range<usize>,
    ) -> Dispatch {
        let s = self.s;
        let (x, out) = (s.shape(0), s.output());
        let columns = out[0] * phase.pixels();
        let row_blocks = blocks.len();
        let column_blocks = columns.div_ceil(self.tile.columns);
        let depth = self.depth(phase);
        let whole = phase.taps.iter().all(|t| t.distances == [0])
            && phase.in_step == [1, 1]
            && phase.positions == [x[2], x[3]];
        let vectors = whole && phase.pixels().is_multiple_of(4);
        let dispatch = multiplied("conv", self.profile, self.tile, self.tile_type())
            .choose("FETCH", if vectors { "vectors" } else { "pixels" })
            .choose("X", s.reads[0].wgsl())
            .choose("Y", s.writes[0].wgsl())
            .choose("WEIGHTS", access(&weights))
            .switch("BIAS", self.bias.is_some())
            .switch("FACTOR", self.factor.is_some())
            .params([
                self.rows,
                row_blocks,
                column_blocks,
                columns,
                phase.pixels(),
            ])
            .params([phase.positions[1], depth])
            .params([x[1], self.channels, x[2], x[3]])
            .params(phase.in_step)
            .params([out[1], out[2] * out[3], out[3]])
            .params(phase.out_step)
            .params([phase.offset(out[3]), blocks.start]);
        let mut dispatch = finish
            .bounds(finish.switches(dispatch))
            .bind(weights)
            .bind(Slot::Weights(self.table(phase)))
            .bind(Slot::optional(self.bias))
            .bind(Slot::optional(self.factor))
            .bind(Slot::Input(0));
        dispatch.slots.extend(finish.slots());
        dispatch.slots.push(finish.output());
        dispatch.groups = (row_blocks * column_blocks * self.groups) as u64;
        dispatch.rounds = self.tile.rounds(depth);
        dispatch.work =
            2 * (self.groups * blocks.len() * self.tile.rows * columns) as u64 * depth as u64;
        dispatch
    }
}
