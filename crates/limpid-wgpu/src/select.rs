//! Which kernel serves which operator.

use crate::kernel::{Kernel, Profile, Signature};
use crate::kernels::{conv, gemm, mask, mat_mul};
use limpid_device::DeviceError;
use limpid_graph::Op;

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
    Ok(match s.op {
        Op::Conv(op) => conv::conv(op, s, profile),
        Op::ConvTranspose(op) => conv::transpose(op, s, profile),
        Op::Gemm(op) => gemm::gemm(op, s, profile),
        Op::MatMul(op) => mat_mul::mat_mul(*op, s, profile),
        Op::RangeMask(op) => mask::range_mask(s, op.clip),
        Op::MaskMul(_) => mask::mask_mul(s),
        op => return Err(unsupported(op, "it is not built".into())),
    })
}
