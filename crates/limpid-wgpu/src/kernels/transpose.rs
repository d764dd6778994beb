use super::elementwise;
use crate::kernel::{Dispatch, Kernel, Profile, Signature, Slot};
use limpid_device::DeviceError;
use limpid_graph::ops::Transpose;

/// Rows and columns of a block.
const SIDE: usize = 32;

/// An axis: its extent and its distances in the input and the output.
#[derive(Clone, Copy)]
struct Axis {
    extent: usize,
    input: usize,
    output: usize,
}

fn strides(dims: &[usize]) -> Vec<usize> {
    let inner = |d: usize| dims[d + 1..].iter().product();
    (0..dims.len()).map(inner).collect()
}

/// Axes in another order: by blocks where other elements become neighbours,
/// else a copy of rows.
pub(crate) fn transpose(
    op: &Transpose,
    s: &Signature<'_>,
    profile: &Profile,
) -> Result<Kernel, DeviceError> {
    let (from, to) = (strides(s.shape(0)), strides(s.output()));
    let moved: Vec<usize> = op.perm.iter().map(|axis| from[*axis]).collect();
    // From the innermost output axis on, neighbours in both being one axis.
    let mut axes: Vec<Axis> = Vec::new();
    for (d, &extent) in s
        .output()
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, e)| **e != 1)
    {
        match axes.last_mut() {
            Some(inner) if moved[d] == inner.input * inner.extent => inner.extent *= extent,
            _ => axes.push(Axis {
                extent,
                input: moved[d],
                output: to[d],
            }),
        }
    }
    let neighbours = axes.iter().position(|a| a.input == 1);
    let (Some(from), true) = (neighbours.filter(|at| *at > 0), axes.len() <= 6) else {
        return elementwise::strided(s, moved);
    };
    let (from_axis, to_axis) = (axes[from], axes[0]);
    let none = Axis {
        extent: 1,
        input: 0,
        output: 0,
    };
    let others = axes.iter().enumerate();
    let others = others
        .filter(|(i, _)| *i != 0 && *i != from)
        .map(|(_, a)| *a);
    let others = others.chain(std::iter::repeat(none)).take(4);
    let blocks = [from_axis, to_axis].map(|a| a.extent.div_ceil(SIDE));
    let mut dispatch = Dispatch::new("transpose")
        .choose("X", s.reads[0].wgsl())
        .choose("Y", s.writes[0].wgsl())
        .constant("INVOCATIONS", profile.tuning.invocations as u32)
        .params([from_axis.extent, from_axis.output])
        .params([to_axis.extent, to_axis.input])
        .params(blocks)
        .params(others.clone().flat_map(|a| [a.extent, a.input, a.output]))
        .bind(Slot::Input(0))
        .bind(Slot::Output(0));
    let stack: usize = others.map(|a| a.extent).product();
    dispatch.groups = (blocks[0] * blocks[1] * stack) as u64;
    dispatch.work = s.output().iter().product::<usize>() as u64;
    Ok(Kernel::new("transpose", [dispatch]))
}
