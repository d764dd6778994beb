use super::Pointwise;
use super::pointwise::{unary_cases, whole_numbers};
use crate::case::{Case, CaseInput};
use crate::formula::Unary;
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// The greatest whole number not above x.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {}

impl Pointwise for Floor {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).unary(Unary::Floor))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0].floor()
    }

    fn kinks(&self) -> Vec<f64> {
        whole_numbers()
    }

    fn cases() -> Vec<Case> {
        unary_cases("floor", Self {}, CaseInput::variable, -9..=9)
    }
}
