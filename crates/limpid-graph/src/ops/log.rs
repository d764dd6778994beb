use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// The natural logarithm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {}

impl Pointwise for Log {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).log())
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0].ln()
    }

    fn cases() -> Vec<Case> {
        unary_cases("log", Self {}, CaseInput::positive_variable, 1..=100)
    }
}
