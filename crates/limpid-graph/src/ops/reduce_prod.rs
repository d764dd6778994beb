use super::{Concat, Cost, Elementwise, Operator, Slice, arity, axis_filter, reduced, typed};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The product over `axes`, which stay as extents of 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReduceProd {
    /// The axes reduced.
    pub axes: Vec<usize>,
}

impl Operator for ReduceProd {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        let shape = reduced(&inputs[0].shape, &self.axes)?;
        for &axis in &self.axes {
            axis_filter::check_axis(inputs, 0, axis)?;
        }
        Ok(vec![Fact::f32(shape)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        vec![inputs[0].fold(&self.axes, 1.0, |a, b| a * b)]
    }

    /// The product of an axis's halves until one element is left: the gradient
    /// divides by nothing, and is right where elements are 0.
    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let mut x = cx.input(0);
        for &axis in &self.axes {
            while let n @ 2.. = cx.dims(x)[axis] {
                let part = |start: usize, count: usize| Slice {
                    axis,
                    start,
                    step: 1,
                    count: count as i64,
                };
                let half = n / 2;
                let first = cx.push(part(0, half), &[x])?;
                let second = cx.push(part(half, half), &[x])?;
                let product = Elementwise::new(&(Expr::input(0) * Expr::input(1)), 2);
                let product = cx.push(product, &[first, second])?;
                x = if n % 2 == 1 {
                    let last = cx.push(part(n - 1, 1), &[x])?;
                    cx.push(Concat { axis }, &[product, last])?
                } else {
                    product
                };
            }
        }
        Ok(Some(vec![x]))
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[0], 1)
    }

    fn cases() -> Vec<Case> {
        let rows: [(&[usize], &[usize]); 5] = [
            (&[2, 17, 5, 3], &[2, 3]),
            (&[3, 7, 3, 3], &[1]),
            (&[2, 7, 9], &[2]),
            (&[2, 3, 4, 1, 7], &[2, 3]),
            (&[3, 5], &[1]),
        ];
        let mut cases = Vec::new();
        for (shape, axes) in rows {
            let op = Self {
                axes: axes.to_vec(),
            };
            let name = format!("reduce prod {shape:?} {axes:?}");
            let exact = vec![CaseInput::integers(shape, -2, 2)];
            cases.push(Case::new(
                &name,
                op.clone(),
                vec![CaseInput::variable(shape)],
            ));
            cases.push(Case::new(format!("{name} exact"), op, exact));
        }
        cases
    }
}
