use super::Pointwise;
use super::pointwise::binary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// a / b, with numpy's broadcasting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Div {}

impl Pointwise for Div {
    const OPERANDS: usize = 2;

    fn formula(&self) -> Formula {
        Formula::new(&(Expr::input(0) / Expr::input(1)))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0] / x[1]
    }

    fn cases() -> Vec<Case> {
        binary_cases(
            "div",
            Self {},
            CaseInput::variable,
            CaseInput::positive_variable,
            [-9..=9, -4..=-1],
        )
    }
}
