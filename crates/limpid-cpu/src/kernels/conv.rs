//! The operators that are windows over images.

use super::depthwise::Depthwise;
use super::scatter::Scatter;
use super::strided::Strided;
use super::whole::Whole;
use super::window::{Band, Destination, Offset, Reach, Source, Terms, View, Window};
use super::winograd::{self, Winograd};
use super::{Context, Kernel, finish, in_precisions, scratch};
use crate::arch::number::Number;
use crate::arch::store::Finish;
use crate::device::Caches;
use crate::layout::{Layout, Precision};
use crate::operands::Operands;
use crate::pack::PackSpec;
use crate::select::Signature;
use crate::simd::LANES;
use limpid_device::DeviceError;
use limpid_graph::Constant;
use limpid_graph::ops::{Conv, ConvTranspose, Epilogue};
use limpid_tensor::{AlignedBuffer, TensorError};
use std::sync::Arc;

/// A convolution, or a transposed one.
pub(crate) struct ConvKernel {
    sums: Sums,
    source: Source,
    destination: Destination,
    weight: Layout,
    epilogue: Epilogue,
    has_bias: bool,
    scaled: bool,
    planar: bool,
    transposed: bool,
    /// Of what the input and the output are made.
    precisions: [Precision; 2],
    /// Of what a value that is added is made.
    added: Precision,
    pack: Option<Arc<AlignedBuffer>>,
    name: &'static str,
}

/// How the sums are computed.
enum Sums {
    /// Product by product.
    Direct(Window),
    /// Each channel by itself.
    Depthwise(Depthwise),
    /// With fewer products.
    Winograd(Winograd),
    /// All phases at once, into a picture.
    Scatter(Scatter),
    /// As one matrix product.
    Whole(Whole),
    /// Of the pixels that a stride leaves.
    Strided(Strided),
}

impl Sums {
    /// By the shape without the batch: the two differ in their rounding.
    fn new(
        (source, destination, spec): (Source, Destination, PackSpec),
        phases: Vec<([usize; 2], Vec<Offset>)>,
        steps: [[usize; 2]; 2],
        per_channel: bool,
    ) -> Self {
        let d = &destination;
        let dense = spec.groups == 1 && source.position == LANES && d.position == LANES;
        if let ([(_, taps)], true, true) = (&phases[..], dense, steps == [[1, 1]; 2]) {
            let size = winograd::tile_size(spec.inputs, spec.outputs, d.height, d.width);
            let origin = winograd::origin(taps, spec.transposed);
            // The sums at points are floats, where bf16 would lose four times as
            // much. So the smaller tile is no faster than direct sums of bf16.
            let size = size.filter(|size| spec.precision == Precision::F32 || *size == 4);
            if let (Some(size), Some(origin)) = (size, origin) {
                let spec = PackSpec {
                    precision: Precision::F32,
                    ..spec
                };
                return Self::Winograd(Winograd::new(source, destination, origin, size, spec));
            }
        }
        if !per_channel && let Some(whole) = Whole::new(&source, d, spec, &phases) {
            return Self::Whole(whole);
        }
        let spread_plain = !(spec.transposed && per_channel);
        if spread_plain && let Some(s) = Strided::new(source, d, spec, &phases, steps) {
            return Self::Strided(s);
        }
        let [in_step, out_step] = steps;
        if spec.depthwise {
            return Self::Depthwise(Depthwise::new(
                source,
                destination,
                in_step,
                out_step,
                phases,
                spec,
            ));
        }
        let strided = out_step != [1, 1] && spec.groups == 1;
        if strided && source.position == LANES && d.position == 1 {
            return Self::Scatter(Scatter::new(source, d, spec, &phases, out_step));
        }
        Self::Direct(Window::new(
            source,
            destination,
            in_step,
            out_step,
            phases,
            spec,
        ))
    }

    /// How the weights are packed.
    fn spec(&self) -> PackSpec {
        match self {
            Self::Direct(window) => window.spec(),
            Self::Depthwise(depthwise) => depthwise.spec(),
            Self::Winograd(winograd) => winograd.spec(),
            Self::Scatter(scatter) => scatter.spec(),
            Self::Whole(whole) => whole.spec(),
            Self::Strided(strided) => strided.spec(),
        }
    }

    /// Packs weights given in C order, their rows times `factors`.
    fn pack(
        &self,
        weights: &mut [f32],
        factors: Option<&[f32]>,
    ) -> Result<AlignedBuffer, TensorError> {
        let spec = self.spec();
        if let Some(factors) = factors {
            spec.scale(weights, factors);
        }
        match self {
            Self::Scatter(scatter) => spec.pack(&scatter.weights(weights)),
            _ => spec.pack(weights),
        }
    }

    fn name(&self) -> &'static str {
        let spec = self.spec();
        let [name, half] = match self {
            Self::Winograd(_) if spec.winograd == 2 => ["winograd 2x2"; 2],
            Self::Winograd(_) => ["winograd 4x4"; 2],
            Self::Depthwise(_) => ["depthwise"; 2],
            Self::Scatter(_) => ["scattered taps", "scattered taps bf16"],
            Self::Whole(_) => ["whole images", "whole images bf16"],
            Self::Strided(_) => ["strided pixels", "strided pixels bf16"],
            Self::Direct(_) if spec.groups > 1 => ["grouped taps", "grouped taps bf16"],
            Self::Direct(window) if window.is_pointwise() => ["pointwise", "pointwise bf16"],
            Self::Direct(_) => ["taps", "taps bf16"],
        };
        match spec.precision {
            Precision::F32 => name,
            Precision::Bf16 => half,
        }
    }
}

fn source(layout: Layout) -> Option<(Source, usize)> {
    let (dims, position, depth) = match layout {
        Layout::Blocked(dims) => (dims, LANES, 1),
        Layout::Planar(dims) => (dims, 1, dims[2] * dims[3]),
        Layout::Flat(_) => return None,
    };
    let source = Source {
        height: dims[2],
        width: dims[3],
        image: layout.image(),
        block: layout.plane(),
        depth,
        position,
    };
    Some((source, dims[1]))
}

fn destination(layout: Layout) -> Option<(Destination, usize)> {
    let ([images, channels, height, width], position) = match layout {
        Layout::Blocked(dims) => (dims, LANES),
        Layout::Planar(dims) => (dims, 1),
        Layout::Flat(_) => return None,
    };
    let planes = if position == 1 {
        channels
    } else {
        channels.div_ceil(LANES)
    };
    let destination = Destination {
        images,
        planes,
        height,
        width,
        position,
    };
    Some((destination, channels))
}

/// The distances of a convolution's shapes, with a pack made for them.
fn geometry(
    s: &Signature<'_>,
    transposed: bool,
    groups: usize,
    vectors: usize,
) -> Option<(Source, Destination, PackSpec)> {
    let (source, inputs) = source(s.read[0])?;
    let (destination, outputs) = destination(s.written[0])?;
    let blocked = source.position == LANES && destination.position == LANES;
    let depthwise = groups > 1 && groups == inputs && groups == outputs && blocked;
    let spec = PackSpec {
        transposed,
        outputs,
        inputs,
        groups,
        taps: s.shape(1)[2] * s.shape(1)[3],
        vectors,
        depthwise,
        winograd: 0,
        spread: false,
        precision: if depthwise {
            Precision::F32
        } else {
            s.reads[0]
        },
    };
    Some((source, destination, spec))
}

impl ConvKernel {
    /// The kernel of a convolution; `None` where the layouts have none.
    pub(crate) fn conv(op: &Conv, s: &Signature<'_>, vectors: usize) -> Option<Self> {
        let geometry = geometry(s, false, op.groups, vectors)?;
        let phases = conv_phases(op, s.shape(0), s.shape(1));
        let steps = [op.strides, [1, 1]];
        Some(Self::new(
            s,
            geometry,
            &op.epilogue,
            op.scaled,
            phases,
            steps,
        ))
    }

    /// The kernel of a transposed convolution; `None` where the layouts have none.
    pub(crate) fn transpose(op: &ConvTranspose, s: &Signature<'_>, vectors: usize) -> Option<Self> {
        let geometry = geometry(s, true, op.groups, vectors)?;
        let (weight, destination) = (s.shape(1), &geometry.1);
        let output = [destination.height, destination.width];
        let phases = transpose_phases(op, [weight[2], weight[3]], output);
        let steps = [[1, 1], op.strides];
        Some(Self::new(
            s,
            geometry,
            &op.epilogue,
            op.scaled,
            phases,
            steps,
        ))
    }

    fn new(
        s: &Signature<'_>,
        geometry: (Source, Destination, PackSpec),
        epilogue: &Epilogue,
        scaled: bool,
        phases: Vec<([usize; 2], Vec<Offset>)>,
        steps: [[usize; 2]; 2],
    ) -> Self {
        let (planar, transposed) = (geometry.1.position == 1, geometry.2.transposed);
        let own = s.inputs.len() - epilogue.inputs();
        let has_bias = own - usize::from(scaled) == 3;
        // What a matrix product cannot do for each channel at its store.
        let per_channel = if transposed { has_bias } else { scaled };
        let (source, destination) = (geometry.0, geometry.1);
        let sums = Sums::new(geometry, phases, steps, per_channel);
        Self {
            source,
            destination,
            name: sums.name(),
            planar,
            transposed,
            sums,
            weight: s.read[1],
            epilogue: *epilogue,
            has_bias,
            scaled,
            precisions: [s.reads[0], s.writes[0]],
            added: s.reads.get(own).copied().unwrap_or_default(),
            pack: None,
        }
    }
}

/// The taps of a convolution: one phase.
fn conv_phases(
    op: &Conv,
    x: &limpid_tensor::Shape,
    weight: &limpid_tensor::Shape,
) -> Vec<([usize; 2], Vec<Offset>)> {
    let pads = op.pads(x, weight);
    let taps = (0..weight[2] * weight[3]).map(|index| {
        let (ky, kx) = (index / weight[3], index % weight[3]);
        Offset {
            dy: (ky * op.dilations[0]) as isize - pads[0] as isize,
            dx: (kx * op.dilations[1]) as isize - pads[1] as isize,
            index,
        }
    });
    vec![([0, 0], taps.collect())]
}

/// The taps of each phase of a transposed convolution: input row y reaches
/// output row y * stride + k * dilation - pad.
fn transpose_phases(
    op: &ConvTranspose,
    kernel: [usize; 2],
    output: [usize; 2],
) -> Vec<([usize; 2], Vec<Offset>)> {
    let axis = |axis: usize| -> Vec<(usize, Vec<(isize, usize)>)> {
        let stride = op.strides[axis] as isize;
        let phases = op.strides[axis].min(output[axis]);
        let reach = |phase: usize, k: usize| {
            let at = (phase + op.pads[axis]) as isize - (k * op.dilations[axis]) as isize;
            (at.rem_euclid(stride) == 0).then(|| (at.div_euclid(stride), k))
        };
        let taps = |phase| (0..kernel[axis]).filter_map(|k| reach(phase, k)).collect();
        (0..phases).map(|phase| (phase, taps(phase))).collect()
    };
    let (rows, columns) = (axis(0), axis(1));
    let mut phases = Vec::with_capacity(rows.len() * columns.len());
    for (py, ys) in &rows {
        for (px, xs) in &columns {
            let pairs = ys.iter().flat_map(|y| xs.iter().map(move |x| (y, x)));
            let tap = |((dy, ky), (dx, kx)): (&(isize, usize), &(isize, usize))| Offset {
                dy: *dy,
                dx: *dx,
                index: ky * kernel[1] + kx,
            };
            phases.push(([*py, *px], pairs.map(tap).collect()));
        }
    }
    phases
}

impl ConvKernel {
    fn scale_input(&self) -> usize {
        2 + usize::from(self.has_bias)
    }

    /// Packs weights that are known only now.
    fn pack_operand(
        &self,
        storage: &[f32],
        factors: Option<&[f32]>,
    ) -> Result<AlignedBuffer, DeviceError> {
        let elements = self.weight.images() * self.weight.image_elements();
        let mut weights = scratch::<f32>(elements)?;
        let weights = weights.as_mut_slice();
        self.weight.store_c(storage, weights);
        Ok(self.sums.pack(weights, factors)?)
    }

    /// The input whose factors are multiplied into the packed weights: a
    /// transposed convolution scales its input, which its weights can do as
    /// well. (It is linear: their rounding moves no kink.)
    fn packed_scale(&self) -> Option<usize> {
        (self.scaled && self.transposed).then(|| self.scale_input())
    }
}

/// What a chain of convolutions asks of each.
impl ConvKernel {
    /// The layout of the outputs: planes of an image, rows, and floats of a row.
    pub(super) fn planes(&self) -> [usize; 3] {
        let d = &self.destination;
        [d.planes, d.height, d.width * d.position]
    }

    /// The images of a batch.
    pub(super) fn images(&self) -> usize {
        self.destination.images
    }

    /// How rows of outputs depend on rows of inputs.
    pub(super) fn reach(&self) -> Option<Reach> {
        match &self.sums {
            Sums::Direct(window) if !self.planar => Some(window.reach()),
            Sums::Depthwise(depthwise) => Some(depthwise.reach()),
            _ => None,
        }
    }

    /// An image of the input.
    pub(super) fn view<'a>(&self, input: &'a [f32], image: usize) -> View<'a, f32> {
        View {
            data: &input[image * self.source.image..],
            first: 0,
            block: self.source.block,
        }
    }

    /// The operands but the first, where the weights were known beforehand.
    pub(super) fn bound_terms<'a>(
        &'a self,
        io: &Operands<'a>,
        cx: Context<'_>,
    ) -> Option<Terms<'a, f32>> {
        let pack = self.pack.as_ref()?;
        Some(self.terms(pack.as_slice(), io, cx))
    }

    /// Computes some rows of an image.
    pub(super) fn band(&self, view: View<'_, f32>, band: Band<'_, '_, f32>, terms: Terms<'_, f32>) {
        match &self.sums {
            Sums::Direct(window) => window.band(view, band, terms),
            Sums::Depthwise(depthwise) => depthwise.band(view, band, terms),
            _ => unreachable!("{} has no rows", self.name),
        }
    }

    fn terms<'a, W>(&self, weights: &'a [W], io: &Operands<'a>, cx: Context<'_>) -> Terms<'a, W> {
        let scaled = self.scaled && self.packed_scale().is_none();
        Terms {
            weights,
            bias: self.has_bias.then(|| io.input(2)),
            scale: scaled.then(|| io.input(self.scale_input())),
            finish: finish::of(&self.epilogue, io, self.added),
            backend: cx.backend,
        }
    }
}

impl Kernel for ConvKernel {
    fn name(&self) -> &'static str {
        self.name
    }

    fn bind(
        &mut self,
        constants: &[Option<&Constant>],
        caches: &Caches,
    ) -> Result<Vec<usize>, DeviceError> {
        let scale = self.packed_scale();
        let (Some(weight), Some(factors)) = (
            constants[1],
            scale.map_or(Some(None), |i| constants[i].map(Some)),
        ) else {
            return Ok(Vec::new());
        };
        self.pack = Some(match &self.sums {
            sums @ Sums::Scatter(_) => {
                let factors = factors.map(Constant::load).transpose()?;
                let factors = factors.as_ref().map(|f| f.data());
                let mut weights = weight.load()?;
                Arc::new(sums.pack(weights.to_mut().data_mut(), factors)?)
            }
            sums => caches.packs.get(weight, factors, sums.spec())?,
        });
        Ok([1].into_iter().chain(scale).collect())
    }

    fn workspace(&self, threads: usize) -> usize {
        match &self.sums {
            Sums::Winograd(winograd) => winograd.workspace(threads),
            Sums::Scatter(scatter) => scatter.workspace(),
            Sums::Strided(strided) => strided.workspace(),
            Sums::Direct(_) | Sums::Depthwise(_) | Sums::Whole(_) => 0,
        }
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let here;
        let pack = match &self.pack {
            Some(pack) => pack,
            None => {
                let factors = self.packed_scale().map(|i| io.input(i));
                here = self.pack_operand(io.input(1), factors)?;
                &here
            }
        };
        in_precisions!(self.precisions, self.compute(pack, io, cx))
    }
}

impl ConvKernel {
    /// Computes what is made of `O` from what is made of `T`.
    fn compute<T: Number, O: Number>(
        &self,
        pack: &AlignedBuffer,
        io: &mut Operands<'_>,
        cx: Context<'_>,
    ) -> Result<(), DeviceError> {
        let terms = self.terms(pack.as_slice::<T>(), io, cx);
        let (input, finish, bias) = (io.input::<T>(0), terms.finish, terms.bias);
        let affine = [bias, terms.scale];
        let workspace = std::mem::take(&mut io.workspace);
        match &self.sums {
            Sums::Scatter(s) => {
                let (out, masks) = io.outputs();
                s.run(input, pack.as_slice(), bias, out, workspace, cx);
                finish::apply(finish, out, masks, cx);
            }
            Sums::Depthwise(d) => {
                let (out, masks) = io.outputs::<O, _>();
                d.run(input, pack.as_slice(), affine, out, masks, finish, cx);
            }
            Sums::Whole(w) => {
                let (out, masks) = io.outputs::<O, _>();
                w.run(input, pack.as_slice(), bias, out, masks, finish, cx)?;
            }
            Sums::Strided(s) => {
                let (weights, (out, masks)) = (pack.as_slice(), io.outputs::<O, _>());
                s.run(input, weights, affine, out, masks, finish, workspace, cx);
            }
            Sums::Winograd(w) => {
                let (weights, (out, masks)) = (pack.as_slice(), io.outputs::<O, _>());
                w.run(input, weights, affine, out, masks, finish, workspace, cx);
            }
            Sums::Direct(w) if self.planar && !finish::is_none(&finish) => {
                let (out, masks) = io.outputs::<f32, _>();
                let (weights, none) = (pack.as_slice(), Finish::default());
                w.run(input, weights, affine, out, &mut [], none, cx);
                finish::apply(finish, out, masks, cx);
            }
            Sums::Direct(w) => {
                let (out, masks) = io.outputs::<O, _>();
                w.run(input, pack.as_slice(), affine, out, masks, finish, cx);
            }
        }
        Ok(())
    }
}
