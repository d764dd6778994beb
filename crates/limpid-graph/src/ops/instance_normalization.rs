use super::{Cost, GroupNormalization, Operator, layer_normalization::epsilon, shaped};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// (x - mean) / sqrt(var + `epsilon`) * scale + bias, mean and variance being
/// those of one channel of one picture (Ulyanov, Vedaldi and Lempitsky, 2016).
///
/// Inputs: x `[N, C, ...]` of rank 3 or more, scale `[C]`, bias `[C]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceNormalization {
    /// Added to the variance.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
}

impl InstanceNormalization {
    /// The normalisation of groups of one channel each.
    fn groups(&self, channels: usize) -> GroupNormalization {
        GroupNormalization {
            num_groups: channels,
            epsilon: self.epsilon,
        }
    }
}

impl Operator for InstanceNormalization {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        super::affine::three(inputs)?;
        let x = &inputs[0].shape;
        shaped(inputs, 0, "of rank 3 or more, [N, C, ...]", x.len() >= 3)?;
        self.groups(x[1]).infer(inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        self.groups(inputs[0].shape[1]).reference(inputs)
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let channels = cx.dims(cx.input(0))[1];
        let inputs = cx.inputs().to_vec();
        Ok(Some(vec![cx.push(self.groups(channels), &inputs)?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 7)
    }

    fn cases() -> Vec<Case> {
        let rows: [(&[usize], f64); 3] = [
            (&[2, 17, 5, 3], 1e-5),
            (&[2, 5, 9], 1e-5),
            (&[2, 3, 2, 3, 2], 1e-3),
        ];
        rows.into_iter()
            .map(|(shape, epsilon)| {
                let shapes = [shape, &shape[1..2], &shape[1..2]];
                let inputs = shapes.map(CaseInput::variable).to_vec();
                Case::new(format!("instance norm {shape:?}"), Self { epsilon }, inputs)
            })
            .collect()
    }
}
