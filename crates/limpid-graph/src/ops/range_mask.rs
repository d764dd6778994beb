use super::{Clip, Cost, Operator, Residual, arity, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// The mask of the elements strictly between the bounds of `clip`: what the
/// gradient of [`Clip`] keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeMask {
    /// What leaves the elements of the mask as they are.
    pub clip: Clip,
}

impl RangeMask {
    /// The mask of what `clip` leaves as it is.
    #[must_use]
    pub fn inside(clip: Clip) -> Self {
        Self { clip }
    }
}

impl Operator for RangeMask {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, limpid_tensor::DType::F32)?;
        Ok(vec![Fact::bits(&inputs[0].shape)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (lo, hi) = (f64::from(self.clip.lower()), f64::from(self.clip.upper()));
        vec![inputs[0].map(|x| f64::from(u8::from(lo < x && x < hi)))]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        Err(cx.no_gradient(input))
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[0], 2)
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let case = |name: &str, op: Self, shape: &[usize]| {
            Case::new(format!("range mask {name}"), op, vec![CaseInput::fixed(shape)])
        };
        let positive = Self::inside(Clip::relu());
        let both = Self::inside(Clip {
            min: Some(-0.5),
            max: Some(0.75),
        });
        vec![
            case("positive", positive, &[2, 31, 7, 7]),
            case("both", both, &[2, 33, 1, 5]),
            Case::new(
                "range mask at the bounds",
                positive,
                vec![CaseInput::integers(&[1, 17, 5, 5], -1, 1)],
            ),
        ]
    }
}
