use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// The square root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sqrt {}

impl Pointwise for Sqrt {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).sqrt())
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0].sqrt()
    }

    fn cases() -> Vec<Case> {
        unary_cases("sqrt", Self {}, CaseInput::positive_variable, 0..=100)
    }
}
