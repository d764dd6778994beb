use super::{Cost, Operator, affine, layer_normalization::epsilon, normalize, shaped};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// (x - mean) / sqrt(var + `epsilon`) * scale + bias, mean and variance being
/// those of a group of channels of one picture (Wu and He, 2018).
///
/// Inputs: x `[N, C, ...]`, scale `[C]`, bias `[C]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupNormalization {
    /// How many groups the channels make.
    pub num_groups: usize,
    /// Added to the variance.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
}

impl GroupNormalization {
    /// The elements of a group.
    fn length(&self, shape: &[usize]) -> usize {
        shape[1] / self.num_groups * shape[2..].iter().product::<usize>()
    }
}

impl Operator for GroupNormalization {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        affine::three(inputs)?;
        normalize::check_epsilon(self.epsilon)?;
        let x = &inputs[0].shape;
        shaped(inputs, 0, "of rank 2 or more, [N, C, ...]", x.len() >= 2)?;
        if self.num_groups == 0 || !x[1].is_multiple_of(self.num_groups) {
            return Err(OpError::Attribute {
                name: "num_groups",
                expected: "a divisor of the number of channels",
            });
        }
        affine::check(inputs, &x[1..2])?;
        Ok(vec![inputs[0].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let shape = &inputs[0].shape;
        let plane: usize = shape[2..].iter().product();
        let channel = |i: usize| i / plane % shape[1];
        let length = self.length(shape);
        vec![affine::reference(inputs, length, self.epsilon, channel)]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let shape = cx.dims(x);
        let lines = [shape[0], self.num_groups, self.length(&shape)];
        let y = affine::normalize_lines(cx, x, &lines, self.epsilon)?;
        let parameters = cx.inputs()[1..].to_vec();
        let mut channels = vec![1; shape.len() - 1];
        channels[0] = shape[1];
        Ok(Some(vec![affine::lower(cx, y, &parameters, &channels)?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 7)
    }

    fn cases() -> Vec<Case> {
        let rows: [(&[usize], usize, f64); 5] = [
            (&[2, 18, 5, 3], 6, 1e-5),
            (&[1, 33, 7, 7], 1, 1e-6),
            (&[2, 6, 9], 2, 1e-5),
            (&[3, 10], 5, 1e-2),
            (&[2, 4, 2, 3, 2], 2, 1e-5),
        ];
        rows.into_iter()
            .map(|(shape, num_groups, epsilon)| {
                let op = Self {
                    num_groups,
                    epsilon,
                };
                let shapes = [shape, &shape[1..2], &shape[1..2]];
                let inputs = shapes.map(CaseInput::variable).to_vec();
                Case::new(format!("group norm {shape:?} of {num_groups}"), op, inputs)
            })
            .collect()
    }
}
