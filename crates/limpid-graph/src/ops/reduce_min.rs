use super::{Cost, Elementwise, Operator, ReduceMax, arity, reduced, typed};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The smallest element over `axes`, which stay as extents of 1; not a number
/// where one of the elements is not. Ties share the gradient evenly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReduceMin {
    /// The axes reduced.
    pub axes: Vec<usize>,
}

impl Operator for ReduceMin {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        Ok(vec![Fact::f32(reduced(&inputs[0].shape, &self.axes)?)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let smaller = |a: f64, b: f64| if a <= b || a.is_nan() { a } else { b };
        vec![inputs[0].fold(&self.axes, f64::INFINITY, smaller)]
    }

    /// The largest of the negatives.
    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let negative = Elementwise::new(&-Expr::input(0), 1);
        let axes = self.axes.clone();
        let x = cx.push(negative.clone(), &[cx.input(0)])?;
        let largest = cx.push(ReduceMax { axes }, &[x])?;
        Ok(Some(vec![cx.push(negative, &[largest])?]))
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[0], 1)
    }

    fn cases() -> Vec<Case> {
        let rows: [(&[usize], &[usize]); 4] = [
            (&[2, 17, 5, 3], &[2, 3]),
            (&[3, 33, 3, 3], &[1]),
            (&[2, 7, 65], &[2]),
            (&[2, 3, 4, 5, 7], &[1, 3]),
        ];
        let mut cases = Vec::new();
        for (shape, axes) in rows {
            let op = Self {
                axes: axes.to_vec(),
            };
            let name = format!("reduce min {shape:?} {axes:?}");
            let exact = vec![CaseInput::integers(shape, -99, 99)];
            cases.push(Case::new(
                &name,
                op.clone(),
                vec![CaseInput::distinct(shape)],
            ));
            cases.push(Case::new(format!("{name} exact"), op, exact));
        }
        cases
    }
}
