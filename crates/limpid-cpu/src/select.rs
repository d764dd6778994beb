//! Which kernel serves which operator.

use crate::Isa;
use crate::kernels::conv::ConvKernel;
use crate::kernels::elementwise::{Elementwise, Function, MaskMul, RangeMask};
use crate::kernels::fold::{RunningMoments, WeightedSum};
use crate::kernels::gemm::GemmKernel;
use crate::kernels::heat::Heat;
use crate::kernels::noise::Noise;
use crate::kernels::reduce::{GlobalAveragePool, ReduceSum};
use crate::kernels::reshape::Reshape;
use crate::kernels::separable::Separable;
use crate::kernels::{Kernel, batch_norm::BatchNorm};
use crate::layout::Layout;
use limpid_device::DeviceError;
use limpid_graph::{Fact, Op, reference::broadcast_strides};
use limpid_tensor::Shape;

/// The kernel of an operator on inputs of these types and shapes.
///
/// # Errors
/// [`DeviceError::Unsupported`] where there is none.
pub(crate) fn select(op: &Op, inputs: &[&Fact], isa: Isa) -> Result<Box<dyn Kernel>, DeviceError> {
    let unsupported = |reason: String| DeviceError::Unsupported {
        device: "cpu",
        op: op.name(),
        reason,
    };
    let outputs = op.infer(inputs).map_err(|e| unsupported(e.to_string()))?;
    let (x, out) = (&inputs[0].shape, &outputs[0].shape);
    let layout = |shape: &Shape| Layout::of(shape);
    let shapes: Vec<&Shape> = inputs.iter().map(|f| &f.shape).collect();
    let elementwise =
        |name, function, operands: &[&Shape]| -> Result<Box<dyn Kernel>, DeviceError> {
            Ok(Box::new(Elementwise::new(name, function, operands, out)?))
        };
    let no_layout = || unsupported("its operands are no images".into());
    let window = |own: usize| -> Result<_, DeviceError> {
        let layouts = [layout(x)?, layout(shapes[1])?, layout(out)?];
        Ok(([x, shapes[1]], layouts, own == 3))
    };
    let vectors = isa.tile_vectors();
    Ok(match op {
        Op::Conv(conv) => {
            let (shapes, layouts, bias) =
                window(inputs.len() - conv.epilogue.inputs() - usize::from(conv.scaled))?;
            let kernel = ConvKernel::conv(conv, shapes, layouts, bias, vectors);
            Box::new(kernel.ok_or_else(no_layout)?)
        }
        Op::ConvTranspose(conv) => {
            let (shapes, layouts, bias) =
                window(inputs.len() - conv.epilogue.inputs() - usize::from(conv.scaled))?;
            let kernel = ConvKernel::transpose(conv, shapes, layouts, bias, vectors);
            Box::new(kernel.ok_or_else(no_layout)?)
        }
        Op::Gemm(gemm) => {
            let bias = inputs.len() - gemm.epilogue.inputs() == 3;
            let dims = [out[0], x[1], out[1]];
            Box::new(GemmKernel::new(
                gemm,
                dims,
                layout(shapes[1])?,
                bias,
                vectors,
            ))
        }
        Op::Add(_) => elementwise("add", Function::Add, &shapes)?,
        Op::Sub(_) => elementwise("subtract", Function::Sub, &shapes)?,
        Op::Mul(_) => elementwise("multiply", Function::Mul, &shapes)?,
        Op::Clip(c) => elementwise("clip", Function::Clip(c.lower(), c.upper()), &shapes)?,
        Op::Softplus(_) => elementwise("softplus", Function::Softplus, &shapes)?,
        Op::Sigmoid(_) => elementwise("sigmoid", Function::Sigmoid, &shapes)?,
        Op::Expand(_) => elementwise("stretch", Function::Copy, &shapes)?,
        Op::RangeMask(m) => Box::new(RangeMask(m.clip.lower(), m.clip.upper())),
        Op::MaskMul(_) => Box::new(MaskMul),
        Op::BatchNormalization(op) => Box::new(BatchNorm {
            op: *op,
            layout: layout(x)?,
            channels: x[1],
        }),
        Op::GlobalAveragePool(_) => Box::new(GlobalAveragePool(layout(x)?)),
        Op::ReduceSum(_) => Box::new(ReduceSum {
            input: layout(x)?,
            output: layout(out)?,
            shape: x.to_vec(),
            strides: broadcast_strides(out, x),
        }),
        Op::Reshape(_) | Op::Flatten(_) => Box::new(Reshape {
            input: layout(x)?,
            output: layout(out)?,
        }),
        Op::GaussianNoise(noise) => Box::new(Noise {
            input: layout(x)?,
            output: layout(out)?,
            stream: noise.stream,
        }),
        Op::HeatKernel(_) => Box::new(Heat::new(layout(x)?, layout(out)?, [x[2], x[3]])),
        Op::SeparableFilter(filter) => Box::new(Separable {
            input: layout(x)?,
            output: layout(out)?,
            extents: [x[2], x[3]],
            transpose: filter.transpose,
        }),
        Op::WeightedSum(_) => Box::new(WeightedSum {
            size: layout(x)?.image(),
            terms: shapes[1][0],
            b: shapes.get(3).map(|b| b[0] == shapes[1][0]),
        }),
        Op::RunningMoments(_) => Box::new(RunningMoments {
            size: layout(x)?.image(),
            samples: shapes[3][0],
        }),
        _ => return Err(unsupported("it is not built".into())),
    })
}
