use super::{Cost, Operator, RangeMask, Residual, same};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, Formula, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// min(max(x, `min`), `max`): ReLU with `min` 0, ReLU6 with 0 and 6.
///
/// The gradient at a bound is 0, and NaN passes through, as PyTorch's `relu`
/// and `hardtanh` have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clip {
    /// The lower bound, if there is one.
    pub min: Option<f32>,
    /// The upper bound, if there is one.
    pub max: Option<f32>,
}

impl Clip {
    /// max(x, 0).
    #[must_use]
    pub fn relu() -> Self {
        Self {
            min: Some(0.0),
            max: None,
        }
    }

    /// The lower bound, or minus infinity.
    #[must_use]
    pub fn lower(&self) -> f32 {
        self.min.unwrap_or(f32::NEG_INFINITY)
    }

    /// The upper bound, or infinity.
    #[must_use]
    pub fn upper(&self) -> f32 {
        self.max.unwrap_or(f32::INFINITY)
    }
}

impl Operator for Clip {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        // A bound that is not a number is refused as well.
        if self
            .lower()
            .partial_cmp(&self.upper())
            .is_none_or(|o| o.is_gt())
        {
            return Err(OpError::Attribute {
                name: "min",
                expected: "at most `max`",
            });
        }
        same(inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (lo, hi) = (f64::from(self.lower()), f64::from(self.upper()));
        // `max` and `min` would turn what is not a number into a bound.
        let clip = |x: f64| if x.is_nan() { x } else { x.max(lo).min(hi) };
        vec![inputs[0].map(clip)]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::SignBits
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, _input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        let mask = cx.output_mask(RangeMask::inside(*self))?;
        cx.push(super::MaskMul {}, &[g, mask])
    }

    fn formula(&self, _inputs: usize) -> Option<Formula> {
        let x = Expr::input(0);
        let bound = |bound: Option<f32>| bound.map(|b| Expr::constant(f64::from(b)));
        let below = match bound(self.max) {
            Some(max) => max.clone().less_or_equal(x.clone()).select(max, x.clone()),
            None => x.clone(),
        };
        let clipped = match bound(self.min) {
            Some(min) => x.less_or_equal(min.clone()).select(min, below),
            None => below,
        };
        Some(Formula::new(&clipped))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 2)
    }

    fn kinks(&self) -> Vec<f64> {
        [self.min, self.max]
            .into_iter()
            .flatten()
            .map(f64::from)
            .collect()
    }

    fn cases() -> Vec<Case> {
        let case = |name: &str, op: Self, shape: &[usize]| {
            Case::new(format!("clip {name}"), op, vec![CaseInput::variable(shape)])
        };
        let relu6 = Self {
            min: Some(-0.5),
            max: Some(0.75),
        };
        vec![
            case("relu", Self::relu(), &[2, 31, 7, 7]),
            case("both", relu6, &[1, 65, 5, 1]),
            case("matrix", Self::relu(), &[3, 33]),
        ]
    }
}
