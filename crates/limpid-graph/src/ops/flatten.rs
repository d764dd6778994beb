use super::{Cost, Operator, Residual, arity, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// A matrix: the axes before `axis` become its rows, the others its columns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten {
    /// The first axis of the columns.
    pub axis: usize,
}

impl Operator for Flatten {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, limpid_tensor::DType::F32)?;
        let shape = &inputs[0].shape;
        if self.axis > shape.len() {
            return Err(OpError::Attribute {
                name: "axis",
                expected: "at most the input's rank",
            });
        }
        let (rows, columns) = shape.split_at(self.axis);
        let extent = |dims: &[usize]| limpid_tensor::Shape::from(dims).elements();
        Ok(vec![Fact::f32([extent(rows)?, extent(columns)?])])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (rows, columns) = inputs[0].shape.split_at(self.axis);
        let shape = [rows.iter().product(), columns.iter().product()];
        vec![RefTensor::new(shape, inputs[0].data.clone())]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        cx.reshape_to_input(g, input)
    }

    fn cost(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::default()
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        [([2, 33, 1, 1], 1), ([2, 17, 3, 5], 1), ([2, 3, 4, 5], 2)]
            .into_iter()
            .map(|(shape, axis)| {
                let inputs = vec![CaseInput::variable(&shape)];
                Case::new(format!("flatten {shape:?} {axis}"), Self { axis }, inputs)
            })
            .collect()
    }
}
