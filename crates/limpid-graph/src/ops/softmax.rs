use super::{Cost, Operator, Residual, SoftmaxGradient, Transpose, arity, axis_in, typed};
use crate::case::{Case, CaseInput};
use crate::passes::{LowerContext, VjpContext};
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// e^x over its sum along `axis`. The largest element is taken off first, so
/// that nothing overflows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax {
    /// The axis that sums to 1.
    pub axis: usize,
}

impl Operator for Softmax {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        axis_in(self.axis, inputs[0].shape.len())?;
        Ok(vec![inputs[0].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        vec![RefTensor::from_index(&x.shape, |index| {
            let mut other = index.to_vec();
            let line: Vec<f64> = (0..x.shape[self.axis])
                .map(|i| {
                    other[self.axis] = i;
                    x.at(&other)
                })
                .collect();
            let largest = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = line.iter().map(|v| (v - largest).exp()).sum();
            (x.at(index) - largest).exp() / sum
        })]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::Value
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, _input: usize) -> Result<ValueId, GraphError> {
        let (y, g) = (cx.output_value(0)?, cx.cotangent(0)?);
        cx.push(SoftmaxGradient {}, &[y, g])
    }

    /// Another axis than the last is put last.
    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let rank = cx.dims(x).len();
        if self.axis + 1 == rank {
            return Ok(None);
        }
        let swap = Transpose::swapping(rank, self.axis, rank - 1);
        let x = cx.push(swap.clone(), &[x])?;
        let y = cx.push(Self { axis: rank - 1 }, &[x])?;
        Ok(Some(vec![cx.push(swap, &[y])?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 20)
    }

    fn cases() -> Vec<Case> {
        let rows: [(&[usize], usize); 10] = [
            (&[1, 1], 1),
            (&[3, 33], 1),
            (&[2, 1000], 1),
            (&[2, 3, 7, 49], 3),
            (&[1, 2, 5, 197], 3),
            (&[2, 7, 16], 2),
            (&[2, 17, 3, 5], 1),
            (&[3, 5, 7], 1),
            (&[2, 2, 3, 2, 31], 4),
            (&[65], 0),
        ];
        let mut cases: Vec<Case> = rows
            .into_iter()
            .map(|(shape, axis)| {
                let inputs = vec![CaseInput::variable(shape)];
                Case::new(
                    format!("softmax {shape:?} axis {axis}"),
                    Self { axis },
                    inputs,
                )
            })
            .collect();
        let large = vec![CaseInput::integers(&[5, 33], -200, 200)];
        cases.push(Case::new("softmax large", Self { axis: 1 }, large));
        cases
    }
}
