use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::formula::Unary;
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// The error function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erf {}

impl Pointwise for Erf {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).unary(Unary::Erf))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        // Its own test holds this function to the C library's.
        Unary::Erf.apply(x[0])
    }

    fn cases() -> Vec<Case> {
        unary_cases("erf", Self {}, CaseInput::variable, -9..=9)
    }
}
