use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::formula::Unary;
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// x tanh(ln(1 + e^x)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mish {}

impl Pointwise for Mish {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        let x = Expr::input(0);
        Formula::new(&(x.clone() * x.unary(Unary::Softplus).tanh()))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        x[0] * x[0].exp().ln_1p().tanh()
    }

    fn cases() -> Vec<Case> {
        unary_cases("mish", Self {}, CaseInput::variable, -80..=80)
    }
}
