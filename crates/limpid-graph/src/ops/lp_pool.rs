use super::{
    Cost, Elementwise, Operator, Padding, SparseMatrix, average_pool, count, reduce_l2, window,
};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// The `p`-norm of a window that slides over each channel,
/// sum(|x|^p)^(1 / p): `[N, C, H, W]` to `[N, C, oH, oW]`. Where it is 0 the
/// gradient is 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LpPool {
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
    /// The norm's exponent, at least 1.
    #[serde(default = "two")]
    pub p: f64,
}

fn two() -> f64 {
    2.0
}

impl Default for LpPool {
    fn default() -> Self {
        Self {
            kernel: [1, 1],
            strides: [1, 1],
            dilations: [1, 1],
            padding: Padding::default(),
            ceil_mode: false,
            p: two(),
        }
    }
}

impl LpPool {
    fn window(&self) -> window::Window {
        window::Window {
            kernel: self.kernel,
            strides: self.strides,
            dilations: self.dilations,
            padding: self.padding,
            ceil_mode: self.ceil_mode,
        }
    }
}

impl Operator for LpPool {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        if !(self.p >= 1.0 && self.p.is_finite()) {
            return Err(OpError::Attribute {
                name: "p",
                expected: "finite and at least 1",
            });
        }
        average_pool::infer(self.window(), inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let fact = Fact::f32(&x.shape);
        let shape = self
            .infer(&[&fact])
            .expect("accepted before")
            .remove(0)
            .shape;
        let input = [x.shape[2], x.shape[3]];
        let pads = self
            .padding
            .resolve(input, self.kernel, self.strides, self.dilations);
        vec![RefTensor::from_index(shape, |at| {
            let mut sum = 0.0;
            for (ky, kx) in
                (0..self.kernel[0]).flat_map(|y| (0..self.kernel[1]).map(move |x| (y, x)))
            {
                let place = |d: usize, tap: usize| {
                    let at = at[d + 2] * self.strides[d] + tap * self.dilations[d];
                    at.checked_sub(pads[d]).filter(|at| *at < input[d])
                };
                if let (Some(y), Some(across)) = (place(0, ky), place(1, kx)) {
                    sum += x.at(&[at[0], at[1], y, across]).abs().powf(self.p);
                }
            }
            sum.powf(1.0 / self.p)
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let dims = cx.dims(x);
        let axes = self.window().axes([dims[2], dims[3]]);
        let axes = axes.map_err(|e| cx.error(e))?;
        let sums = axes.map(|axis| {
            let row = |position| axis.taps(position).map(|(_, at)| (at, 1.0)).collect();
            SparseMatrix::new(axis.input, (0..axis.positions).map(row))
        });
        let v = || Expr::input(0);
        let power = match self.p {
            1.0 => v().abs(),
            2.0 => v() * v(),
            p => v().abs().pow(p),
        };
        let powers = cx.push(Elementwise::new(&power, 1), &[x])?;
        let sum = average_pool::filter(cx, powers, sums)?;
        let norm = Elementwise::new(&reduce_l2::root(&v(), self.p), 1);
        Ok(Some(vec![cx.push(norm, &[sum])?]))
    }

    fn cost(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        let taps = (self.kernel[0] + self.kernel[1]) as u64;
        let sums = count(&outputs[0].shape).saturating_mul(taps + 1);
        Cost {
            multiply_adds: 0,
            elementwise: sums.saturating_add(count(&inputs[0].shape)),
        }
    }

    fn kinks(&self) -> Vec<f64> {
        vec![0.0]
    }

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for (name, pool, shape) in super::MaxPool::windows() {
            // One window with other exponents is enough.
            let powers: &[f64] = if name == "oblong" {
                &[1.0, 2.0, 3.0]
            } else {
                &[2.0]
            };
            for &p in powers {
                let op = Self {
                    kernel: pool.kernel,
                    strides: pool.strides,
                    dilations: pool.dilations,
                    padding: pool.padding,
                    ceil_mode: pool.ceil_mode,
                    p,
                };
                let name = format!("lp pool {name} p {p}");
                cases.push(Case::new(name, op, vec![CaseInput::variable(&shape)]));
            }
        }
        cases
    }
}
