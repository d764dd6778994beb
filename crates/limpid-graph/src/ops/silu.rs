use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// x / (1 + e^-x), also called swish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silu {}

impl Pointwise for Silu {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        let x = Expr::input(0);
        Formula::new(&(x.clone() * x.sigmoid()))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0] / (1.0 + (-x[0]).exp())
    }

    fn cases() -> Vec<Case> {
        unary_cases("silu", Self {}, CaseInput::variable, -80..=80)
    }
}
