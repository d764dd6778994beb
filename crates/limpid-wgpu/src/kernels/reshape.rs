use crate::kernel::{Dispatch, Kernel, Signature, Slot};
use crate::layout::{Stored, storage_bytes};
use limpid_device::DeviceError;

/// A copy, of words where the numbers stay as they are.
///
/// # Errors
/// When a size overflows.
pub(crate) fn reshape(s: &Signature<'_>) -> Result<Kernel, DeviceError> {
    let same = s.reads[0] == s.writes[0];
    let elements = match same {
        true => storage_bytes(s.inputs[0], s.reads[0])? / 4,
        false => s.output().elements()?,
    };
    let of = |stored: Stored| if same { "u32" } else { stored.wgsl() };
    let dispatch = Dispatch::new("reshape")
        .choose("X", of(s.reads[0]))
        .choose("Y", of(s.writes[0]))
        .params([elements])
        .bind(Slot::Input(0))
        .bind(Slot::Output(0))
        .each(elements);
    Ok(Kernel::new("copy", [dispatch]))
}
