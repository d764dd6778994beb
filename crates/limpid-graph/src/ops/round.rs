use super::Pointwise;
use super::pointwise::{unary_cases, whole_numbers};
use crate::case::{Case, CaseInput};
use crate::formula::Unary;
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// The nearest whole number, the even one of two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {}

impl Pointwise for Round {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).unary(Unary::Round))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        let below = x[0].floor();
        match x[0] - below {
            0.5 => 2.0 * (below / 2.0).ceil(),
            part if part < 0.5 => below,
            _ => below + 1.0,
        }
    }

    fn kinks(&self) -> Vec<f64> {
        // Where two whole numbers are equally near.
        whole_numbers().iter().map(|k| k + 0.5).collect()
    }

    fn cases() -> Vec<Case> {
        unary_cases("round", Self {}, CaseInput::variable, -9..=9)
    }
}
