use super::Pointwise;
use super::pointwise::{finite, unary_cases};
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula, OpError};
use serde::{Deserialize, Serialize};

/// `gamma` times: x where it is positive, `alpha` (e^x - 1) elsewhere.
///
/// At 0 the gradient is `gamma alpha`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selu {
    /// Where it goes for small x is -`gamma alpha`.
    pub alpha: f32,
    /// The slope of the positive part.
    pub gamma: f32,
}

impl Default for Selu {
    fn default() -> Self {
        Self {
            alpha: 1.673_263_2,
            gamma: 1.050_701,
        }
    }
}

impl Pointwise for Selu {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        let x = Expr::input(0);
        let negative = (x.clone().exp() - 1.0) * f64::from(self.alpha);
        let elu = x.clone().less_or_equal(0.0).select(negative, x);
        Formula::new(&(elu * f64::from(self.gamma)))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        let (alpha, gamma) = (f64::from(self.alpha), f64::from(self.gamma));
        match x[0] < 0.0 {
            true => gamma * alpha * x[0].exp_m1(),
            false => gamma * x[0],
        }
    }

    fn check(&self) -> Result<(), OpError> {
        finite("alpha", self.alpha)?;
        finite("gamma", self.gamma)
    }

    fn kinks(&self) -> Vec<f64> {
        vec![0.0]
    }

    fn cases() -> Vec<Case> {
        unary_cases("selu", Self::default(), CaseInput::variable, -80..=80)
    }
}
