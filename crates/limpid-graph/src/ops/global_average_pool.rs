use super::{Cost, Operator, Residual, arity, image};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// The mean over height and width: `[N, C, H, W]` to `[N, C, 1, 1]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct GlobalAveragePool {}

impl Operator for GlobalAveragePool {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        let [n, c, h, w] = image(inputs, 0)?;
        super::shaped(inputs, 0, "of at least one pixel", h * w > 0)?;
        Ok(vec![Fact::f32([n, c, 1, 1])])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let plane = x.shape[2] * x.shape[3];
        vec![RefTensor::from_fn([x.shape[0], x.shape[1], 1, 1], |i| {
            x.data[i * plane..][..plane].iter().sum::<f64>() / plane as f64
        })]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        let shape = cx.input_fact(input).shape.clone();
        let (h, w) = (shape[2], shape[3]);
        let g = cx.scale(g, 1.0 / (h * w) as f32)?;
        let shape = vec![1, 1, h, w];
        cx.push(super::Expand { shape }, &[g])
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        [[2, 17, 5, 3], [1, 64, 7, 7], [3, 1, 1, 1], [1, 33, 31, 33]]
            .into_iter()
            .map(|shape| {
                let inputs = vec![CaseInput::variable(&shape)];
                Case::new(format!("global average pool {shape:?}"), Self {}, inputs)
            })
            .collect()
    }
}
