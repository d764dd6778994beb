use super::{Cost, Operator, Residual, broadcast};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, Formula, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// a * b, with numpy's broadcasting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mul {}

impl Operator for Mul {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        broadcast(inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        vec![inputs[0].zip(inputs[1], |a, b| a * b)]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::Value
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        let other = cx.value(1 - input)?;
        let g = cx.push(Self {}, &[g, other])?;
        cx.sum_to_input(g, input)
    }

    fn formula(&self, _inputs: usize) -> Option<Formula> {
        Some(Formula::new(&(Expr::input(0) * Expr::input(1))))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let case = |name: &str, a: &[usize], b: &[usize]| {
            let inputs = vec![CaseInput::variable(a), CaseInput::variable(b)];
            Case::new(format!("mul {name}"), Self {}, inputs)
        };
        vec![
            case("same", &[2, 17, 5, 3], &[2, 17, 5, 3]),
            case("sample", &[3, 3, 7, 7], &[3, 1, 1, 1]),
            case("scalar", &[2, 20, 3, 5], &[]),
        ]
    }
}
