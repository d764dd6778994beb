use super::Pointwise;
use super::pointwise::binary_cases;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// x where it is positive, `slope` x elsewhere. Inputs: x, slope, with numpy's
/// broadcasting. At 0 the gradient is the slope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PRelu {}

impl Pointwise for PRelu {
    const OPERANDS: usize = 2;

    fn formula(&self) -> Formula {
        let [x, slope] = [0, 1].map(Expr::input);
        let negative = x.clone().less_or_equal(0.0);
        Formula::new(&negative.select(slope * x.clone(), x))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        if x[0] > 0.0 { x[0] } else { x[1] * x[0] }
    }

    fn kinks(&self) -> Vec<f64> {
        vec![0.0]
    }

    fn cases() -> Vec<Case> {
        binary_cases(
            "p relu",
            Self {},
            CaseInput::variable,
            CaseInput::variable,
            [-9..=9, -9..=9],
        )
    }
}
