//! What the normalisations share: a scale and a bias behind them.

use super::{Elementwise, Normalize, arity, shaped, typed};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;

/// Checks x, a scale and a bias, and that the last two are of shape `expected`.
pub(super) fn check(inputs: &[&Fact], expected: &[usize]) -> Result<(), OpError> {
    for i in 0..inputs.len() {
        typed(inputs, i, DType::F32)?;
        if i > 0 {
            let fits = inputs[i].shape[..] == *expected;
            shaped(inputs, i, format!("{expected:?}"), fits)?;
        }
    }
    Ok(())
}

/// x * scale + bias, as far as they are given, each under the shape `to`.
pub(super) fn lower(
    cx: &mut LowerContext<'_>,
    x: ValueId,
    parameters: &[ValueId],
    to: &[usize],
) -> Result<ValueId, GraphError> {
    let [y, scale, bias] = [0, 1, 2].map(Expr::input);
    let scaled = y.clone() * scale;
    let affine = match parameters.len() {
        0 => return Ok(x),
        1 => scaled,
        _ => scaled + bias,
    };
    let mut operands = vec![x];
    for &parameter in parameters {
        operands.push(cx.reshape(parameter, to)?);
    }
    cx.push(Elementwise::new(&affine, operands.len()), &operands)
}

/// The normalisation of lines of `length` elements of x, under x's shape.
pub(super) fn normalize_lines(
    cx: &mut LowerContext<'_>,
    x: ValueId,
    lines: &[usize],
    epsilon: f64,
) -> Result<ValueId, GraphError> {
    let shape = cx.dims(x);
    let x = cx.reshape(x, lines)?;
    let y = cx.push(Normalize { epsilon }, &[x])?;
    cx.reshape(y, &shape)
}

/// The same in f64: lines of `length` elements, then for element i the scale
/// and bias at place `parameter(i)`.
pub(super) fn reference(
    inputs: &[&RefTensor],
    length: usize,
    epsilon: f64,
    parameter: impl Fn(usize) -> usize,
) -> RefTensor {
    let x = inputs[0];
    let mut out = x.clone();
    for (k, line) in out.data.chunks_mut(length).enumerate() {
        let n = length as f64;
        let (sum, squares) = line.iter().fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
        let mean = sum / n;
        let deviation = (squares / n - mean * mean + epsilon).sqrt();
        for (i, v) in line.iter_mut().enumerate() {
            let at = parameter(k * length + i);
            let scale = inputs.get(1).map_or(1.0, |t| t.data[at]);
            let bias = inputs.get(2).map_or(0.0, |t| t.data[at]);
            *v = (*v - mean) / deviation * scale + bias;
        }
    }
    out
}

/// Checks the number of inputs of a normalisation with scale and bias.
pub(super) fn three(inputs: &[&Fact]) -> Result<(), OpError> {
    arity(inputs, "3", |n| n == 3)
}
