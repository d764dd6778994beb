use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// 1 / x.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reciprocal {}

impl Pointwise for Reciprocal {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&(Expr::constant(1.0) / Expr::input(0)))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0].recip()
    }

    fn cases() -> Vec<Case> {
        unary_cases("reciprocal", Self {}, CaseInput::positive_variable, -9..=-1)
    }
}
