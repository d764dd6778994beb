use super::Pointwise;
use super::pointwise::{binary_cases, whole_numbers, whole_variable};
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// The larger of two numbers, with numpy's broadcasting; not a number where
/// one of them is not. At a tie both have half the gradient, as in PyTorch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Max {}

impl Pointwise for Max {
    const OPERANDS: usize = 2;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).max(Expr::input(1)))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        match x[0].partial_cmp(&x[1]) {
            None => f64::NAN,
            Some(order) if order.is_gt() => x[0],
            Some(_) => x[1],
        }
    }

    fn kinks(&self) -> Vec<f64> {
        whole_numbers()
    }

    fn cases() -> Vec<Case> {
        binary_cases(
            "max",
            Self {},
            CaseInput::variable,
            whole_variable,
            [-3..=3, -3..=3],
        )
    }
}
