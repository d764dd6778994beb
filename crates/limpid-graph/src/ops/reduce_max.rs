use super::{Cost, Elementwise, Operator, ReduceSum, Residual, arity, reduced, typed};
use crate::case::{Case, CaseInput};
use crate::formula::Binary;
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The largest element over `axes`, which stay as extents of 1; not a number
/// where one of the elements is not.
///
/// Elements that tie for the largest share the gradient evenly, as in
/// PyTorch's `amax`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReduceMax {
    /// The axes reduced.
    pub axes: Vec<usize>,
}

impl Operator for ReduceMax {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        Ok(vec![Fact::f32(reduced(&inputs[0].shape, &self.axes)?)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let larger = |a: f64, b: f64| if a >= b || a.is_nan() { a } else { b };
        vec![x.fold(&self.axes, f64::NEG_INFINITY, larger)]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::Value
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, _input: usize) -> Result<ValueId, GraphError> {
        let (x, y, g) = (cx.value(0)?, cx.output_value(0)?, cx.cotangent(0)?);
        let [first, second, third] = [0, 1, 2].map(Expr::input);
        let ties = first.clone().binary(Binary::Equal, second.clone());
        let ties = cx.push(Elementwise::new(&ties, 2), &[x, y])?;
        let axes = self.axes.clone();
        let count = cx.push(ReduceSum { axes }, &[ties])?;
        let share = Elementwise::new(&(first * second / third), 3);
        cx.push(share, &[ties, g, count])
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[0], 1)
    }

    fn cases() -> Vec<Case> {
        let rows: [(&[usize], &[usize]); 9] = [
            (&[2, 17, 5, 3], &[2, 3]),
            (&[3, 33, 3, 3], &[1]),
            (&[3, 5, 3, 3], &[0]),
            (&[2, 17, 5, 3], &[3]),
            (&[2, 7, 65], &[2]),
            (&[2, 7, 33], &[1]),
            (&[3, 31], &[1]),
            (&[2, 3, 4, 5, 7], &[1, 3]),
            (&[3, 5, 3, 3], &[0, 1, 2, 3]),
        ];
        let mut cases = Vec::new();
        for (shape, axes) in rows {
            let op = Self {
                axes: axes.to_vec(),
            };
            let name = format!("reduce max {shape:?} {axes:?}");
            let random = vec![CaseInput::distinct(shape)];
            let exact = vec![CaseInput::integers(shape, -99, 99)];
            cases.push(Case::new(&name, op.clone(), random));
            cases.push(Case::new(format!("{name} exact"), op, exact));
        }
        cases
    }
}
