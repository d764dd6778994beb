use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// x / (1 + |x|).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softsign {}

impl Pointwise for Softsign {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        let x = Expr::input(0);
        Formula::new(&(x.clone() / (x.abs() + 1.0)))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0] / (1.0 + x[0].abs())
    }

    fn cases() -> Vec<Case> {
        unary_cases("softsign", Self {}, CaseInput::variable, -100..=100)
    }
}
