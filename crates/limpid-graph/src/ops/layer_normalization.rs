use super::{Cost, Operator, affine, arity, axis_in, normalize};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// (x - mean) / sqrt(var + `epsilon`) * scale + bias, mean and variance being
/// those of the axes from `axis` on (Ba, Kiros and Hinton, 2016).
///
/// Inputs: x, optionally a scale of the shape of those axes, optionally a bias
/// of the same shape.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNormalization {
    /// The first axis normalised over.
    pub axis: usize,
    /// Added to the variance.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
}

/// What is added to a variance unless a network says otherwise.
pub(super) fn epsilon() -> f64 {
    1e-5
}

impl Operator for LayerNormalization {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1 to 3", |n| (1..=3).contains(&n))?;
        let x = inputs[0];
        axis_in(self.axis, x.shape.len())?;
        normalize::check_epsilon(self.epsilon)?;
        affine::check(inputs, &x.shape[self.axis..])?;
        Ok(vec![x.clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let length = inputs[0].shape[self.axis..].iter().product();
        vec![affine::reference(inputs, length, self.epsilon, |i| {
            i % length
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let shape = cx.dims(x);
        let (lead, normalized) = shape.split_at(self.axis);
        let lines = [lead, &[normalized.iter().product()]].concat();
        let y = affine::normalize_lines(cx, x, &lines, self.epsilon)?;
        let parameters = cx.inputs()[1..].to_vec();
        Ok(Some(vec![affine::lower(cx, y, &parameters, normalized)?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 7)
    }

    fn cases() -> Vec<Case> {
        type Row = (&'static [usize], usize, f64, usize);
        let rows: [Row; 6] = [
            (&[2, 7, 33], 2, 1e-6, 2),
            (&[3, 65], 1, 1e-5, 2),
            (&[2, 5, 3, 17], 3, 1e-5, 1),
            (&[2, 5, 3, 7], 1, 1e-3, 2),
            (&[2, 2, 3, 2, 5], 3, 1e-5, 2),
            (&[2, 7, 31], 2, 1e-5, 0),
        ];
        rows.into_iter()
            .map(|(shape, axis, epsilon, parameters)| {
                let mut inputs = vec![CaseInput::variable(shape)];
                inputs.extend((0..parameters).map(|_| CaseInput::variable(&shape[axis..])));
                let name = format!("layer norm {shape:?} axis {axis} with {parameters}");
                Case::new(name, Self { axis, epsilon }, inputs)
            })
            .collect()
    }
}
