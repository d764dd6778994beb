use super::Pointwise;
use super::pointwise::{unary_cases, whole_numbers};
use crate::case::{Case, CaseInput};
use crate::formula::Unary;
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// The least whole number not below x.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceil {}

impl Pointwise for Ceil {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).unary(Unary::Ceil))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0].ceil()
    }

    fn kinks(&self) -> Vec<f64> {
        whole_numbers()
    }

    fn cases() -> Vec<Case> {
        unary_cases("ceil", Self {}, CaseInput::variable, -9..=9)
    }
}
