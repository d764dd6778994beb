use super::{Cost, Elementwise, NormalizeGradient, Operator, Residual, arity, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// (x - mean) / sqrt(var + `epsilon`), mean and (biased) variance being those
/// of each line of the last axis. Layer, group and instance normalisation are
/// written with it.
///
/// Input: x `[..., L]`. Outputs: y of x's shape, and 1 / sqrt(var + `epsilon`)
/// `[..., 1]`, which the gradient reads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// Added to the variance.
    pub epsilon: f64,
}

/// Checks an `epsilon`.
pub(super) fn check_epsilon(epsilon: f64) -> Result<(), OpError> {
    if epsilon >= 0.0 && epsilon.is_finite() {
        return Ok(());
    }
    Err(OpError::Attribute {
        name: "epsilon",
        expected: "finite and not negative",
    })
}

/// The shape with an extent of 1 on the last axis.
pub(super) fn per_line(shape: &[usize]) -> Vec<usize> {
    let mut shape = shape.to_vec();
    if let Some(last) = shape.last_mut() {
        *last = 1;
    }
    shape
}

impl Operator for Normalize {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        check_epsilon(self.epsilon)?;
        let shape = &inputs[0].shape;
        shaped(inputs, 0, "of rank 1 or more", !shape.is_empty())?;
        Ok(vec![inputs[0].clone(), Fact::f32(per_line(shape))])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let length = x.shape[x.shape.len() - 1];
        let moments: Vec<(f64, f64)> = x
            .data
            .chunks(length)
            .map(|line| {
                let n = length as f64;
                let mean = line.iter().sum::<f64>() / n;
                let variance = line.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
                (mean, 1.0 / (variance + self.epsilon).sqrt())
            })
            .collect();
        let y = RefTensor::from_fn(&x.shape, |i| {
            let (mean, rstd) = moments[i / length];
            (x.data[i] - mean) * rstd
        });
        vec![y, RefTensor::from_fn(per_line(&x.shape), |i| moments[i].1)]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::Value
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, _input: usize) -> Result<ValueId, GraphError> {
        let (y, rstd) = (cx.output_value(0)?, cx.output_value(1)?);
        let through_y = match cx.cotangent_of(0) {
            Some(g) => Some(cx.push(NormalizeGradient {}, &[y, rstd, g])?),
            None => None,
        };
        let Some(g) = cx.cotangent_of(1) else {
            return through_y.ok_or_else(|| cx.no_gradient(0));
        };
        // The derivative of the second output is -rstd^2 * y / L.
        let length = cx.input_fact(0).shape.last().map_or(1, |d| *d);
        let [a, r, b, sum] = [0, 1, 2, 3].map(Expr::input);
        let slope = a * r.clone() * r * b * (-1.0 / length as f64);
        match through_y {
            None => cx.push(Elementwise::new(&slope, 3), &[y, rstd, g]),
            Some(other) => cx.push(Elementwise::new(&(slope + sum), 4), &[y, rstd, g, other]),
        }
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 5)
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let rows: [(&[usize], f64); 8] = [
            (&[3, 33], 1e-5),
            (&[2, 7, 192], 1e-6),
            (&[2, 7, 65], 1e-5),
            (&[2, 49, 16], 1e-5),
            (&[2, 5, 7, 31], 1e-5),
            (&[2, 4, 1155], 1e-5),
            (&[4, 1], 1e-2),
            (&[7], 0.0),
        ];
        rows.into_iter()
            .map(|(shape, epsilon)| {
                let inputs = vec![CaseInput::variable(shape)];
                Case::new(format!("normalize {shape:?}"), Self { epsilon }, inputs)
            })
            .collect()
    }
}
