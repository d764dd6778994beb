use super::{Conv, Cost, Epilogue, Operator, Padding, Residual, arity, conv, count, image, shaped, typed, window};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// The transpose of a 2-D convolution, which is also a convolution's input gradient.
///
/// Inputs: x `[N, M, H, W]`, weight `[M, C / groups, kH, kW]`, optionally bias
/// `[C]`, if `scaled` a factor `[M]` of x, then those of the epilogue. Output: `[N, C, oH, oW]` with
/// oH = (H - 1) * stride + dilation * (kH - 1) + 1 - pads + output_padding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConvTranspose {
    /// Steps of the window, `[vertical, horizontal]`.
    pub strides: [usize; 2],
    /// Distances between the window's taps.
    pub dilations: [usize; 2],
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Rows and columns cut off the output at `[top, left, bottom, right]`.
    pub pads: [usize; 4],
    /// Rows and columns of the output beyond the last window.
    pub output_padding: [usize; 2],
    /// Whether there is a factor for each input channel: a batch normalisation that
    /// was folded in, which leaves the weights as they are. Passes set it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub scaled: bool,
    /// Work done on the result before it is stored.
    #[serde(skip_serializing_if = "Epilogue::is_none")]
    pub epilogue: Epilogue,
}

impl Default for ConvTranspose {
    fn default() -> Self {
        Self {
            strides: [1, 1],
            dilations: [1, 1],
            groups: 1,
            pads: [0; 4],
            output_padding: [0; 2],
            scaled: false,
            epilogue: Epilogue::default(),
        }
    }
}

impl ConvTranspose {
    fn extent(&self, input: usize, kernel: usize, axis: usize) -> Option<usize> {
        let span = self.dilations[axis] * (kernel - 1) + 1;
        (input.checked_sub(1)?.checked_mul(self.strides[axis])?)
            .checked_add(span + self.output_padding[axis])?
            .checked_sub(self.pads[axis] + self.pads[axis + 2])
    }
}

impl Operator for ConvTranspose {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        let (own, extra) = self.epilogue.split(inputs)?;
        let (own, scale) = own.split_at(own.len().saturating_sub(usize::from(self.scaled)));
        arity(own, "2 or 3, and a scale", |n| n == 2 || n == 3)?;
        let [n, m, h, w] = image(inputs, 0)?;
        let [rows, per_group, kh, kw] = image(inputs, 1)?;
        shaped(inputs, 1, format!("[{m}, C / groups, kH, kW]"), rows == m)?;
        if self.groups == 0 || m % self.groups != 0 {
            return Err(OpError::Attribute {
                name: "groups",
                expected: "a divisor of the input's channels",
            });
        }
        window::check("weight", self.strides, self.dilations, self.pads, [kh, kw])?;
        if (0..2).any(|d| self.output_padding[d] >= self.strides[d]) {
            return Err(OpError::Attribute {
                name: "output_padding",
                expected: "below the stride",
            });
        }
        let c = per_group * self.groups;
        if own.len() == 3 {
            typed(inputs, 2, limpid_tensor::DType::F32)?;
            shaped(inputs, 2, format!("[{c}]"), *inputs[2].shape == [c])?;
        }
        if !scale.is_empty() {
            let i = own.len();
            typed(inputs, i, limpid_tensor::DType::F32)?;
            shaped(inputs, i, format!("[{m}]"), *inputs[i].shape == [m])?;
        }
        let (oh, ow) = (self.extent(h, kh, 0), self.extent(w, kw, 1));
        let fits = oh.is_some() && ow.is_some();
        shaped(inputs, 0, "larger than the padding cut off", fits)?;
        let out = Fact::f32([n, c, oh.unwrap_or(0), ow.unwrap_or(0)]);
        self.epilogue.infer(out, extra)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (own, extra) = self.epilogue.split(inputs).expect("accepted before");
        let (own, scale) = own.split_at(own.len() - usize::from(self.scaled));
        let (x, weight) = (own[0], own[1]);
        let [n, m, h, w] = [0, 1, 2, 3].map(|i| x.shape[i]);
        let [_, per_group, kh, kw] = [0, 1, 2, 3].map(|i| weight.shape[i]);
        let c = per_group * self.groups;
        let extent = |size, k, axis| self.extent(size, k, axis).expect("accepted before");
        let (oh, ow) = (extent(h, kh, 0), extent(w, kw, 1));
        let mut out = RefTensor::from_fn([n, c, oh, ow], |i| {
            own.get(2).map_or(0.0, |b| b.data[i / (oh * ow) % c])
        });
        for (image, o, y) in (0..n).flat_map(|i| (0..m).flat_map(move |o| (0..h).map(move |y| (i, o, y)))) {
            let row = &x.data[((image * m + o) * h + y) * w..][..w];
            let first = o / (m / self.groups) * per_group;
            for (ic, ky, kx) in conv::taps(per_group, kh, kw) {
                let weight = weight.data[((o * per_group + ic) * kh + ky) * kw + kx]
                    * scale.first().map_or(1.0, |s| s.data[o]);
                let to = y * self.strides[0] + ky * self.dilations[0];
                let Some(to) = to.checked_sub(self.pads[0]).filter(|y| *y < oh) else {
                    continue;
                };
                let out = &mut out.data[((image * c + first + ic) * oh + to) * ow..][..ow];
                for (ix, v) in row.iter().enumerate() {
                    let at = ix * self.strides[1] + kx * self.dilations[1];
                    if let Some(out) = at.checked_sub(self.pads[1]).and_then(|x| out.get_mut(x)) {
                        *out += v * weight;
                    }
                }
            }
        }
        self.epilogue.reference(out, extra)
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        if input != 0 || !self.epilogue.is_none() {
            return Err(cx.no_gradient(input));
        }
        let g = cx.cotangent(0)?;
        let weight = cx.constant_input(1)?;
        let conv = Conv {
            strides: self.strides,
            dilations: self.dilations,
            groups: self.groups,
            padding: Padding::Explicit(self.pads),
            scaled: self.scaled,
            epilogue: Epilogue::default(),
        };
        let mut inputs = vec![g, weight];
        if self.scaled {
            inputs.push(cx.constant_input(cx.inputs() - 1)?);
        }
        cx.push(conv, &inputs)
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        let weight = &inputs[1].shape;
        let taps = (weight[1] * weight[2] * weight[3]) as u64;
        Cost::multiply_adds(count(&inputs[0].shape).saturating_mul(taps))
    }

    fn linear(&self, input: usize) -> bool {
        input == 0 && self.epilogue.is_none()
    }

    fn parameter(&self, input: usize) -> bool {
        (1..4).contains(&input)
    }

    fn fused(&self) -> bool {
        self.scaled || !self.epilogue.is_none()
    }

    fn cases() -> Vec<Case> {
        // (x, weight, stride, dilation, groups, pads, output padding)
        type Row = ([usize; 4], [usize; 4], usize, usize, usize, [usize; 4], [usize; 2]);
        let plain: [Row; 14] = [
            ([3, 32, 1, 1], [32, 40, 5, 4], 1, 1, 1, [0; 4], [0; 2]),
            ([2, 24, 7, 7], [24, 17, 1, 1], 1, 1, 1, [0; 4], [0; 2]),
            ([1, 31, 4, 5], [31, 17, 1, 1], 2, 1, 1, [0; 4], [1, 0]),
            ([1, 32, 16, 16], [32, 3, 3, 3], 2, 1, 1, [0, 0, 1, 1], [0; 2]),
            ([1, 20, 17, 16], [20, 3, 3, 3], 2, 1, 1, [1, 0, 1, 1], [0, 0]),
            ([2, 17, 9, 11], [17, 7, 3, 3], 1, 1, 1, [1; 4], [0; 2]),
            ([1, 16, 9, 9], [16, 16, 3, 3], 1, 2, 1, [2; 4], [0; 2]),
            ([1, 7, 2, 3], [7, 5, 5, 3], 3, 1, 1, [2, 1, 0, 3], [2, 1]),
            ([2, 33, 7, 7], [33, 1, 3, 3], 1, 1, 33, [1; 4], [0; 2]),
            ([1, 48, 7, 8], [48, 1, 5, 5], 2, 1, 48, [1, 2, 2, 2], [0; 2]),
            ([1, 17, 5, 33], [17, 1, 7, 7], 1, 1, 17, [3; 4], [0; 2]),
            ([1, 16, 3, 5], [16, 1, 2, 2], 3, 1, 16, [0; 4], [1, 0]),
            ([1, 16, 6, 5], [16, 1, 7, 3], 2, 2, 16, [3, 1, 2, 1], [0, 1]),
            ([1, 18, 6, 6], [18, 4, 3, 3], 1, 1, 3, [1; 4], [0; 2]),
        ];
        let mut cases: Vec<Case> = plain
            .into_iter()
            .flat_map(|(x, weight, stride, dilation, groups, pads, output_padding)| {
                let op = Self {
                    strides: [stride; 2],
                    dilations: [dilation; 2],
                    groups,
                    pads,
                    output_padding,
                    ..Self::default()
                };
                let name = format!(
                    "conv transpose {x:?} {weight:?} s{stride} d{dilation} g{groups} {pads:?}"
                );
                let random = vec![CaseInput::variable(&x), CaseInput::constant(&weight)];
                let scaled = Self {
                    scaled: true,
                    ..op.clone()
                };
                let mut inputs = random.clone();
                inputs.push(CaseInput::constant(&weight[..1]));
                let scaled = Case::new(format!("{name} scaled"), scaled, inputs);
                let exact = vec![
                    CaseInput::integers(&x, -4, 4),
                    CaseInput::constant(&weight).integer_valued(-4, 4),
                ];
                [
                    Case::new(name.clone(), op.clone(), random),
                    Case::new(format!("{name} exact"), op, exact),
                    scaled,
                ]
            })
            .collect();
        for (name, epilogue) in conv::epilogue_cases() {
            let (x, weight, out) = ([2, 17, 7, 5], [17, 33, 1, 1], [2, 33, 7, 5]);
            let mut inputs = vec![CaseInput::variable(&x), CaseInput::constant(&weight)];
            inputs.extend(epilogue.add.then(|| CaseInput::fixed(&out)));
            inputs.extend(epilogue.mask_mul.then(|| CaseInput::bits(&out)));
            let op = Self {
                epilogue,
                ..Self::default()
            };
            cases.push(Case::new(format!("conv transpose {name}"), op, inputs));
        }
        for (x, outputs, pads) in conv::wide_cases() {
            let weight = [x[1], outputs, 3, 3];
            let op = Self {
                pads,
                scaled: true,
                ..Self::default()
            };
            let inputs = vec![
                CaseInput::variable(&x),
                CaseInput::constant(&weight),
                CaseInput::constant(&weight[..1]),
            ];
            let name = format!("conv transpose {x:?} {weight:?} {pads:?}");
            cases.push(Case::new(name, op, inputs));
        }
        cases
    }
}
