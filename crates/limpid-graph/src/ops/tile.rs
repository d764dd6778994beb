use super::{AxisFilter, Cost, Operator, SparseMatrix, arity, axis_filter, typed};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::{DType, TensorError};
use serde::{Deserialize, Serialize};

/// The input several times, one beside the other, along each axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    /// How often, for each axis.
    pub repeats: Vec<usize>,
}

impl Operator for Tile {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        let mut shape = inputs[0].shape.to_vec();
        if self.repeats.len() != shape.len() {
            return Err(OpError::Attribute {
                name: "repeats",
                expected: "a number for each axis of the input",
            });
        }
        for (axis, times) in self.repeats.iter().enumerate().filter(|(_, n)| **n != 1) {
            let overflow = || TensorError::Overflow(inputs[0].shape.clone());
            shape[axis] = shape[axis].checked_mul(*times).ok_or_else(overflow)?;
            let out = Fact::f32(&shape[..]);
            axis_filter::check_axis(&[&out], 0, axis)?;
        }
        Ok(vec![Fact::f32(shape)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let extents = x.shape.iter().zip(&self.repeats);
        let shape: Vec<usize> = extents.map(|(d, n)| d * n).collect();
        vec![RefTensor::from_index(shape, |to| {
            let wrapped = to.iter().zip(&*x.shape).map(|(i, d)| i % d);
            x.at(&wrapped.collect::<Vec<_>>())
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let mut x = cx.input(0);
        let extents = cx.dims(x);
        for (axis, (&n, &times)) in extents.iter().zip(&self.repeats).enumerate() {
            if times != 1 {
                let rows = (0..n * times).map(|k| Some(k % n));
                let matrix = SparseMatrix::selecting(n, rows);
                x = cx.push(AxisFilter { axis, matrix }, &[x])?;
            }
        }
        Ok(Some(vec![x]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        type Row = (&'static [usize], &'static [usize]);
        let rows: [Row; 5] = [
            (&[2, 17, 3, 2], &[1, 1, 2, 3]),
            (&[1, 5, 33], &[3, 1, 1]),
            (&[2, 7, 5], &[1, 2, 7]),
            (&[3, 5], &[1, 1]),
            (&[2, 3, 1, 2, 2], &[1, 6, 1, 4, 1]),
        ];
        let mut cases = Vec::new();
        for (shape, repeats) in rows {
            let repeats = repeats.to_vec();
            let name = format!("tile {shape:?} {repeats:?}");
            let op = Self { repeats };
            let random = vec![CaseInput::variable(shape)];
            let exact = vec![CaseInput::integers(shape, -99, 99)];
            cases.push(Case::new(&name, op.clone(), random));
            cases.push(Case::new(format!("{name} exact"), op, exact));
        }
        cases
    }
}
