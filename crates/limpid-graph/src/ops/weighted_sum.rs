use super::{Cost, Operator, Residual, arity, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// acc + sum over n of weight_n * a_n * b_n, folded in the order of n.
///
/// Inputs: acc `[1, ...]`; weights `[N]`; a `[N, ...]`; optionally b
/// `[1 or N, ...]`, else 1. Output: `[1, ...]`. The order is part of the
/// operator: a sum does not depend on how its terms were split into batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedSum {}

impl Operator for WeightedSum {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "3 or 4", |n| n == 3 || n == 4)?;
        for i in 0..inputs.len() {
            typed(inputs, i, limpid_tensor::DType::F32)?;
        }
        let acc = &inputs[0].shape;
        shaped(inputs, 0, "[1, ...]", acc.first() == Some(&1))?;
        shaped(inputs, 1, "[N]", inputs[1].shape.len() == 1)?;
        let n = inputs[1].shape[0];
        let stack = |i: usize, one: bool| {
            let s = &inputs[i].shape;
            let batch = s.first() == Some(&n) || one && s.first() == Some(&1);
            shaped(inputs, i, format!("{n} times {acc}"), batch && s[1..] == acc[1..])
        };
        stack(2, false)?;
        if inputs.len() == 4 {
            stack(3, true)?;
        }
        Ok(vec![inputs[0].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (mut acc, weights, a) = (inputs[0].clone(), inputs[1], inputs[2]);
        let size = acc.data.len();
        for (n, weight) in weights.data.iter().enumerate() {
            for (i, acc) in acc.data.iter_mut().enumerate() {
                let b = inputs.get(3).map_or(1.0, |b| b.data[(n * size + i) % b.data.len()]);
                *acc += weight * a.data[n * size + i] * b;
            }
        }
        vec![acc]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::Value
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        // Only sums are differentiated through: an accumulator ends a plan.
        match input {
            0 => cx.cotangent(0),
            _ => Err(cx.no_gradient(input)),
        }
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[2], 3)
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let case = |name: &str, shape: [usize; 4], n: usize, b: Option<usize>| {
            let stack = |n| [n, shape[1], shape[2], shape[3]];
            let mut inputs = vec![
                CaseInput::variable(&shape),
                CaseInput::fixed(&[n]),
                CaseInput::fixed(&stack(n)),
            ];
            inputs.extend(b.map(|n| CaseInput::fixed(&stack(n))));
            Case::new(format!("weighted sum {name}"), Self {}, inputs)
        };
        vec![
            case("of products", [1, 3, 7, 5], 4, Some(4)),
            case("of products with one", [1, 3, 7, 5], 4, Some(1)),
            case("of values", [1, 17, 1, 3], 3, None),
            case("of one", [1, 3, 9, 9], 1, Some(1)),
        ]
    }
}
