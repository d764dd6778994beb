use super::{Cost, Operator, Residual, broadcast};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, Formula, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// a + b, with numpy's broadcasting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {}

impl Operator for Add {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        broadcast(inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        vec![inputs[0].zip(inputs[1], |a, b| a + b)]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        cx.sum_to_input(g, input)
    }

    fn formula(&self, _inputs: usize) -> Option<Formula> {
        Some(Formula::new(&(Expr::input(0) + Expr::input(1))))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn cases() -> Vec<Case> {
        let pairs: [(&str, &[usize], &[usize]); 5] = [
            ("same", &[2, 17, 5, 3], &[2, 17, 5, 3]),
            ("batch", &[3, 3, 7, 7], &[1, 3, 7, 7]),
            ("sample", &[3, 3, 7, 7], &[3, 1, 1, 1]),
            ("channel", &[2, 33, 3, 3], &[1, 33, 1, 1]),
            ("rank", &[2, 5, 4, 4], &[4]),
        ];
        pairs
            .into_iter()
            .map(|(name, a, b)| {
                let inputs = vec![CaseInput::variable(a), CaseInput::variable(b)];
                Case::new(format!("add {name}"), Self {}, inputs)
            })
            .collect()
    }
}
