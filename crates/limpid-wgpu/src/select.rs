//! Which kernel serves which operator.

use crate::kernel::{Dispatch, Kernel, Profile, Signature};
use crate::kernels::{attention, axis_filter, concat, gaussian_noise, sums};
use crate::kernels::{conv, elementwise, gemm, heat_kernel, mask, mat_mul, max_pool};
use crate::kernels::{reduce, reshape, separable_filter, transpose};
use limpid_device::DeviceError;
use limpid_graph::{Expr, Formula, Op};

/// The error of an operator that has no kernel.
pub(crate) fn unsupported(op: &Op, reason: String) -> DeviceError {
    DeviceError::Unsupported {
        device: "wgpu",
        op: op.name(),
        reason,
    }
}

/// The kernel of a node.
///
/// # Errors
/// [`DeviceError::Unsupported`] where there is none.
pub(crate) fn select(s: &Signature<'_>, profile: &Profile) -> Result<Kernel, DeviceError> {
    let mut kernel = chosen(s, profile)?;
    if kernel.dispatches.iter().any(|d| d.rounds >= profile.rounds) {
        let reason = "its sums are longer than this adapter's driver lets a loop run";
        return Err(unsupported(s.op, reason.to_owned()));
    }
    let dispatches = kernel.dispatches.into_iter();
    let cut = |d: Dispatch| d.in_groups_of(profile.tuning.invocations);
    kernel.dispatches = dispatches.map(cut).collect();
    Ok(kernel)
}

fn chosen(s: &Signature<'_>, profile: &Profile) -> Result<Kernel, DeviceError> {
    Ok(match s.op {
        Op::Conv(op) => conv::conv(op, s, profile),
        Op::ConvTranspose(op) => conv::transpose(op, s, profile),
        Op::Gemm(op) => gemm::gemm(op, s, profile),
        Op::MatMul(op) => mat_mul::mat_mul(*op, s, profile),
        Op::Attention(op) => attention::attention(*op, s, profile)?,
        Op::RangeMask(op) => mask::range_mask(s, op.clip),
        Op::MaskMul(_) => mask::mask_mul(s),
        Op::Softmax(op) if op.axis + 1 == s.shape(0).len() => reduce::softmax(s, profile),
        Op::SoftmaxGradient(_) => reduce::softmax_gradient(s, profile),
        Op::Normalize(op) => reduce::normalize(op, s, profile),
        Op::NormalizeGradient(_) => reduce::normalize_gradient(s, profile),
        Op::ReduceSum(op) => reduce::sum(&op.axes, s, profile),
        Op::ReduceMax(op) => reduce::largest(&op.axes, s, profile),
        Op::GlobalAveragePool(_) => reduce::global_average_pool(s, profile),
        Op::MaxPool(op) => max_pool::max_pool(op, s, true, op.store_argmax),
        Op::MaxPoolArgmax(op) => max_pool::max_pool(&op.pool, s, false, true),
        Op::MaxPoolGradient(op) => max_pool::gradient(op, s),
        Op::HeatKernel(_) => heat_kernel::heat_kernel(s, profile)?,
        Op::SeparableFilter(op) => separable_filter::separable_filter(op, s, profile),
        Op::Clip(op) => elementwise::clip(s, op)?,
        Op::BatchNormalization(op) => elementwise::batch_normalization(s, *op)?,
        Op::Reshape(_) | Op::Flatten(_) | Op::Relayout(_) => reshape::reshape(s)?,
        Op::Expand(_) => elementwise::elementwise(s, &Formula::new(&Expr::input(0)))?,
        Op::AxisFilter(op) => axis_filter::axis_filter(op, s),
        Op::Concat(op) => concat::concat(*op, s)?,
        Op::GaussianNoise(op) => gaussian_noise::gaussian_noise(*op, s),
        Op::WeightedSum(_) => sums::weighted_sum(s),
        Op::RunningMoments(_) => sums::running_moments(s),
        Op::Transpose(op) => transpose::transpose(op, s, profile)?,
        op => match op.formula(s.inputs.len()) {
            Some(formula) => elementwise::elementwise(s, &formula)?,
            None => return Err(unsupported(op, "it is not built".into())),
        },
    })
}
