use super::{Cost, Operator, Residual, broadcast};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, Formula, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// a - b, with numpy's broadcasting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sub {}

impl Operator for Sub {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        broadcast(inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        vec![inputs[0].zip(inputs[1], |a, b| a - b)]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        let g = cx.sum_to_input(g, input)?;
        if input == 0 { Ok(g) } else { cx.scale(g, -1.0) }
    }

    fn formula(&self, _inputs: usize) -> Option<Formula> {
        Some(Formula::new(&(Expr::input(0) - Expr::input(1))))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn cases() -> Vec<Case> {
        let case = |name: &str, a: &[usize], b: &[usize]| {
            let inputs = vec![CaseInput::variable(a), CaseInput::variable(b)];
            Case::new(format!("sub {name}"), Self {}, inputs)
        };
        vec![
            case("same", &[2, 17, 5, 3], &[2, 17, 5, 3]),
            case("batch", &[1, 3, 7, 7], &[3, 3, 7, 7]),
        ]
    }
}
