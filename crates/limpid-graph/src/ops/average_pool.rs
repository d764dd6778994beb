use super::{
    AxisFilter, Cost, Operator, Padding, SparseMatrix, arity, axis_filter, count, image, window,
};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// The mean of a window that slides over each channel: `[N, C, H, W]` to
/// `[N, C, oH, oW]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AveragePool {
    /// The window's extents, `[vertical, horizontal]`.
    pub kernel: [usize; 2],
    /// Steps of the window.
    #[serde(default = "window::ones")]
    pub strides: [usize; 2],
    /// Distances between the window's taps.
    #[serde(default = "window::ones")]
    pub dilations: [usize; 2],
    /// How far the window may hang over the input.
    #[serde(default)]
    pub padding: Padding,
    /// Whether a last window that hangs over the end counts. It must begin in
    /// the input or the padding before it.
    #[serde(default)]
    pub ceil_mode: bool,
    /// Whether the padding counts, as zeros. What a window of `ceil_mode` has
    /// beyond the padding does not.
    #[serde(default)]
    pub count_include_pad: bool,
}

impl Default for AveragePool {
    fn default() -> Self {
        Self {
            kernel: [1, 1],
            strides: [1, 1],
            dilations: [1, 1],
            padding: Padding::default(),
            ceil_mode: false,
            count_include_pad: false,
        }
    }
}

impl AveragePool {
    fn window(&self) -> window::Window {
        window::Window {
            kernel: self.kernel,
            strides: self.strides,
            dilations: self.dilations,
            padding: self.padding,
            ceil_mode: self.ceil_mode,
        }
    }

    /// The means along one axis.
    fn means(&self, axis: window::Axis) -> SparseMatrix {
        let row = |position| {
            let taps: Vec<_> = axis.taps(position).collect();
            let counted = if self.count_include_pad {
                axis.padded_taps(position)
            } else {
                taps.len()
            };
            let weight = (1.0 / counted as f64) as f32;
            taps.into_iter().map(|(_, at)| (at, weight)).collect()
        };
        SparseMatrix::new(axis.input, (0..axis.positions).map(row))
    }
}

/// The extents of what slides `window` over an image, whose sums are written
/// as matrices.
pub(super) fn infer(window: window::Window, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
    arity(inputs, "1", |n| n == 1)?;
    let [n, c, h, w] = image(inputs, 0)?;
    let axes = window.axes([h, w])?;
    for (i, axis) in axes.iter().enumerate() {
        axis_filter::check_axis(inputs, 0, i + 2)?;
        axis_filter::check_entries(axis.positions, axis.kernel)?;
    }
    Ok(vec![Fact::f32([
        n,
        c,
        axes[0].positions,
        axes[1].positions,
    ])])
}

/// A matrix across the image, and then one down.
pub(super) fn filter(
    cx: &mut LowerContext<'_>,
    x: ValueId,
    [down, across]: [SparseMatrix; 2],
) -> Result<ValueId, GraphError> {
    let filter = |axis, matrix| AxisFilter { axis, matrix };
    let x = cx.push(filter(3, across), &[x])?;
    cx.push(filter(2, down), &[x])
}

impl Operator for AveragePool {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        infer(self.window(), inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let fact = Fact::f32(&x.shape);
        let shape = self
            .infer(&[&fact])
            .expect("accepted before")
            .remove(0)
            .shape;
        let [h, w] = [2, 3].map(|i| x.shape[i] as i64);
        let [top, left, bottom, right] = self
            .padding
            .resolve(
                [h as usize, w as usize],
                self.kernel,
                self.strides,
                self.dilations,
            )
            .map(|p| p as i64);
        vec![RefTensor::from_index(shape, |at| {
            let (mut sum, mut counted) = (0.0, 0);
            for tap in 0..self.kernel[0] * self.kernel[1] {
                let place = |d: usize, tap: usize| {
                    (at[d + 2] * self.strides[d] + tap * self.dilations[d]) as i64
                };
                let y = place(0, tap / self.kernel[1]) - top;
                let across = place(1, tap % self.kernel[1]) - left;
                if (0..h).contains(&y) && (0..w).contains(&across) {
                    sum += x.at(&[at[0], at[1], y as usize, across as usize]);
                    counted += 1;
                } else if self.count_include_pad && y < h + bottom && across < w + right {
                    counted += 1;
                }
            }
            sum / f64::from(counted.max(1))
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let dims = cx.dims(x);
        let axes = self.window().axes([dims[2], dims[3]]);
        let axes = axes.map_err(|e| cx.error(e))?;
        let means = axes.map(|axis| self.means(axis));
        Ok(Some(vec![filter(cx, x, means)?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        let taps = (self.kernel[0] + self.kernel[1]) as u64;
        Cost {
            multiply_adds: 0,
            elementwise: count(&outputs[0].shape).saturating_mul(taps),
        }
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for (name, pool, shape) in super::MaxPool::windows() {
            let padded = pool.padding != Padding::default();
            for count_include_pad in [false, true].into_iter().take(1 + usize::from(padded)) {
                let op = Self {
                    kernel: pool.kernel,
                    strides: pool.strides,
                    dilations: pool.dilations,
                    padding: pool.padding,
                    ceil_mode: pool.ceil_mode,
                    count_include_pad,
                };
                let name = format!("average pool {name} {count_include_pad}");
                cases.push(Case::new(name, op, vec![CaseInput::variable(&shape)]));
            }
        }
        cases
    }
}
