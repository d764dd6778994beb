use super::{Cost, Elementwise, Operator, ReduceSum, arity, reduced, typed};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The mean over `axes`, which stay as extents of 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReduceMean {
    /// The axes reduced.
    pub axes: Vec<usize>,
}

impl Operator for ReduceMean {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        Ok(vec![Fact::f32(reduced(&inputs[0].shape, &self.axes)?)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let sum = inputs[0].fold(&self.axes, 0.0, |a, b| a + b);
        let n = inputs[0].data.len() / sum.data.len();
        vec![sum.map(|v| v / n as f64)]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let axes = self.axes.clone();
        let sum = cx.push(ReduceSum { axes }, &[x])?;
        let elements = |dims: Vec<usize>| dims.into_iter().product::<usize>();
        let n = elements(cx.dims(x)) / elements(cx.dims(sum));
        let quotient = Elementwise::new(&(Expr::input(0) / n as f64), 1);
        Ok(Some(vec![cx.push(quotient, &[sum])?]))
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let rows: [(&[usize], &[usize]); 6] = [
            (&[2, 17, 5, 3], &[2, 3]),
            (&[3, 33, 3, 3], &[1]),
            (&[2, 7, 65], &[1]),
            (&[2, 7, 33], &[2]),
            (&[2, 3, 4, 5, 7], &[1, 3]),
            (&[3, 5], &[]),
        ];
        rows.into_iter()
            .map(|(shape, axes)| {
                let op = Self {
                    axes: axes.to_vec(),
                };
                let inputs = vec![CaseInput::variable(shape)];
                Case::new(format!("reduce mean {shape:?} {axes:?}"), op, inputs)
            })
            .collect()
    }
}
