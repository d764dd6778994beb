use super::{Cost, Operator, Residual, Sigmoid, same};
use crate::case::{Case, CaseInput};
use crate::formula::Unary;
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, Formula, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// ln(1 + e^x), a smooth ReLU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softplus {}

impl Operator for Softplus {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        same(inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        vec![inputs[0].map(|x| x.max(0.0) + (-x.abs()).exp().ln_1p())]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::Value
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, _input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        let x = cx.value(0)?;
        let slope = cx.push(Sigmoid {}, &[x])?;
        cx.push(super::Mul {}, &[g, slope])
    }

    fn formula(&self, _inputs: usize) -> Option<Formula> {
        Some(Formula::new(&Expr::input(0).unary(Unary::Softplus)))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 20)
    }

    fn cases() -> Vec<Case> {
        let case = |name, input| Case::new(format!("softplus {name}"), Self {}, vec![input]);
        vec![
            case("image", CaseInput::variable(&[2, 17, 5, 3])),
            case("matrix", CaseInput::variable(&[3, 33])),
            case("large", CaseInput::integers(&[1, 16, 5, 5], -120, 120)),
        ]
    }
}
