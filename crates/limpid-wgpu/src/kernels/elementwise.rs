//! Functions of broadcast operands, and what only copies.

use super::formula;
use crate::kernel::{Dispatch, Kernel, Signature, Slot};
use crate::select::unsupported;
use limpid_device::DeviceError;
use limpid_graph::ops::{BatchNormalization, Clip};
use limpid_graph::reference::broadcast_strides;
use limpid_graph::{Expr, Formula};

/// The operands and axes that the kernel knows.
const OPERANDS: usize = 7;
const AXES: usize = 6;

/// An axis of the output: its extent and each operand's distance.
pub(super) struct Axis {
    pub(super) extent: usize,
    pub(super) strides: Vec<usize>,
}

/// The axes of an output with these extents, of which each operand has a
/// distance for each, as few as do; from the innermost on.
pub(super) fn merged(dims: &[usize], operands: &[Vec<usize>]) -> Vec<Axis> {
    let mut axes: Vec<Axis> = Vec::new();
    for (d, &extent) in dims.iter().enumerate().rev().filter(|(_, e)| **e != 1) {
        let strides: Vec<usize> = operands.iter().map(|o| o[d]).collect();
        match axes.last_mut() {
            Some(inner)
                if strides
                    .iter()
                    .zip(&inner.strides)
                    .all(|(outer, stride)| *outer == stride * inner.extent) =>
            {
                inner.extent *= extent;
            }
            _ => axes.push(Axis { extent, strides }),
        }
    }
    if axes.is_empty() {
        let strides = vec![0; operands.len()];
        axes.push(Axis { extent: 1, strides });
    }
    axes
}

/// The launch of a function, whose operands have these distances along the
/// output's axes. `None` where there are more operands or axes than it knows.
fn launch(s: &Signature<'_>, formula: &Formula, strides: &[Vec<usize>]) -> Option<Dispatch> {
    let axes = merged(s.output(), strides);
    if axes.len() > AXES || strides.len() > OPERANDS {
        return None;
    }
    let elements = s.output().iter().product();
    let mut dispatch = Dispatch::new("elementwise")
        .choose("Y", s.writes[0].wgsl())
        .choose("RANK", axes.len())
        .choose("FORMULA", formula::wgsl(formula, strides.len()))
        .params([elements, 0]);
    for (i, stored) in s.reads.iter().enumerate() {
        dispatch = dispatch.choose(&format!("X{i}"), stored.wgsl());
    }
    for axis in &axes {
        let distance = |i: usize| axis.strides.get(i).copied().unwrap_or(0);
        dispatch = dispatch
            .params([axis.extent])
            .params((0..OPERANDS).map(distance));
    }
    for i in 0..OPERANDS {
        let there = i < strides.len();
        dispatch = dispatch.bind(Slot::optional(there.then_some(i)));
    }
    let mut dispatch = dispatch.bind(Slot::Output(0)).each(elements);
    dispatch.work *= formula.steps().len() as u64;
    Some(dispatch)
}

fn kernel(
    s: &Signature<'_>,
    name: &'static str,
    formula: &Formula,
    strides: &[Vec<usize>],
) -> Result<Kernel, DeviceError> {
    let launch = launch(s, formula, strides);
    let too_many = || {
        let most = format!("at most {OPERANDS} operands and {AXES} axes can be broadcast");
        unsupported(s.op, most)
    };
    Ok(Kernel::new(name, [launch.ok_or_else(too_many)?]))
}

/// A function of operands that are broadcast.
pub(crate) fn elementwise(s: &Signature<'_>, formula: &Formula) -> Result<Kernel, DeviceError> {
    let strides = s.inputs.iter();
    let strides: Vec<_> = strides
        .map(|f| broadcast_strides(&f.shape, s.output()))
        .collect();
    kernel(s, "elementwise", formula, &strides)
}

/// A value between bounds; what is not a number stays.
pub(crate) fn clip(s: &Signature<'_>, op: &Clip) -> Result<Kernel, DeviceError> {
    let mut clipped = Expr::input(0);
    if let Some(low) = op.min {
        clipped = clipped.max(f64::from(low));
    }
    if let Some(high) = op.max {
        clipped = clipped.min(f64::from(high));
    }
    elementwise(s, &Formula::new(&clipped))
}

/// (x - mean) / sqrt(var + epsilon) * scale + bias.
pub(crate) fn batch_normalization(
    s: &Signature<'_>,
    op: BatchNormalization,
) -> Result<Kernel, DeviceError> {
    let [x, scale, bias, mean, variance] = [0, 1, 2, 3, 4].map(Expr::input);
    let deviation = (variance + op.epsilon).sqrt();
    let formula = Formula::new(&((x - mean) / deviation * scale + bias));
    let mut channel = vec![0; s.output().len()];
    channel[1] = 1;
    let own = broadcast_strides(s.shape(0), s.output());
    let strides = [vec![own], vec![channel; 4]].concat();
    kernel(s, "batch normalization", &formula, &strides)
}

/// A value whose element at an index is the input's at these distances.
pub(crate) fn strided(s: &Signature<'_>, strides: Vec<usize>) -> Result<Kernel, DeviceError> {
    kernel(
        s,
        "copy in rows",
        &Formula::new(&Expr::input(0)),
        &[strides],
    )
}
