use super::Pointwise;
use super::pointwise::{binary_cases, whole_numbers, whole_variable};
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// 1 where a < b, else 0, with numpy's broadcasting. The gradient is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Less {}

impl Pointwise for Less {
    const OPERANDS: usize = 2;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).less(Expr::input(1)))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        f64::from(u8::from(x[0] < x[1]))
    }

    fn kinks(&self) -> Vec<f64> {
        whole_numbers()
    }

    fn cases() -> Vec<Case> {
        binary_cases(
            "less",
            Self {},
            CaseInput::variable,
            whole_variable,
            [-3..=3, -3..=3],
        )
    }
}
