use super::{AxisFilter, Cost, Operator, SparseMatrix, arity, axis_filter, typed};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The elements at `indices` along an axis, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gather {
    /// The axis.
    pub axis: usize,
    /// Positions on the axis; one may stand several times.
    pub indices: Vec<usize>,
}

impl Operator for Gather {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        axis_filter::check_axis(inputs, 0, self.axis)?;
        let mut shape = inputs[0].shape.to_vec();
        if self.indices.iter().any(|i| *i >= shape[self.axis]) {
            return Err(OpError::Attribute {
                name: "indices",
                expected: "below the axis's extent",
            });
        }
        shape[self.axis] = self.indices.len();
        Ok(vec![Fact::f32(shape)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let mut shape = x.shape.to_vec();
        shape[self.axis] = self.indices.len();
        vec![RefTensor::from_index(shape, |to| {
            let mut from = to.to_vec();
            from[self.axis] = self.indices[to[self.axis]];
            x.at(&from)
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let rows = self.indices.iter().map(|i| Some(*i));
        let filter = AxisFilter {
            axis: self.axis,
            matrix: SparseMatrix::selecting(cx.dims(x)[self.axis], rows),
        };
        Ok(Some(vec![cx.push(filter, &[x])?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        type Row = (&'static [usize], usize, &'static [usize]);
        let rows: [Row; 6] = [
            (&[2, 17, 5, 3], 1, &[16, 0, 3, 3]),
            (&[2, 7, 33], 1, &[0]),
            (&[2, 7, 33], 2, &[5, 4, 32, 4, 0, 1, 2]),
            (&[1, 33, 5, 3], 2, &[4, 3, 2, 1, 0]),
            (&[3, 5], 0, &[2, 2, 1, 0]),
            (&[2, 1, 3, 4, 5], 3, &[3, 1]),
        ];
        let mut cases = Vec::new();
        for (shape, axis, indices) in rows {
            let indices = indices.to_vec();
            let name = format!("gather {shape:?} axis {axis} {indices:?}");
            let op = Self { axis, indices };
            let random = vec![CaseInput::variable(shape)];
            let exact = vec![CaseInput::integers(shape, -99, 99)];
            cases.push(Case::new(&name, op.clone(), random));
            cases.push(Case::new(format!("{name} exact"), op, exact));
        }
        cases
    }
}
