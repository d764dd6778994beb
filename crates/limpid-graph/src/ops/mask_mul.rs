use super::{Cost, Operator, Residual, arity, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// x where the mask is set, 0 elsewhere. Inputs: x, mask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskMul {}

impl Operator for MaskMul {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "2", |n| n == 2)?;
        typed(inputs, 0, limpid_tensor::DType::F32)?;
        typed(inputs, 1, limpid_tensor::DType::Bits)?;
        let x = &inputs[0].shape;
        shaped(inputs, 1, x.to_string(), inputs[1].shape == *x)?;
        Ok(vec![inputs[0].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        vec![inputs[0].zip(inputs[1], |x, m| if m == 0.0 { 0.0 } else { x })]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::Value
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        if input != 0 {
            return Err(cx.no_gradient(input));
        }
        let g = cx.cotangent(0)?;
        let mask = cx.value(1)?;
        cx.push(Self {}, &[g, mask])
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn linear(&self, input: usize) -> bool {
        input == 0
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        [&[2, 31, 7, 5][..], &[1, 16, 1, 1], &[3, 65]]
            .into_iter()
            .map(|shape| {
                let inputs = vec![CaseInput::variable(shape), CaseInput::bits(shape)];
                Case::new(format!("mask mul {shape:?}"), Self {}, inputs)
            })
            .collect()
    }
}
