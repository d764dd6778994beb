use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// The hyperbolic tangent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tanh {}

impl Pointwise for Tanh {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).tanh())
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0].tanh()
    }

    fn cases() -> Vec<Case> {
        unary_cases("tanh", Self {}, CaseInput::variable, -100..=100)
    }
}
