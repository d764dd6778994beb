use super::{Cost, Operator, Residual, arity, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// x stretched to its shape's broadcast with `shape`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expand {
    /// The shape to broadcast with; 1 keeps the input's extent.
    pub shape: Vec<usize>,
}

impl Operator for Expand {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, limpid_tensor::DType::F32)?;
        let shape = inputs[0].shape.broadcast(&self.shape[..].into());
        let shape = shape.ok_or_else(|| OpError::Shape {
            input: 0,
            expected: format!("broadcastable with {:?}", self.shape),
            found: inputs[0].shape.clone(),
        })?;
        Ok(vec![Fact::f32(shape)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let to = RefTensor::from_fn(&self.shape[..], |_| 0.0);
        vec![inputs[0].zip(&to, |x, _| x)]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        cx.sum_to_input(g, input)
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let case = |name: &str, from: &[usize], to: &[usize]| {
            let shape = to.to_vec();
            let inputs = vec![CaseInput::variable(from)];
            Case::new(format!("expand {name}"), Self { shape }, inputs)
        };
        vec![
            case("plane", &[2, 33, 1, 1], &[1, 1, 7, 5]),
            case("batch", &[1, 3, 5, 5], &[4, 1, 1, 1]),
            case("nothing", &[2, 3, 5, 5], &[1, 1, 1, 1]),
        ]
    }
}
