use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::formula::Unary;
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// -1, 0 or 1; 0 for what is not a number, as in PyTorch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {}

impl Pointwise for Sign {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).unary(Unary::Sign))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        match x[0].partial_cmp(&0.0) {
            Some(order) => f64::from(order as i8),
            None => 0.0,
        }
    }

    fn kinks(&self) -> Vec<f64> {
        vec![0.0]
    }

    fn cases() -> Vec<Case> {
        unary_cases("sign", Self {}, CaseInput::variable, -9..=9)
    }
}
