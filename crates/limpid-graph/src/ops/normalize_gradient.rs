use super::{Cost, Operator, Residual, arity, normalize, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The gradient of [`Normalize`](super::Normalize):
/// rstd * (g - mean(g) - y * mean(g * y)), the means being those of a line of
/// the last axis.
///
/// Inputs: y `[..., L]` and rstd `[..., 1]`, the two outputs of the
/// normalisation, and g, the cotangent of y. Output: `[..., L]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormalizeGradient {}

impl Operator for NormalizeGradient {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "3", |n| n == 3)?;
        for i in 0..3 {
            typed(inputs, i, DType::F32)?;
        }
        let y = &inputs[0].shape;
        shaped(inputs, 0, "of rank 1 or more", !y.is_empty())?;
        let lines = normalize::per_line(y);
        shaped(
            inputs,
            1,
            format!("{lines:?}"),
            *inputs[1].shape == lines[..],
        )?;
        shaped(inputs, 2, y.to_string(), inputs[2].shape == *y)?;
        Ok(vec![inputs[0].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (y, rstd, g) = (inputs[0], inputs[1], inputs[2]);
        let length = y.shape[y.shape.len() - 1];
        let mut out = RefTensor::from_fn(&y.shape, |_| 0.0);
        for (line, out) in out.data.chunks_mut(length).enumerate() {
            let [y, g] = [y, g].map(|t| &t.data[line * length..][..length]);
            let n = length as f64;
            let mean = g.iter().sum::<f64>() / n;
            let along = g.iter().zip(y).map(|(g, y)| g * y).sum::<f64>() / n;
            for (out, (g, y)) in out.iter_mut().zip(g.iter().zip(y)) {
                *out = rstd.data[line] * (g - mean - y * along);
            }
        }
        vec![out]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::Value
    }

    /// The map from g is symmetric.
    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        if input != 2 {
            return Err(cx.no_gradient(input));
        }
        let (y, rstd, g) = (cx.value(0)?, cx.value(1)?, cx.cotangent(0)?);
        cx.push(Self {}, &[y, rstd, g])
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 6)
    }

    fn linear(&self, input: usize) -> bool {
        input == 2
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let shapes: [&[usize]; 7] = [
            &[3, 33],
            &[2, 7, 192],
            &[2, 7, 65],
            &[2, 49, 16],
            &[2, 5, 7, 31],
            &[4, 1],
            &[7],
        ];
        shapes
            .into_iter()
            .map(|shape| {
                let inputs = vec![
                    CaseInput::fixed(shape),
                    CaseInput::positive(&normalize::per_line(shape)),
                    CaseInput::variable(shape),
                ];
                Case::new(format!("normalize gradient {shape:?}"), Self {}, inputs)
            })
            .collect()
    }
}
