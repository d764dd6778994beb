use super::Pointwise;
use super::pointwise::{finite, unary_cases};
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula, OpError};
use serde::{Deserialize, Serialize};

/// x where it is positive, `alpha` (e^x - 1) elsewhere.
///
/// At 0 the gradient is `alpha`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Elu {
    /// Where it goes for small x is -`alpha`.
    pub alpha: f32,
}

impl Default for Elu {
    fn default() -> Self {
        Self { alpha: 1.0 }
    }
}

impl Pointwise for Elu {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        let x = Expr::input(0);
        let negative = (x.clone().exp() - 1.0) * f64::from(self.alpha);
        Formula::new(&x.clone().less_or_equal(0.0).select(negative, x))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        if x[0] < 0.0 {
            f64::from(self.alpha) * x[0].exp_m1()
        } else {
            x[0]
        }
    }

    fn check(&self) -> Result<(), OpError> {
        finite("alpha", self.alpha)
    }

    fn kinks(&self) -> Vec<f64> {
        vec![0.0]
    }

    fn cases() -> Vec<Case> {
        let other = unary_cases(
            "elu 0.5",
            Self { alpha: 0.5 },
            CaseInput::variable,
            -80..=80,
        );
        [
            unary_cases("elu", Self::default(), CaseInput::variable, -80..=80),
            other,
        ]
        .concat()
    }
}
