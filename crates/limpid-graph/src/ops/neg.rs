use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// -x.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neg {}

impl Pointwise for Neg {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&-Expr::input(0))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        -x[0]
    }

    fn cases() -> Vec<Case> {
        unary_cases("neg", Self {}, CaseInput::variable, -9..=9)
    }
}
