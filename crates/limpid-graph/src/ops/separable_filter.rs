use super::{Cost, Operator, Residual, arity, count, image, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// A filter of rows and columns, and its derivative along a path of filters.
///
/// Inputs: x `[1 or N, C, H, W]`; for each of N images the matrices R
/// `[N, H, H]` and C `[N, W, W]` and their derivatives dR and dC of the same
/// shapes. Outputs, both `[N, C, H, W]`: R x C^T, and dR x C^T + R x dC^T.
///
/// It serves blurs that are no heat kernel, such as one with a zero border.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeparableFilter {
    /// Use the transposed matrices.
    pub transpose: bool,
}

impl Operator for SeparableFilter {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "5", |n| n == 5)?;
        let [batch, c, h, w] = image(inputs, 0)?;
        let n = inputs[1].shape.first().copied().unwrap_or(0);
        for (i, size) in [(1, h), (2, w), (3, h), (4, w)] {
            typed(inputs, i, limpid_tensor::DType::F32)?;
            let expected = format!("[{n}, {size}, {size}]");
            shaped(inputs, i, expected, *inputs[i].shape == [n, size, size])?;
        }
        let fits = batch == 1 || batch == n;
        shaped(inputs, 0, format!("of 1 or {n} images"), fits)?;
        let out = Fact::f32([n, c, h, w]);
        Ok(vec![out.clone(), out])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let [_, c, h, w] = [0, 1, 2, 3].map(|i| x.shape[i]);
        let n = inputs[1].shape[0];
        let at = |m: &[f64], size: usize, i: usize, j: usize| {
            if self.transpose { m[j * size + i] } else { m[i * size + j] }
        };
        let apply = |rows: usize, columns: usize| {
            let mut out = RefTensor::from_fn([n, c, h, w], |_| 0.0);
            for (plane, out) in out.data.chunks_mut(h * w).enumerate() {
                let x = &x.data[plane * h * w % x.data.len()..][..h * w];
                let rows = &inputs[rows].data[plane / c * h * h..][..h * h];
                let columns = &inputs[columns].data[plane / c * w * w..][..w * w];
                let mut half = vec![0.0; h * w];
                for (i, half) in half.iter_mut().enumerate() {
                    *half = (0..h).map(|j| at(rows, h, i / w, j) * x[j * w + i % w]).sum();
                }
                for (i, out) in out.iter_mut().enumerate() {
                    let row = &half[i / w * w..][..w];
                    *out = (0..w).map(|j| row[j] * at(columns, w, i % w, j)).sum();
                }
            }
            out
        };
        let slope = apply(3, 2).zip(&apply(1, 4), |a, b| a + b);
        vec![apply(1, 2), slope]
    }

    fn residual(&self, input: usize) -> Residual {
        if input == 0 { Residual::None } else { Residual::Value }
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        if input != 0 {
            return Err(cx.no_gradient(input));
        }
        let transpose = Self {
            transpose: !self.transpose,
        };
        let matrices = (1..5)
            .map(|i| cx.control_input(i))
            .collect::<Result<Vec<_>, _>>()?;
        let mut total = None;
        for output in 0..2 {
            if let Some(g) = cx.cotangent_of(output) {
                let inputs = [&[g][..], &matrices].concat();
                let both = cx.push_all(transpose, &inputs)?;
                total = Some(match total {
                    None => both[output],
                    Some(sum) => cx.push(super::Add {}, &[sum, both[output]])?,
                });
            }
        }
        let g = total.ok_or_else(|| cx.no_gradient(0))?;
        cx.sum_to_input(g, 0)
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        let (h, w) = (outputs[0].shape[2] as u64, outputs[0].shape[3] as u64);
        Cost::multiply_adds(count(&outputs[0].shape).saturating_mul(2 * h + 3 * w))
    }

    fn linear(&self, input: usize) -> bool {
        input == 0
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        [([1, 3, 17, 9], 3, false), ([2, 1, 7, 33], 2, true)]
            .into_iter()
            .map(|(x, n, transpose)| {
                let (h, w) = (x[2], x[3]);
                let inputs = vec![
                    CaseInput::variable(&x),
                    CaseInput::fixed(&[n, h, h]),
                    CaseInput::fixed(&[n, w, w]),
                    CaseInput::fixed(&[n, h, h]),
                    CaseInput::fixed(&[n, w, w]),
                ];
                Case::new(format!("separable filter {x:?} {n}"), Self { transpose }, inputs)
            })
            .collect()
    }
}
