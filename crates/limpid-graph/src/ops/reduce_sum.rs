use super::{Cost, Operator, Residual, arity, reduced, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// The sum over `axes`, which stay as extents of 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReduceSum {
    /// The axes summed over.
    pub axes: Vec<usize>,
}

impl Operator for ReduceSum {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, limpid_tensor::DType::F32)?;
        Ok(vec![Fact::f32(reduced(&inputs[0].shape, &self.axes)?)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        vec![inputs[0].fold(&self.axes, 0.0, |a, b| a + b)]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        let shape = cx.input_fact(input).shape.to_vec();
        cx.push(super::Expand { shape }, &[g])
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &[usize], axes: &[usize]| {
            let inputs = vec![CaseInput::variable(shape)];
            let axes = axes.to_vec();
            Case::new(
                format!("reduce sum {shape:?} {axes:?}"),
                Self { axes },
                inputs,
            )
        };
        vec![
            case(&[2, 17, 5, 3], &[2, 3]),
            case(&[3, 33, 3, 3], &[1]),
            case(&[3, 5, 3, 3], &[0]),
            case(&[3, 5, 3, 3], &[0, 1, 2, 3]),
        ]
    }
}
