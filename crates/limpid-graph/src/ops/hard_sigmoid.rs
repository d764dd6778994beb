use super::Pointwise;
use super::pointwise::{finite, unary_cases};
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula, OpError};
use serde::{Deserialize, Serialize};

/// min(max(`alpha` x + `beta`, 0), 1). With `alpha` 1/6 it is PyTorch's.
///
/// The gradient is 0 at both bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HardSigmoid {
    /// The slope between the bounds.
    pub alpha: f32,
    /// The value at 0.
    pub beta: f32,
}

impl Default for HardSigmoid {
    fn default() -> Self {
        Self {
            alpha: 0.2,
            beta: 0.5,
        }
    }
}

impl Pointwise for HardSigmoid {
    const OPERANDS: usize = 1;

    fn formula(&self) -> Formula {
        let line = Expr::input(0) * f64::from(self.alpha) + f64::from(self.beta);
        let upper = Expr::constant(1.0).less_or_equal(line.clone());
        let above = upper.select(1.0, line.clone());
        Formula::new(&line.less_or_equal(0.0).select(0.0, above))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        (f64::from(self.alpha) * x[0] + f64::from(self.beta)).clamp(0.0, 1.0)
    }

    fn check(&self) -> Result<(), OpError> {
        finite("alpha", self.alpha)?;
        finite("beta", self.beta)
    }

    fn kinks(&self) -> Vec<f64> {
        let at = |bound: f64| (bound - f64::from(self.beta)) / f64::from(self.alpha);
        vec![at(0.0), at(1.0)]
    }

    fn cases() -> Vec<Case> {
        let pytorch = Self {
            alpha: 1.0 / 6.0,
            ..Self::default()
        };
        let other = unary_cases("hard sigmoid 1/6", pytorch, CaseInput::variable, -9..=9);
        [
            unary_cases("hard sigmoid", Self::default(), CaseInput::variable, -9..=9),
            other,
        ]
        .concat()
    }
}
