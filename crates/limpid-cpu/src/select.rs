//! Which kernel serves which operator.

use crate::Isa;
use crate::assign::Assignment;
use crate::kernels::axis_filter::AxisFilterKernel;
use crate::kernels::concat::ConcatKernel;
use crate::kernels::conv::ConvKernel;
use crate::kernels::elementwise::{Elementwise, MaskMul, RangeMask};
use crate::kernels::fold::{RunningMoments, WeightedSum};
use crate::kernels::gemm::GemmKernel;
use crate::kernels::heat::Heat;
use crate::kernels::lines;
use crate::kernels::matmul::MatMulKernel;
use crate::kernels::max_pool::{MaxPoolGradientKernel, MaxPoolKernel};
use crate::kernels::noise::Noise;
use crate::kernels::rearrange::Rearrange;
use crate::kernels::reduce::{GlobalAveragePool, ReduceKernel};
use crate::kernels::separable::Separable;
use crate::kernels::{Kernel, batch_norm::BatchNorm};
use crate::layout::{Layout, Precision};
use limpid_device::DeviceError;
use limpid_graph::{Fact, Graph, Node, Op};
use limpid_tensor::{Shape, TensorError};

/// A node with the layouts of its operands and results.
pub(crate) struct Signature<'a> {
    pub(crate) op: &'a Op,
    pub(crate) inputs: Vec<&'a Fact>,
    pub(crate) outputs: Vec<&'a Fact>,
    /// The layouts of the inputs.
    pub(crate) read: Vec<Layout>,
    /// The layouts of the outputs.
    pub(crate) written: Vec<Layout>,
    /// Of what the inputs are made.
    pub(crate) reads: Vec<Precision>,
    /// Of what the outputs are made.
    pub(crate) writes: Vec<Precision>,
    graph: &'a Graph,
    node: &'a Node,
}

impl<'a> Signature<'a> {
    /// The node of this position.
    ///
    /// # Errors
    /// When a size overflows.
    pub(crate) fn new(
        graph: &'a Graph,
        assignment: &Assignment,
        node: usize,
    ) -> Result<Self, TensorError> {
        let classes = assignment.operands(node);
        let node = &graph.nodes()[node];
        let inputs: Vec<&Fact> = node.inputs.iter().map(|v| graph.fact(*v)).collect();
        let read = inputs.iter().zip(classes);
        let read = read.map(|(fact, class)| Layout::new(&fact.shape, *class));
        let written = node.outputs.iter();
        let written = written.map(|v| Layout::new(&graph.fact(*v).shape, assignment.value(*v)));
        let reads = inputs.iter().zip(classes);
        let writes = node.outputs.iter();
        Ok(Self {
            op: &node.op,
            read: read.collect::<Result<_, _>>()?,
            reads: reads.map(|(fact, class)| class.precision(fact)).collect(),
            writes: writes
                .map(|v| assignment.value(*v).precision(graph.fact(*v)))
                .collect(),
            inputs,
            graph,
            node,
            outputs: node.outputs.iter().map(|v| graph.fact(*v)).collect(),
            written: written.collect::<Result<_, _>>()?,
        })
    }

    /// The shape of an input.
    pub(crate) fn shape(&self, input: usize) -> &'a Shape {
        &self.inputs[input].shape
    }

    /// Whether anything reads an output, or it is one of the graph's.
    fn used(&self, output: usize) -> bool {
        let value = &self.node.outputs[output];
        let mut readers = self.graph.nodes().iter();
        self.graph.outputs().contains(value) || readers.any(|n| n.inputs.contains(value))
    }

    /// The shape of the first output.
    pub(crate) fn output(&self) -> &'a Shape {
        &self.outputs[0].shape
    }
}

/// The error of an operator that has no kernel.
pub(crate) fn unsupported(op: &Op, reason: String) -> DeviceError {
    DeviceError::Unsupported {
        device: "cpu",
        op: op.name(),
        reason,
    }
}

/// The kernel of a convolution or a transposed one.
///
/// # Errors
/// As [`select`].
pub(crate) fn convolution(s: &Signature<'_>, isa: Isa) -> Result<ConvKernel, DeviceError> {
    let vectors = isa.tile_vectors();
    let kernel = match s.op {
        Op::Conv(conv) => ConvKernel::conv(conv, s, vectors),
        Op::ConvTranspose(conv) => ConvKernel::transpose(conv, s, vectors),
        _ => None,
    };
    kernel.ok_or_else(|| unsupported(s.op, NO_IMAGES.into()))
}

/// Why an operator on images has no kernel.
const NO_IMAGES: &str = "its operands are no images";

/// The kernel of a node, on a device that multiplies such numbers.
///
/// # Errors
/// [`DeviceError::Unsupported`] where there is none.
pub(crate) fn select(
    s: &Signature<'_>,
    isa: Isa,
    precision: Precision,
) -> Result<Box<dyn Kernel>, DeviceError> {
    let no_layout = || unsupported(s.op, NO_IMAGES.into());
    let (x, vectors) = (s.shape(0), isa.tile_vectors());
    Ok(match s.op {
        Op::Conv(_) | Op::ConvTranspose(_) => Box::new(convolution(s, isa)?),
        Op::Gemm(gemm) => Box::new(GemmKernel::new(gemm, s, vectors, precision)),
        Op::MatMul(product) => Box::new(MatMulKernel::new(*product, s, vectors)),
        Op::Clip(clip) => Box::new(Elementwise::clip(clip, s)),
        Op::RangeMask(m) => Box::new(RangeMask::new(&m.clip, s)),
        Op::MaskMul(_) => Box::new(MaskMul {
            precisions: [s.reads[0], s.writes[0]],
        }),
        Op::AxisFilter(filter) => Box::new(AxisFilterKernel::new(filter, s).ok_or_else(no_layout)?),
        Op::Concat(concat) => Box::new(ConcatKernel::new(*concat, s).ok_or_else(no_layout)?),
        Op::Expand(_) => Box::new(Rearrange::stretch(s)),
        Op::Transpose(transpose) => Box::new(Rearrange::transpose(transpose, s)),
        Op::Reshape(_) | Op::Flatten(_) => Box::new(Rearrange::reshape(s)),
        Op::Relayout(_) => Box::new(Rearrange::relayout(s)),
        Op::Softmax(softmax) if softmax.axis + 1 == x.len() => Box::new(lines::Softmax::new(x)),
        Op::SoftmaxGradient(_) => Box::new(lines::SoftmaxGradient::new(x)),
        Op::Normalize(op) => Box::new(lines::Normalize::new(x, op.epsilon)),
        Op::NormalizeGradient(_) => Box::new(lines::NormalizeGradient::new(x)),
        Op::ReduceSum(op) => Box::new(ReduceKernel::sum(&op.axes, s)),
        Op::ReduceMax(op) => Box::new(ReduceKernel::max(&op.axes, s)),
        Op::MaxPool(pool) => {
            let bytes = pool.store_argmax;
            Box::new(MaxPoolKernel::new(*pool, s, true, bytes).ok_or_else(no_layout)?)
        }
        Op::MaxPoolArgmax(op) => {
            Box::new(MaxPoolKernel::new(op.pool, s, false, true).ok_or_else(no_layout)?)
        }
        Op::MaxPoolGradient(op) => {
            Box::new(MaxPoolGradientKernel::new(*op, s).ok_or_else(no_layout)?)
        }
        Op::BatchNormalization(op) => Box::new(BatchNorm {
            op: *op,
            layout: planes(x, s.read[0]),
            channels: x[1],
        }),
        Op::GlobalAveragePool(_) => Box::new(GlobalAveragePool {
            layout: planes(x, s.read[0]),
            reads: s.reads[0],
        }),
        Op::GaussianNoise(noise) => Box::new(Noise {
            input: s.read[0],
            output: s.written[0],
            stream: noise.stream,
        }),
        Op::HeatKernel(_) => Box::new(Heat::new(s.read[0], s.written[0], [x[2], x[3]], s.used(1))),
        Op::SeparableFilter(filter) => Box::new(Separable {
            input: s.read[0],
            output: s.written[0],
            extents: [x[2], x[3]],
            transpose: filter.transpose,
        }),
        Op::WeightedSum(_) => Box::new(WeightedSum {
            size: s.read[0].image(),
            rows: s.shape(1)[0],
            terms: s.shape(1)[1],
            b: s.inputs.get(3).map(|b| b.shape[0] == s.shape(1)[1]),
        }),
        Op::RunningMoments(_) => Box::new(RunningMoments {
            size: s.read[0].image(),
            samples: s.shape(3)[0],
        }),
        op => match op.formula(s.inputs.len()) {
            Some(formula) => Box::new(Elementwise::new(formula, s)),
            None => return Err(unsupported(op, "it is not built".into())),
        },
    })
}

/// The layout of `[N, C, ...]` with every channel a plane.
fn planes(shape: &Shape, layout: Layout) -> Layout {
    match (layout, &shape[..]) {
        (Layout::Flat(_), [n, c, rest @ ..]) => Layout::Planar([*n, *c, rest.iter().product(), 1]),
        _ => layout,
    }
}
