use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// x min(max(x + 3, 0), 6) / 6.
///
/// The gradient at -3 is 0 and at 3 is 1, as in PyTorch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardSwish {}

impl Pointwise for HardSwish {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        let x = Expr::input(0);
        let middle = x.clone() * (x.clone() + 3.0) * (1.0 / 6.0);
        let upper = Expr::constant(3.0).less_or_equal(x.clone());
        let above = upper.select(x.clone(), middle);
        Formula::new(&x.less_or_equal(-3.0).select(0.0, above))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0] * (x[0] + 3.0).clamp(0.0, 6.0) / 6.0
    }

    fn kinks(&self) -> Vec<f64> {
        vec![-3.0, 3.0]
    }

    fn cases() -> Vec<Case> {
        unary_cases("hard swish", Self {}, CaseInput::variable, -80..=80)
    }
}
