use super::{Cost, Operator, Residual, arity, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The gradient of [`Softmax`](super::Softmax) over the last axis:
/// y * (g - sum(g * y)).
///
/// Inputs: y, the softmax, and g, its cotangent, of one shape.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftmaxGradient {}

impl Operator for SoftmaxGradient {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "2", |n| n == 2)?;
        typed(inputs, 0, DType::F32)?;
        typed(inputs, 1, DType::F32)?;
        let y = &inputs[0].shape;
        shaped(inputs, 0, "of rank 1 or more", !y.is_empty())?;
        shaped(inputs, 1, y.to_string(), inputs[1].shape == *y)?;
        Ok(vec![inputs[0].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (y, g) = (inputs[0], inputs[1]);
        let length = y.shape[y.shape.len() - 1];
        vec![RefTensor::from_fn(&y.shape, |i| {
            let line = i / length * length..(i / length + 1) * length;
            let sum: f64 = line.map(|j| g.data[j] * y.data[j]).sum();
            y.data[i] * (g.data[i] - sum)
        })]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::Value
    }

    /// The Jacobian, diag(y) - y y', is symmetric.
    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        if input != 1 {
            return Err(cx.no_gradient(input));
        }
        let (y, g) = (cx.value(0)?, cx.cotangent(0)?);
        cx.push(Self {}, &[y, g])
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 4)
    }

    fn linear(&self, input: usize) -> bool {
        input == 1
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let shapes: [&[usize]; 7] = [
            &[1, 1],
            &[3, 33],
            &[2, 3, 7, 49],
            &[1, 2, 5, 197],
            &[2, 7, 16],
            &[2, 2, 3, 2, 31],
            &[65],
        ];
        let mut cases: Vec<Case> = shapes
            .into_iter()
            .map(|shape| {
                let inputs = vec![CaseInput::fixed(shape), CaseInput::variable(shape)];
                Case::new(format!("softmax gradient {shape:?}"), Self {}, inputs)
            })
            .collect();
        let whole = [2, 5, 17];
        let exact = vec![
            CaseInput::integers(&whole, -4, 4),
            CaseInput::integers(&whole, -4, 4),
        ];
        cases.push(Case::new("softmax gradient exact", Self {}, exact));
        cases
    }
}
