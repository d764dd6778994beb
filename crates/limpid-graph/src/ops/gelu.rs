use super::Pointwise;
use super::pointwise::unary_cases;
use crate::case::{Case, CaseInput};
use crate::formula::Unary;
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// How [`Gelu`] is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GeluApproximation {
    /// With the error function.
    #[default]
    None,
    /// With the hyperbolic tangent.
    Tanh,
}

/// x times the normal distribution function of x:
/// x / 2 (1 + erf(x / sqrt(2))), or approximately
/// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gelu {
    /// Which of the two.
    pub approximate: GeluApproximation,
}

/// sqrt(2 / pi)
const SLOPE: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
const CUBE: f64 = 0.044_715;

impl Pointwise for Gelu {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        let x = Expr::input(0);
        let s = match self.approximate {
            GeluApproximation::None => (x.clone() * FRAC_1_SQRT_2).unary(Unary::Erf),
            GeluApproximation::Tanh => {
                let square = x.clone() * x.clone();
                (x.clone() * (square * (SLOPE * CUBE) + SLOPE)).tanh()
            }
        };
        Formula::new(&(x * 0.5 * (s + 1.0)))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        let x = x[0];
        match self.approximate {
            GeluApproximation::None => x / 2.0 * (1.0 + Unary::Erf.apply(x / 2f64.sqrt())),
            GeluApproximation::Tanh => {
                let slope = (2.0 / std::f64::consts::PI).sqrt();
                x / 2.0 * (1.0 + (slope * (x + CUBE * x.powi(3))).tanh())
            }
        }
    }

    fn cases() -> Vec<Case> {
        let tanh = Self {
            approximate: GeluApproximation::Tanh,
        };
        let other = unary_cases("gelu tanh", tanh, CaseInput::variable, -80..=80);
        [
            unary_cases("gelu", Self::default(), CaseInput::variable, -80..=80),
            other,
        ]
        .concat()
    }
}
