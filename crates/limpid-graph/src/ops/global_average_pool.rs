use super::{Cost, Operator, Residual, arity, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::{LowerContext, VjpContext};
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// The mean of each channel: `[N, C, H, W]` to `[N, C, 1, 1]`, and so for any
/// rank from 3 on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAveragePool {}

impl Operator for GlobalAveragePool {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, limpid_tensor::DType::F32)?;
        pooled(inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let plane: usize = x.shape[2..].iter().product();
        let mut shape = vec![1; x.shape.len()];
        shape[..2].copy_from_slice(&x.shape[..2]);
        vec![RefTensor::from_fn(shape, |i| {
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

    /// Another rank than 4 is that of an image of one row.
    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let shape = cx.dims(x);
        if shape.len() == 4 {
            return Ok(None);
        }
        let row = [shape[0], shape[1], 1, shape[2..].iter().product()];
        let x = cx.reshape(x, &row)?;
        let mean = cx.push(Self {}, &[x])?;
        let pooled = [&shape[..2], &vec![1; shape.len() - 2]].concat();
        Ok(Some(vec![cx.reshape(mean, &pooled)?]))
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let shapes: [&[usize]; 6] = [
            &[2, 17, 5, 3],
            &[1, 64, 7, 7],
            &[3, 1, 1, 1],
            &[1, 33, 31, 33],
            &[2, 17, 9],
            &[2, 3, 4, 2, 3],
        ];
        shapes
            .into_iter()
            .map(|shape| {
                let inputs = vec![CaseInput::variable(shape)];
                Case::new(format!("global average pool {shape:?}"), Self {}, inputs)
            })
            .collect()
    }
}

/// The type and shape of what is left of each channel's elements, one of each.
pub(super) fn pooled(inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
    let x = &inputs[0].shape;
    shaped(inputs, 0, "of rank 3 or more, [N, C, ...]", x.len() >= 3)?;
    let mut shape = vec![1; x.len()];
    shape[..2].copy_from_slice(&x[..2]);
    Ok(vec![Fact::f32(shape)])
}
