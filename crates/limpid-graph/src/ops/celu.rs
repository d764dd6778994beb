use super::Pointwise;
use super::pointwise::{finite, unary_cases};
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula, OpError};
use serde::{Deserialize, Serialize};

/// max(x, 0) + min(`alpha` (e^(x / `alpha`) - 1), 0).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Celu {
    /// Where it goes for small x is -`alpha`. Not 0.
    pub alpha: f32,
}

impl Default for Celu {
    fn default() -> Self {
        Self { alpha: 1.0 }
    }
}

impl Pointwise for Celu {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        let (x, alpha) = (Expr::input(0), f64::from(self.alpha));
        let negative = ((x.clone() * (1.0 / alpha)).exp() - 1.0) * alpha;
        Formula::new(&x.clone().less_or_equal(0.0).select(negative, x))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        let alpha = f64::from(self.alpha);
        if x[0] < 0.0 {
            alpha * (x[0] / alpha).exp_m1()
        } else {
            x[0]
        }
    }

    fn check(&self) -> Result<(), OpError> {
        if self.alpha == 0.0 {
            return Err(OpError::Attribute {
                name: "alpha",
                expected: "not 0",
            });
        }
        finite("alpha", self.alpha)
    }

    fn cases() -> Vec<Case> {
        let other = unary_cases(
            "celu 0.5",
            Self { alpha: 0.5 },
            CaseInput::variable,
            -40..=40,
        );
        [
            unary_cases("celu", Self::default(), CaseInput::variable, -80..=80),
            other,
        ]
        .concat()
    }
}
