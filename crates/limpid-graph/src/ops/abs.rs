use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// |x|; its gradient at 0 is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abs {}

impl Pointwise for Abs {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).abs())
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0].abs()
    }

    fn kinks(&self) -> Vec<f64> {
        vec![0.0]
    }

    fn cases() -> Vec<Case> {
        unary_cases("abs", Self {}, CaseInput::variable, -9..=9)
    }
}
