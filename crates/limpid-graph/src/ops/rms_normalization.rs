use super::{
    Cost, Elementwise, Operator, ReduceMean, affine, arity, axis_in, layer_normalization::epsilon,
    normalize,
};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// x / sqrt(mean(x^2) + `epsilon`) * scale, the mean being that of the axes from
/// `axis` on (Zhang and Sennrich, 2019).
///
/// Inputs: x, optionally a scale of the shape of those axes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RMSNormalization {
    /// The first axis normalised over.
    pub axis: usize,
    /// Added to the mean of squares.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
}

impl Operator for RMSNormalization {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1 or 2", |n| n == 1 || n == 2)?;
        let x = inputs[0];
        axis_in(self.axis, x.shape.len())?;
        normalize::check_epsilon(self.epsilon)?;
        affine::check(inputs, &x.shape[self.axis..])?;
        Ok(vec![x.clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let mut out = inputs[0].clone();
        let length = out.shape[self.axis..].iter().product();
        for line in out.data.chunks_mut(length) {
            let mean = line.iter().map(|v| v.powi(2)).sum::<f64>() / length as f64;
            for (i, v) in line.iter_mut().enumerate() {
                let scale = inputs.get(1).map_or(1.0, |t| t.data[i]);
                *v *= scale / (mean + self.epsilon).sqrt();
            }
        }
        vec![out]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let [first, second, third] = [0, 1, 2].map(Expr::input);
        let square = Elementwise::new(&(first.clone() * first.clone()), 1);
        let squares = cx.push(square, &[x])?;
        let axes = (self.axis..cx.dims(x).len()).collect();
        let mean = cx.push(ReduceMean { axes }, &[squares])?;
        let y = first / (second + self.epsilon).sqrt();
        let mut operands = vec![x, mean];
        let y = match cx.inputs().get(1) {
            Some(&scale) => {
                operands.push(scale);
                y * third
            }
            None => y,
        };
        let y = Elementwise::new(&y, operands.len());
        Ok(Some(vec![cx.push(y, &operands)?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 6)
    }

    fn cases() -> Vec<Case> {
        let rows: [(&[usize], usize, usize); 4] = [
            (&[2, 7, 33], 2, 1),
            (&[3, 65], 1, 1),
            (&[2, 5, 3, 7], 1, 1),
            (&[2, 2, 3, 2, 5], 4, 0),
        ];
        rows.into_iter()
            .map(|(shape, axis, parameters)| {
                let mut inputs = vec![CaseInput::variable(shape)];
                inputs.extend((0..parameters).map(|_| CaseInput::variable(&shape[axis..])));
                let op = Self {
                    axis,
                    epsilon: 1e-5,
                };
                Case::new(format!("rms norm {shape:?} axis {axis}"), op, inputs)
            })
            .collect()
    }
}
