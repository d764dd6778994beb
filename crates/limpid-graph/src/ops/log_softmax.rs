use super::{Cost, Elementwise, Operator, ReduceMax, ReduceSum, arity, axis_in, typed};
use crate::case::{Case, CaseInput};
use crate::formula::Unary;
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The logarithm of the softmax along `axis`: x - log(sum(e^x)).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSoftmax {
    /// The axis along which e^y sums to 1.
    pub axis: usize,
}

impl Operator for LogSoftmax {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        axis_in(self.axis, inputs[0].shape.len())?;
        Ok(vec![inputs[0].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        // log(e^a + e^b), pair after pair.
        let join = |a: f64, b: f64| match a.max(b) {
            f64::NEG_INFINITY => a,
            largest => largest + (-(a - b).abs()).exp().ln_1p(),
        };
        let sum = inputs[0].fold(&[self.axis], f64::NEG_INFINITY, join);
        vec![inputs[0].zip(&sum, |x, s| x - s)]
    }

    /// The largest element is taken off before the exponential, as a whole
    /// number: its derivative is 0, and what it is does not matter.
    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let [first, second] = [0, 1].map(Expr::input);
        let axes = vec![self.axis];
        let largest = cx.push(ReduceMax { axes: axes.clone() }, &[x])?;
        let whole = first.clone().unary(Unary::Floor);
        let largest = cx.push(Elementwise::new(&whole, 1), &[largest])?;
        let difference = Elementwise::new(&(first.clone() - second.clone()), 2);
        let x = cx.push(difference, &[x, largest])?;
        let powers = cx.push(Elementwise::new(&first.clone().exp(), 1), &[x])?;
        let sum = cx.push(ReduceSum { axes }, &[powers])?;
        let result = Elementwise::new(&(first - second.log()), 2);
        Ok(Some(vec![cx.push(result, &[x, sum])?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 20)
    }

    fn cases() -> Vec<Case> {
        let rows: [(&[usize], usize); 5] = [
            (&[3, 33], 1),
            (&[2, 17, 3, 5], 1),
            (&[2, 7, 16], 2),
            (&[2, 2, 3, 2, 31], 4),
            (&[1, 1], 0),
        ];
        let mut cases: Vec<Case> = rows
            .into_iter()
            .map(|(shape, axis)| {
                let inputs = vec![CaseInput::distinct(shape)];
                Case::new(
                    format!("log softmax {shape:?} axis {axis}"),
                    Self { axis },
                    inputs,
                )
            })
            .collect();
        let large = vec![CaseInput::integers(&[5, 33], -200, 200)];
        cases.push(Case::new("log softmax large", Self { axis: 1 }, large));
        cases
    }
}
