use super::{Cost, Operator, Residual, arity, normalize, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::{LowerContext, VjpContext};
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// (x - mean) / sqrt(var + `epsilon`) * scale + bias, channel by channel, with
/// statistics that are constants (inference).
///
/// Inputs: x `[N, C, ...]` of rank 2 to 8, scale `[C]`, bias `[C]`, mean `[C]`, variance `[C]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNormalization {
    /// Added to the variance.
    pub epsilon: f64,
}

impl BatchNormalization {
    /// The factor and the offset of each channel, y = factor * x + offset, in f64.
    #[must_use]
    pub fn affine(&self, [scale, bias, mean, variance]: [&[f64]; 4]) -> Vec<(f64, f64)> {
        (0..scale.len())
            .map(|c| {
                let factor = scale[c] / (variance[c] + self.epsilon).sqrt();
                (factor, bias[c] - mean[c] * factor)
            })
            .collect()
    }
}

impl Operator for BatchNormalization {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "5", |n| n == 5)?;
        typed(inputs, 0, limpid_tensor::DType::F32)?;
        let rank = inputs[0].shape.len();
        shaped(
            inputs,
            0,
            "of rank 2 to 8, [N, C, ...]",
            (2..=8).contains(&rank),
        )?;
        let c = inputs[0].shape[1];
        for i in 1..5 {
            typed(inputs, i, limpid_tensor::DType::F32)?;
            shaped(inputs, i, format!("[{c}]"), *inputs[i].shape == [c])?;
        }
        normalize::check_epsilon(self.epsilon)?;
        Ok(vec![inputs[0].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let affine = self.affine([1, 2, 3, 4].map(|i| &inputs[i].data[..]));
        let plane: usize = x.shape[2..].iter().product();
        vec![RefTensor::from_fn(&x.shape, |i| {
            let (factor, offset) = affine[i / plane % x.shape[1]];
            x.data[i] * factor + offset
        })]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        if input != 0 {
            return Err(cx.no_gradient(input));
        }
        // The same operator with mean and bias zero.
        let g = cx.cotangent(0)?;
        let (scale, variance) = (cx.constant_input(1)?, cx.constant_input(4)?);
        let zero = cx.constant_filled(&[cx.input_fact(1).shape[0]], 0.0)?;
        cx.push(*self, &[g, scale, zero, zero, variance])
    }

    /// Another rank than 4 is that of an image of one column.
    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let mut inputs = cx.inputs().to_vec();
        let shape = cx.dims(inputs[0]);
        if shape.len() == 4 {
            return Ok(None);
        }
        let column = [shape[0], shape[1], shape[2..].iter().product(), 1];
        inputs[0] = cx.reshape(inputs[0], &column)?;
        let y = cx.push(*self, &inputs)?;
        Ok(Some(vec![cx.reshape(y, &shape)?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 2)
    }

    fn parameter(&self, input: usize) -> bool {
        (1..5).contains(&input)
    }

    fn cases() -> Vec<Case> {
        let rows: [(&[usize], f64); 5] = [
            (&[2, 17, 5, 3], 1e-3),
            (&[1, 64, 7, 7], 1e-5),
            (&[3, 33], 1e-3),
            (&[2, 17, 9], 1e-5),
            (&[2, 3, 2, 3, 4], 1e-5),
        ];
        rows.into_iter()
            .map(|(shape, epsilon)| {
                let c = [shape[1]];
                let inputs = vec![
                    CaseInput::variable(shape),
                    CaseInput::constant(&c),
                    CaseInput::constant(&c),
                    CaseInput::constant(&c),
                    CaseInput::positive_constant(&c),
                ];
                Case::new(format!("batch norm {shape:?}"), Self { epsilon }, inputs)
            })
            .collect()
    }
}
