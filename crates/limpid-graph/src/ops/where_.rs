use super::Pointwise;
use crate::case::{Case, CaseInput};
use crate::{Expr, Formula};
use serde::{Deserialize, Serialize};

/// `a` where the condition is not 0, else `b`. Inputs: condition, a, b, with
/// numpy's broadcasting. The condition has the gradient 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Where {}

impl Pointwise for Where {
    const OPERANDS: usize = 3;

    fn formula(&self) -> Formula {
        let [condition, a, b] = [0, 1, 2].map(Expr::input);
        Formula::new(&condition.select(a, b))
    }

    fn reference(&self, x: &[f64]) -> f64 {
        if x[0] == 0.0 { x[2] } else { x[1] }
    }

    fn cases() -> Vec<Case> {
        let shapes: [(&str, [&[usize]; 3]); 4] = [
            ("image", [&[2, 17, 7, 5], &[2, 17, 7, 5], &[2, 17, 7, 5]]),
            ("mask of tokens", [&[7, 65], &[2, 7, 65], &[]]),
            ("channels", [&[2, 33, 3, 5], &[33, 1, 1], &[2, 33, 1, 1]]),
            ("picture", [&[1, 1, 5, 7], &[2, 3, 5, 7], &[5, 7]]),
        ];
        let case = |(name, shapes): (&str, [&[usize]; 3])| {
            let inputs = vec![
                CaseInput::integers(shapes[0], 0, 1),
                CaseInput::variable(shapes[1]),
                CaseInput::variable(shapes[2]),
            ];
            Case::new(format!("where {name}"), Self {}, inputs)
        };
        shapes.into_iter().map(case).collect()
    }
}
