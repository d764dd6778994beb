use super::{Cost, MaxPool, Operator, Residual, arity, image, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The gradient of [`MaxPool`]: each element of the cotangent is added where
/// its window had the largest element. A tap outside the input takes nothing.
///
/// Inputs: g `[N, C, oH, oW]` and bytes of the same shape, the taps
/// ky * kW + kx. Output: `[N, C, H, W]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPoolGradient {
    /// The window.
    pub pool: MaxPool,
    /// The `[H, W]` of the pooling's input.
    pub input: [usize; 2],
}

impl Operator for MaxPoolGradient {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "2", |n| n == 2)?;
        let [n, c, ..] = image(inputs, 0)?;
        typed(inputs, 1, DType::U8)?;
        let [h, w] = self.input;
        // A model's pictures are smaller, and no sum of extents overflows.
        if self.input.iter().any(|d| *d == 0 || *d > 1 << 48) {
            return Err(OpError::Attribute {
                name: "input",
                expected: "the extents of an image",
            });
        }
        let pooled = self.pool.output_of_bytes([n, c, h, w])?;
        for i in 0..2 {
            let fits = *inputs[i].shape == pooled;
            shaped(inputs, i, format!("{pooled:?}"), fits)?;
        }
        Ok(vec![Fact::f32([n, c, h, w])])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (g, taps) = (inputs[0], inputs[1]);
        let [n, c, oh, ow] = [0, 1, 2, 3].map(|i| g.shape[i]);
        let [h, w] = self.input;
        let pads = self.pool.pads(self.input);
        let mut out = RefTensor::from_fn([n, c, h, w], |_| 0.0);
        for (i, (g, tap)) in g.data.iter().zip(&taps.data).enumerate() {
            let tap = *tap as usize;
            let place = |position: usize, d: usize, tap: usize| {
                let at = position * self.pool.strides[d] + tap * self.pool.dilations[d];
                at.checked_sub(pads[d]).filter(|at| *at < self.input[d])
            };
            let y = place(i / ow % oh, 0, tap / self.pool.kernel[1]);
            let x = place(i % ow, 1, tap % self.pool.kernel[1]);
            if let (Some(y), Some(x)) = (y, x) {
                out.data[(i / ow / oh * h + y) * w + x] += g;
            }
        }
        vec![out]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        // A gradient is not differentiated again.
        Err(cx.no_gradient(input))
    }

    fn cost(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        self.pool.cost(outputs, inputs)
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for (name, pool, shape) in MaxPool::windows() {
            let [_, _, h, w] = shape;
            let Ok(pooled) = pool.output_of_bytes(shape) else {
                continue;
            };
            let op = Self {
                pool,
                input: [h, w],
            };
            let taps = CaseInput::bytes(&pooled, (pool.kernel[0] * pool.kernel[1]) as u8);
            let name = format!("max pool gradient {name}");
            let random = vec![CaseInput::fixed(&pooled), taps.clone()];
            let exact = vec![CaseInput::integers(&pooled, -9, 9), taps];
            cases.push(Case::new(&name, op, random));
            cases.push(Case::new(format!("{name} exact"), op, exact));
        }
        cases
    }
}
