use super::{Cost, Operator, Residual, arity, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// acc_r + sum over n of weight_rn * a_n * b_n, folded in the order of n; a
/// term whose weight is zero is left out.
///
/// Inputs: acc `[R, ...]`; weights `[R, N]`; a `[N, ...]`; optionally b
/// `[1 or N, ...]`, else 1. Output: `[R, ...]`. The order is part of the
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
        shaped(inputs, 0, "[R, ...]", !acc.is_empty())?;
        let weights = &inputs[1].shape;
        let rows = weights.len() == 2 && weights[0] == acc[0];
        shaped(inputs, 1, format!("[{}, N]", acc[0]), rows)?;
        let n = weights[1];
        let stack = |i: usize, one: bool| {
            let s = &inputs[i].shape;
            let batch = s.first() == Some(&n) || one && s.first() == Some(&1);
            let fits = batch && s[1..] == acc[1..];
            shaped(inputs, i, format!("{n} times a row of {acc}"), fits)
        };
        stack(2, false)?;
        if inputs.len() == 4 {
            stack(3, true)?;
        }
        Ok(vec![inputs[0].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (mut acc, weights, a) = (inputs[0].clone(), inputs[1], inputs[2]);
        let n = weights.shape[1];
        let size = acc.data.len() / acc.shape[0];
        for (row, weights) in weights.data.chunks(n).enumerate() {
            for (n, weight) in weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                for (i, acc) in acc.data[row * size..][..size].iter_mut().enumerate() {
                    let at = n * size + i;
                    let b = inputs.get(3).map_or(1.0, |b| b.data[at % b.data.len()]);
                    *acc += weight * a.data[at] * b;
                }
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
                CaseInput::fixed(&[shape[0], n]),
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
            case("in rows", [8, 3, 7, 5], 5, Some(5)),
        ]
    }
}
