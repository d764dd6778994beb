use super::{Cost, Operator, Residual, same};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, Formula, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// 1 / (1 + e^-x).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sigmoid {}

impl Operator for Sigmoid {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        same(inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        vec![inputs[0].map(|x| {
            let e = (-x.abs()).exp();
            if x < 0.0 {
                e / (1.0 + e)
            } else {
                1.0 / (1.0 + e)
            }
        })]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::Value
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, _input: usize) -> Result<ValueId, GraphError> {
        // y' = y - y^2
        let g = cx.cotangent(0)?;
        let y = cx.output_value(0)?;
        let square = cx.push(super::Mul {}, &[y, y])?;
        let slope = cx.push(super::Sub {}, &[y, square])?;
        cx.push(super::Mul {}, &[g, slope])
    }

    fn formula(&self, _inputs: usize) -> Option<Formula> {
        Some(Formula::new(&Expr::input(0).sigmoid()))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 16)
    }

    fn cases() -> Vec<Case> {
        let case = |name, input| Case::new(format!("sigmoid {name}"), Self {}, vec![input]);
        vec![
            case("image", CaseInput::variable(&[2, 17, 5, 3])),
            case("large", CaseInput::integers(&[1, 16, 5, 5], -80, 120)),
        ]
    }
}
