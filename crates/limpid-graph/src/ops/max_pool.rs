use super::{Cost, MaxPoolGradient, Operator, Padding, Residual, arity, count, image, window};
use crate::case::{Case, CaseInput};
use crate::passes::{LowerContext, VjpContext};
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The most taps of a window whose largest one byte can tell.
const MAX_TAPS: usize = 256;

/// The largest element of a window that slides over each channel; the padding
/// is minus infinity. What is not a number wins, as in PyTorch.
///
/// Input: x `[N, C, H, W]`. Outputs: `[N, C, oH, oW]`, and with `store_argmax`
/// bytes of the same shape: the tap ky * kW + kx of the first element, in
/// row-major order, that is the largest of its window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool {
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
    /// Whether the taps of the largest elements are put out. Passes set it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub store_argmax: bool,
}

impl Default for MaxPool {
    fn default() -> Self {
        Self {
            kernel: [1, 1],
            strides: [1, 1],
            dilations: [1, 1],
            padding: Padding::default(),
            ceil_mode: false,
            store_argmax: false,
        }
    }
}

impl MaxPool {
    /// Padding at `[top, left, bottom, right]` of an input of `[height, width]`.
    #[must_use]
    pub fn pads(&self, input: [usize; 2]) -> [usize; 4] {
        self.padding
            .resolve(input, self.kernel, self.strides, self.dilations)
    }

    pub(super) fn window(&self) -> window::Window {
        window::Window {
            kernel: self.kernel,
            strides: self.strides,
            dilations: self.dilations,
            padding: self.padding,
            ceil_mode: self.ceil_mode,
        }
    }

    /// The `[N, C, H, W]` of the output where one byte tells the tap.
    pub(super) fn output_of_bytes(&self, input: [usize; 4]) -> Result<[usize; 4], OpError> {
        let output = self.window().output(input)?;
        if self.kernel[0] * self.kernel[1] > MAX_TAPS {
            return Err(OpError::Attribute {
                name: "kernel",
                expected: "a window of at most 256 taps",
            });
        }
        Ok(output)
    }

    /// The largest elements and their taps.
    pub(super) fn naive(&self, x: &RefTensor) -> [RefTensor; 2] {
        let [n, c, h, w] = [0, 1, 2, 3].map(|i| x.shape[i]);
        let [down, across] = self.window().axes([h, w]).expect("accepted before");
        let shape = [n, c, down.positions, across.positions];
        let mut taps = RefTensor::from_fn(shape, |_| 0.0);
        let mut next = 0;
        let largest = RefTensor::from_index(shape, |at| {
            let mut best: Option<(f64, usize)> = None;
            for (ky, y) in down.taps(at[2]) {
                for (kx, x_at) in across.taps(at[3]) {
                    let v = x.at(&[at[0], at[1], y, x_at]);
                    let wins = |(b, _): (f64, usize)| v > b || (v.is_nan() && !b.is_nan());
                    if best.is_none_or(wins) {
                        best = Some((v, ky * self.kernel[1] + kx));
                    }
                }
            }
            let (v, tap) = best.unwrap_or((f64::NEG_INFINITY, 0));
            taps.data[next] = tap as f64;
            next += 1;
            v
        });
        [largest, taps]
    }

    /// The pooling along one axis alone.
    fn along(&self, axis: usize) -> Self {
        let only = |pair: [usize; 2]| {
            if axis == 0 {
                [pair[0], 1]
            } else {
                [1, pair[1]]
            }
        };
        let padding = match self.padding {
            Padding::Explicit([t, l, b, r]) => Padding::Explicit(if axis == 0 {
                [t, 0, b, 0]
            } else {
                [0, l, 0, r]
            }),
            same => same,
        };
        Self {
            kernel: only(self.kernel),
            strides: only(self.strides),
            dilations: only(self.dilations),
            padding,
            ..*self
        }
    }

    /// Windows on which devices and gradients are tested: the geometry and the
    /// input's extents.
    pub(super) fn windows() -> Vec<(&'static str, Self, [usize; 4])> {
        let square = |kernel: usize, stride: usize, pad: usize| Self {
            kernel: [kernel; 2],
            strides: [stride; 2],
            padding: Padding::Explicit([pad; 4]),
            ..Self::default()
        };
        let same = |padding| Self {
            padding,
            ..square(3, 2, 0)
        };
        let ceil = |pool| Self {
            ceil_mode: true,
            ..pool
        };
        let oblong = Self {
            kernel: [2, 5],
            strides: [3, 1],
            padding: Padding::Explicit([1, 2, 0, 3]),
            ..Self::default()
        };
        let dilated = Self {
            dilations: [2, 3],
            ..square(3, 1, 2)
        };
        vec![
            ("2x2", square(2, 2, 0), [2, 17, 7, 9]),
            ("3x3 of a stem", square(3, 2, 1), [1, 64, 15, 14]),
            ("3x3 step 1", square(3, 1, 1), [1, 33, 7, 7]),
            ("5x5 step 1", square(5, 1, 2), [1, 16, 9, 8]),
            ("13x13 step 1", square(13, 1, 6), [1, 16, 14, 13]),
            ("3x3 ceil", ceil(square(3, 2, 0)), [2, 16, 8, 8]),
            ("2x2 ceil padded", ceil(square(2, 2, 1)), [1, 17, 5, 6]),
            ("3x3 ceil of two", ceil(square(3, 2, 0)), [1, 5, 2, 2]),
            ("same upper", same(Padding::SameUpper), [1, 33, 8, 7]),
            ("same lower", same(Padding::SameLower), [1, 33, 8, 7]),
            ("oblong", oblong, [2, 20, 7, 6]),
            ("dilated", dilated, [1, 19, 9, 11]),
            ("picture", square(3, 2, 1), [2, 3, 31, 33]),
            ("1x1 step 2", square(1, 2, 0), [1, 17, 5, 6]),
            (
                "whole",
                Self {
                    kernel: [7, 5],
                    ..Self::default()
                },
                [2, 33, 7, 5],
            ),
        ]
    }
}

impl Operator for MaxPool {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        let input = image(inputs, 0)?;
        if self.kernel.iter().any(|k| *k > MAX_TAPS) {
            return Err(OpError::Attribute {
                name: "kernel",
                expected: "at most 256 long on each side",
            });
        }
        if self.store_argmax {
            let output = self.output_of_bytes(input)?;
            return Ok(vec![Fact::f32(output), Fact::new(DType::U8, output)]);
        }
        Ok(vec![Fact::f32(self.window().output(input)?)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let [largest, taps] = self.naive(inputs[0]);
        std::iter::once(largest)
            .chain(self.store_argmax.then_some(taps))
            .collect()
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::ArgmaxU8
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        if self.store_argmax {
            return Err(cx.no_gradient(input));
        }
        let g = cx.cotangent(0)?;
        let taps = cx.input_argmax(*self)?;
        let x = &cx.input_fact(0).shape;
        let gradient = MaxPoolGradient {
            pool: *self,
            input: [x[2], x[3]],
        };
        cx.push(gradient, &[g, taps])
    }

    /// A window of too many taps is two windows, across and then down, which
    /// find the same element.
    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        if self.kernel[0] * self.kernel[1] <= MAX_TAPS {
            return Ok(None);
        }
        let rows = cx.push(self.along(1), &[cx.input(0)])?;
        Ok(Some(vec![cx.push(self.along(0), &[rows])?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        let taps = (self.kernel[0] * self.kernel[1]) as u64;
        Cost {
            multiply_adds: 0,
            elementwise: count(&outputs[0].shape).saturating_mul(taps),
        }
    }

    fn fused(&self) -> bool {
        self.store_argmax
    }

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for (name, pool, shape) in Self::windows() {
            let stored = Self {
                store_argmax: true,
                ..pool
            };
            let name = format!("max pool {name}");
            let random = vec![CaseInput::distinct(&shape)];
            // Few values, so that many tie.
            let exact = vec![CaseInput::integers(&shape, -2, 2)];
            cases.push(Case::new(&name, pool, random.clone()));
            cases.push(Case::new(format!("{name} exact"), pool, exact.clone()));
            cases.push(Case::new(format!("{name} stored"), stored, random));
            cases.push(Case::new(format!("{name} stored exact"), stored, exact));
        }
        let large = Self {
            kernel: [17, 19],
            strides: [2, 3],
            padding: Padding::Explicit([8, 9, 7, 9]),
            ..Self::default()
        };
        let input = vec![CaseInput::distinct(&[1, 17, 21, 23])];
        cases.push(Case::new("max pool of 323 taps", large, input));
        cases
    }
}
