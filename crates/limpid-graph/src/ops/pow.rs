use super::Pointwise;
use super::pointwise::binary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// a^b, with numpy's broadcasting. A negative base has a power where the
/// exponent is a whole number.
///
/// The gradient with respect to the exponent is 0 where the base is not positive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pow {}

impl Pointwise for Pow {
    const OPERANDS: usize = 2;

    fn formula(&self) -> Formula {
        Formula::new(&Expr::input(0).pow(Expr::input(1)))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0].powf(x[1])
    }

    fn cases() -> Vec<Case> {
        binary_cases(
            "pow",
            Self {},
            CaseInput::positive_variable,
            CaseInput::variable,
            [-3..=3, 0..=3],
        )
    }
}
