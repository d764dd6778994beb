use super::{Cost, Operator, SparseMatrix, arity, average_pool, axis_filter, image};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Means of windows that divide an image into `output` rows and columns, as
/// PyTorch places them: window i of n begins at floor(i * extent / n) and ends
/// before ceil((i + 1) * extent / n).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveAveragePool {
    /// The output's `[height, width]`.
    pub output: [usize; 2],
}

/// Window `i` of `n` over an axis of this extent.
fn window(i: usize, n: usize, extent: usize) -> Range<usize> {
    i * extent / n..((i + 1) * extent).div_ceil(n)
}

impl Operator for AdaptiveAveragePool {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        let [n, c, ..] = image(inputs, 0)?;
        let [oh, ow] = self.output;
        if self.output.iter().any(|d| !(1..=1 << 20).contains(d)) {
            return Err(OpError::Attribute {
                name: "output",
                expected: "between 1 and 2^20",
            });
        }
        axis_filter::check_axis(inputs, 0, 2)?;
        axis_filter::check_axis(inputs, 0, 3)?;
        Ok(vec![Fact::f32([n, c, oh, ow])])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let [n, c, h, w] = [0, 1, 2, 3].map(|i| x.shape[i]);
        let [oh, ow] = self.output;
        vec![RefTensor::from_index([n, c, oh, ow], |at| {
            let inside = |i: usize, n: usize, k: usize, extent: usize| {
                let (k, i, n, extent) = (k as f64, i as f64, n as f64, extent as f64);
                k >= (i * extent / n).floor() && k < ((i + 1.0) * extent / n).ceil()
            };
            let (mut sum, mut counted) = (0.0, 0.0);
            for (y, across) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                if inside(at[2], oh, y, h) && inside(at[3], ow, across, w) {
                    sum += x.at(&[at[0], at[1], y, across]);
                    counted += 1.0;
                }
            }
            sum / counted
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let dims = cx.dims(x);
        let means = [0, 1].map(|d| {
            let (n, extent) = (self.output[d], dims[d + 2]);
            let row = |i| {
                let window = window(i, n, extent);
                let weight = (1.0 / window.len() as f64) as f32;
                window.map(|at| (at, weight)).collect()
            };
            SparseMatrix::new(extent, (0..n).map(row))
        });
        Ok(Some(vec![average_pool::filter(cx, x, means)?]))
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[0], 2)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let rows = [
            ([2, 17, 7, 9], [7, 7]),
            ([1, 33, 13, 13], [6, 6]),
            ([1, 16, 5, 3], [1, 1]),
            ([1, 5, 3, 2], [7, 5]),
            ([2, 3, 8, 12], [4, 3]),
        ];
        rows.into_iter()
            .map(|(shape, output)| {
                let inputs = vec![CaseInput::variable(&shape)];
                Case::new(
                    format!("adaptive average pool {shape:?} {output:?}"),
                    Self { output },
                    inputs,
                )
            })
            .collect()
    }
}
