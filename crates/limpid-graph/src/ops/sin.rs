use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::formula::Unary;
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// The sine of x in radians.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sin {}

impl Pointwise for Sin {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).unary(Unary::Sin))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0].sin()
    }

    fn cases() -> Vec<Case> {
        unary_cases("sin", Self {}, CaseInput::variable, -100..=100)
    }
}
