use super::elementwise::merged;
use crate::kernel::{Dispatch, Kernel, Signature, Slot};
use crate::select::unsupported;
use limpid_device::DeviceError;
use limpid_graph::ops::Concat;
use limpid_graph::reference::broadcast_strides;

/// The axes that the kernel knows.
const AXES: usize = 6;

/// Values behind each other along one axis: a launch for each.
pub(crate) fn concat(op: Concat, s: &Signature<'_>) -> Result<Kernel, DeviceError> {
    let length = |dims: &[usize]| dims[op.axis..].iter().product::<usize>();
    let whole = length(s.output());
    let mut offset = 0;
    let mut dispatches = Vec::new();
    for (i, fact) in s.inputs.iter().enumerate() {
        // The part of the output that it fills.
        let mut dims = s.output().to_vec();
        dims[op.axis] = fact.shape[op.axis];
        let strides = broadcast_strides(&fact.shape, &dims[..].into());
        let axes = merged(&dims, &[strides]);
        if axes.len() > AXES {
            return Err(unsupported(
                s.op,
                format!("at most {AXES} axes can be stretched"),
            ));
        }
        let (own, elements) = (length(&dims), dims.iter().product());
        let mut dispatch = Dispatch::new("concat")
            .choose("X", s.reads[i].wgsl())
            .choose("Y", s.writes[0].wgsl())
            .params([elements, own, whole, offset])
            // Vectors begin at a multiple of their size.
            .params([0, 0]);
        for r in 0..AXES {
            let (extent, stride) = axes.get(r).map_or((1, 0), |a| (a.extent, a.strides[0]));
            dispatch = dispatch.params([extent, stride, 0, 0]);
        }
        let dispatch = dispatch.bind(Slot::Input(i)).bind(Slot::Output(0));
        dispatches.push(dispatch.each(elements));
        offset += own;
    }
    Ok(Kernel::new("concatenation", dispatches))
}
