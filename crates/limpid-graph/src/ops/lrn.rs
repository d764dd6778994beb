use super::{
    AxisFilter, Cost, Elementwise, Operator, SparseMatrix, arity, axis_filter, shaped, typed,
};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Local response normalisation across channels (Krizhevsky, Sutskever and
/// Hinton, 2012), as ONNX defines it:
/// x / (`bias` + `alpha` / `size` * sum(x^2))^`beta`, the sum being that of
/// `size` neighbouring channels.
///
/// Input: x `[N, C, ...]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LRN {
    /// How many channels are summed over.
    pub size: usize,
    /// The factor of the mean of squares.
    #[serde(default = "alpha")]
    pub alpha: f32,
    /// The exponent.
    #[serde(default = "beta")]
    pub beta: f32,
    /// Added to the mean of squares.
    #[serde(default = "bias")]
    pub bias: f32,
}

fn alpha() -> f32 {
    1e-4
}

fn beta() -> f32 {
    0.75
}

fn bias() -> f32 {
    1.0
}

impl LRN {
    /// The neighbours of a channel.
    fn window(&self, channel: usize, channels: usize) -> Range<usize> {
        let first = channel.saturating_sub((self.size - 1) / 2);
        first..channels.min(channel + self.size / 2 + 1)
    }
}

impl Operator for LRN {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        shaped(
            inputs,
            0,
            "of rank 2 or more, [N, C, ...]",
            inputs[0].shape.len() >= 2,
        )?;
        axis_filter::check_axis(inputs, 0, 1)?;
        if !(1..=1 << 10).contains(&self.size) {
            return Err(OpError::Attribute {
                name: "size",
                expected: "between 1 and 2^10",
            });
        }
        axis_filter::check_entries(inputs[0].shape[1], self.size)?;
        if ![self.alpha, self.beta, self.bias]
            .iter()
            .all(|v| v.is_finite())
        {
            return Err(OpError::Attribute {
                name: "alpha, beta and bias",
                expected: "finite",
            });
        }
        Ok(vec![inputs[0].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let [alpha, beta, bias] = [self.alpha, self.beta, self.bias].map(f64::from);
        vec![RefTensor::from_index(&x.shape, |at| {
            let mut other = at.to_vec();
            let mut sum = 0.0;
            for channel in 0..x.shape[1] {
                let distance = channel as i64 - at[1] as i64;
                let (behind, ahead) = ((self.size - 1) / 2, self.size / 2);
                if (-(behind as i64)..=ahead as i64).contains(&distance) {
                    other[1] = channel;
                    sum += x.at(&other).powi(2);
                }
            }
            x.at(at) / (bias + alpha / self.size as f64 * sum).powf(beta)
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let channels = cx.dims(x)[1];
        let [first, second] = [0, 1].map(Expr::input);
        let square = Elementwise::new(&(first.clone() * first.clone()), 1);
        let squares = cx.push(square, &[x])?;
        let row = |channel| self.window(channel, channels).map(|c| (c, 1.0)).collect();
        let filter = AxisFilter {
            axis: 1,
            matrix: SparseMatrix::new(channels, (0..channels).map(row)),
        };
        let sum = cx.push(filter, &[squares])?;
        let factor = f64::from(self.alpha) / self.size as f64;
        let base = second * factor + f64::from(self.bias);
        let y = first * base.pow(-f64::from(self.beta));
        Ok(Some(vec![cx.push(Elementwise::new(&y, 2), &[x, sum])?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 30 + self.size as u64)
    }

    fn cases() -> Vec<Case> {
        let case = |name: &str, op: Self, shape: &[usize]| {
            Case::new(format!("lrn {name}"), op, vec![CaseInput::variable(shape)])
        };
        let plain = |size| Self {
            size,
            alpha: 0.5,
            beta: 0.75,
            bias: 1.0,
        };
        let own = Self {
            alpha: 0.2,
            beta: 1.5,
            bias: 2.0,
            ..plain(4)
        };
        vec![
            case("five", plain(5), &[2, 17, 3, 5]),
            case("even", own, &[1, 33, 5, 3]),
            case("wider than the channels", plain(9), &[2, 3, 4, 4]),
            case("rank 3", plain(3), &[2, 7, 5]),
            case("one", plain(1), &[2, 5, 3, 3]),
        ]
    }
}
