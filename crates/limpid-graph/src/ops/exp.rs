use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// e^x.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exp {}

impl Pointwise for Exp {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).exp())
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0].exp()
    }

    fn cases() -> Vec<Case> {
        unary_cases("exp", Self {}, CaseInput::variable, -80..=80)
    }
}
