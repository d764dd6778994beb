use super::Pointwise;
use super::pointwise::{finite, unary_cases};
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula, OpError};
use serde::{Deserialize, Serialize};

/// x where it is positive, `alpha` x elsewhere.
///
/// At 0 the gradient is `alpha`, as in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeakyRelu {
    /// The slope of the negative part.
    pub alpha: f32,
}

impl Default for LeakyRelu {
    fn default() -> Self {
        Self { alpha: 0.01 }
    }
}

impl Pointwise for LeakyRelu {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        let x = Expr::input(0);
        let negative = x.clone() * f64::from(self.alpha);
        Formula::new(&x.clone().less_or_equal(0.0).select(negative, x))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        if x[0] > 0.0 {
            x[0]
        } else {
            f64::from(self.alpha) * x[0]
        }
    }

    fn check(&self) -> Result<(), OpError> {
        finite("alpha", self.alpha)
    }

    fn kinks(&self) -> Vec<f64> {
        vec![0.0]
    }

    fn cases() -> Vec<Case> {
        // A slope whose products f32 holds.
        let other = unary_cases(
            "leaky relu 2",
            Self { alpha: 2.0 },
            CaseInput::variable,
            -9..=9,
        );
        [
            unary_cases("leaky relu", Self::default(), CaseInput::variable, -9..=9),
            other,
        ]
        .concat()
    }
}
