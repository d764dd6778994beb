use super::{Cost, Elementwise, Operator, ReduceSum, arity, reduced, typed};
use crate::case::{Case, CaseInput};
use crate::formula::Binary;
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The square root of the sum of squares over `axes`, which stay as extents of
/// 1. Where it is 0 the gradient is 0, as in PyTorch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReduceL2 {
    /// The axes reduced.
    pub axes: Vec<usize>,
}

/// The root of a sum that is not negative, with the derivative 0 at 0.
pub(super) fn root(sum: &Expr, power: f64) -> Expr {
    let root = match power {
        2.0 => sum.clone().sqrt(),
        1.0 => return sum.clone(),
        p => sum.clone().pow(1.0 / p),
    };
    sum.clone().binary(Binary::Equal, 0.0).select(0.0, root)
}

impl Operator for ReduceL2 {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        Ok(vec![Fact::f32(reduced(&inputs[0].shape, &self.axes)?)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        vec![inputs[0].fold(&self.axes, 0.0, f64::hypot)]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = || Expr::input(0);
        let axes = self.axes.clone();
        let squares = cx.push(Elementwise::new(&(x() * x()), 1), &[cx.input(0)])?;
        let sum = cx.push(ReduceSum { axes }, &[squares])?;
        let norm = Elementwise::new(&root(&x(), 2.0), 1);
        Ok(Some(vec![cx.push(norm, &[sum])?]))
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[0], 2)
    }

    fn cases() -> Vec<Case> {
        let rows: [(&[usize], &[usize]); 4] = [
            (&[2, 17, 5, 3], &[2, 3]),
            (&[3, 33, 3, 3], &[1]),
            (&[2, 7, 65], &[2]),
            (&[2, 3, 4, 5, 7], &[1, 3]),
        ];
        rows.into_iter()
            .map(|(shape, axes)| {
                let op = Self {
                    axes: axes.to_vec(),
                };
                let inputs = vec![CaseInput::variable(shape)];
                Case::new(format!("reduce l2 {shape:?} {axes:?}"), op, inputs)
            })
            .collect()
    }
}
