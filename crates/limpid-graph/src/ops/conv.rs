use super::{Cost, ConvTranspose, Epilogue, Operator, Padding, Residual, arity, count, image, shaped, typed, window};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// 2-D convolution (cross-correlation, as in every framework).
///
/// Inputs: x `[N, C, H, W]`, weight `[M, C / groups, kH, kW]`, optionally bias
/// `[M]`, if `scaled` a factor `[M]` of the sum before the bias, then those of
/// the epilogue. Output: `[N, M, oH, oW]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conv {
    /// Steps of the window, `[vertical, horizontal]`.
    pub strides: [usize; 2],
    /// Distances between the window's taps.
    pub dilations: [usize; 2],
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Zeros around the input.
    pub padding: Padding,
    /// Whether there is a factor for each output channel: a batch normalisation that
    /// was folded in, which leaves the weights as they are. Passes set it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub scaled: bool,
    /// Work done on the result before it is stored.
    #[serde(skip_serializing_if = "Epilogue::is_none")]
    pub epilogue: Epilogue,
}

impl Default for Conv {
    fn default() -> Self {
        Self {
            strides: [1, 1],
            dilations: [1, 1],
            groups: 1,
            padding: Padding::Explicit([0; 4]),
            scaled: false,
            epilogue: Epilogue::default(),
        }
    }
}

impl Conv {
    /// Zeros at `[top, left, bottom, right]` for these shapes of x and weight.
    #[must_use]
    pub fn pads(&self, x: &[usize], weight: &[usize]) -> [usize; 4] {
        let (input, kernel) = ([x[2], x[3]], [weight[2], weight[3]]);
        self.padding
            .resolve(input, kernel, self.strides, self.dilations)
    }
}

impl Operator for Conv {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        let (own, extra) = self.epilogue.split(inputs)?;
        let (own, scale) = own.split_at(own.len().saturating_sub(usize::from(self.scaled)));
        arity(own, "2 or 3, and a scale", |n| n == 2 || n == 3)?;
        let [n, c, h, w] = image(inputs, 0)?;
        let [m, per_group, kh, kw] = image(inputs, 1)?;
        let groups = self.groups;
        if groups == 0 || m % groups != 0 || c % groups != 0 {
            return Err(OpError::Attribute {
                name: "groups",
                expected: "a divisor of the input's and the output's channels",
            });
        }
        let expected = format!("[M, {}, kH, kW] for {c} channels", c / groups);
        shaped(inputs, 1, expected, per_group == c / groups)?;
        for i in 2..own.len() + scale.len() {
            typed(inputs, i, limpid_tensor::DType::F32)?;
            shaped(inputs, i, format!("[{m}]"), *inputs[i].shape == [m])?;
        }
        window::check("weight", self.strides, self.dilations, self.padding.explicit(), [kh, kw])?;
        let pads = self.pads(&inputs[0].shape, &inputs[1].shape);
        let positions = |size, k, d: usize| {
            let pads = pads[d] + pads[d + 2];
            window::positions(size, k, self.strides[d], self.dilations[d], pads)
        };
        let (oh, ow) = (positions(h, kh, 0), positions(w, kw, 1));
        shaped(
            inputs,
            0,
            format!("large enough for the window {kh}x{kw}"),
            oh.is_some() && ow.is_some(),
        )?;
        let out = Fact::f32([n, m, oh.unwrap_or(0), ow.unwrap_or(0)]);
        self.epilogue.infer(out, extra)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (own, extra) = self.epilogue.split(inputs).expect("accepted before");
        let (own, scale) = own.split_at(own.len() - usize::from(self.scaled));
        let (x, weight) = (own[0], own[1]);
        let [n, c, h, w] = [0, 1, 2, 3].map(|i| x.shape[i]);
        let [m, per_group, kh, kw] = [0, 1, 2, 3].map(|i| weight.shape[i]);
        let pads = self.pads(&x.shape, &weight.shape);
        let plain = Self {
            scaled: false,
            epilogue: Epilogue::default(),
            ..self.clone()
        };
        let facts = [Fact::f32(&x.shape), Fact::f32(&weight.shape)];
        let shape = plain
            .infer(&[&facts[0], &facts[1]])
            .expect("accepted before")
            .remove(0)
            .shape;
        let (oh, ow) = (shape[2], shape[3]);
        let mut out = RefTensor::from_fn(shape, |_| 0.0);
        for (image, o, oy) in (0..n).flat_map(|i| (0..m).flat_map(move |o| (0..oh).map(move |y| (i, o, y)))) {
            let bias = own.get(2).map_or(0.0, |b| b.data[o]);
            let row = &mut out.data[((image * m + o) * oh + oy) * ow..][..ow];
            let first = o / (m / self.groups) * per_group;
            for (ic, ky, kx) in taps(per_group, kh, kw) {
                let weight = weight.data[((o * per_group + ic) * kh + ky) * kw + kx];
                let y = oy * self.strides[0] + ky * self.dilations[0];
                let Some(y) = y.checked_sub(pads[0]).filter(|y| *y < h) else {
                    continue;
                };
                let input = &x.data[((image * c + first + ic) * h + y) * w..][..w];
                for (ox, out) in row.iter_mut().enumerate() {
                    let at = ox * self.strides[1] + kx * self.dilations[1];
                    if let Some(v) = at.checked_sub(pads[1]).and_then(|x| input.get(x)) {
                        *out += v * weight;
                    }
                }
            }
            let scale = scale.first().map_or(1.0, |s| s.data[o]);
            for out in row {
                *out = *out * scale + bias;
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
        let (x, weight) = (cx.input_fact(0).shape.clone(), cx.input_fact(1).shape.clone());
        let pads = self.pads(&x, &weight);
        let g = cx.cotangent(0)?;
        let out = cx.fact(g).shape.clone();
        let transpose = ConvTranspose {
            strides: self.strides,
            dilations: self.dilations,
            groups: self.groups,
            pads,
            output_padding: [0, 1].map(|d| {
                let span = self.dilations[d] * (weight[d + 2] - 1) + 1;
                let covered = (out[d + 2] - 1) * self.strides[d] + span;
                (x[d + 2] + pads[d] + pads[d + 2]).saturating_sub(covered)
            }),
            scaled: self.scaled,
            epilogue: Epilogue::default(),
        };
        let mut inputs = vec![g, cx.constant_input(1)?];
        if self.scaled {
            inputs.push(cx.constant_input(cx.inputs() - 1)?);
        }
        cx.push(transpose, &inputs)
    }

    fn cost(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        let weight = &inputs[1].shape;
        let taps = (weight[1] * weight[2] * weight[3]) as u64;
        Cost::multiply_adds(count(&outputs[0].shape).saturating_mul(taps))
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
        // (x, weight, stride, dilation, groups, pads)
        type Row = ([usize; 4], [usize; 4], usize, usize, usize, Padding);
        let plain: [Row; 21] = [
            ([3, 32, 5, 4], [40, 32, 5, 4], 1, 1, 1, Padding::Explicit([0; 4])),
            ([2, 16, 7, 7], [24, 16, 1, 1], 1, 1, 1, Padding::Explicit([0; 4])),
            ([1, 33, 5, 5], [65, 33, 1, 1], 1, 1, 1, Padding::Explicit([0; 4])),
            ([1, 17, 8, 9], [31, 17, 1, 1], 2, 1, 1, Padding::Explicit([0; 4])),
            ([1, 3, 33, 31], [32, 3, 3, 3], 2, 1, 1, Padding::SameUpper),
            ([1, 3, 32, 32], [20, 3, 3, 3], 2, 1, 1, Padding::SameUpper),
            ([2, 7, 9, 11], [17, 7, 3, 3], 1, 1, 1, Padding::Explicit([1; 4])),
            ([1, 16, 9, 9], [16, 16, 3, 3], 1, 2, 1, Padding::Explicit([2; 4])),
            ([1, 5, 8, 8], [7, 5, 5, 3], 3, 1, 1, Padding::Explicit([2, 1, 0, 3])),
            ([1, 4, 3, 3], [4, 4, 7, 7], 2, 1, 1, Padding::Explicit([3; 4])),
            ([2, 33, 7, 7], [33, 1, 3, 3], 1, 1, 33, Padding::SameUpper),
            ([1, 48, 14, 15], [48, 1, 5, 5], 2, 1, 48, Padding::SameUpper),
            ([1, 16, 9, 9], [16, 1, 3, 3], 2, 2, 16, Padding::Explicit([1, 2, 0, 1])),
            ([1, 17, 5, 33], [17, 1, 7, 7], 1, 1, 17, Padding::SameUpper),
            ([1, 16, 13, 3], [16, 1, 9, 4], 1, 1, 16, Padding::Explicit([4, 3, 4, 5])),
            ([1, 19, 16, 31], [19, 1, 3, 5], 3, 1, 19, Padding::SameUpper),
            ([1, 12, 6, 6], [18, 4, 3, 3], 1, 1, 3, Padding::Explicit([1; 4])),
            ([1, 8, 6, 6], [16, 1, 3, 3], 1, 1, 8, Padding::Explicit([1; 4])),
            ([1, 1, 1, 1], [1, 1, 1, 1], 1, 1, 1, Padding::Explicit([0; 4])),
            // The gradient has as many positions as y, whose one tap lies beside them.
            ([2, 6, 16, 16], [8, 6, 2, 2], 2, 1, 1, Padding::Explicit([1, 1, 0, 0])),
            ([1, 5, 8, 8], [6, 5, 3, 3], 2, 1, 1, Padding::Explicit([2, 2, 0, 0])),
        ];
        let mut cases: Vec<Case> = plain
            .into_iter()
            .flat_map(|(x, weight, stride, dilation, groups, padding)| {
                let op = Self {
                    strides: [stride; 2],
                    dilations: [dilation; 2],
                    groups,
                    padding,
                    ..Self::default()
                };
                let name = format!("conv {x:?} {weight:?} s{stride} d{dilation} g{groups} {padding:?}");
                let random = vec![CaseInput::variable(&x), CaseInput::constant(&weight)];
                let scaled = Self {
                    scaled: true,
                    ..op.clone()
                };
                let mut inputs = random.clone();
                inputs.extend([1, 2].map(|_| CaseInput::constant(&weight[..1])));
                let scaled = Case::new(format!("{name} scaled"), scaled, inputs);
                let exact = vec![
                    CaseInput::integers(&x, -4, 4),
                    CaseInput::constant(&weight).integer_valued(-4, 4),
                    CaseInput::constant(&weight[..1]).integer_valued(-4, 4),
                ];
                [
                    Case::new(name.clone(), op.clone(), random),
                    Case::new(format!("{name} exact"), op, exact),
                    scaled,
                ]
            })
            .collect();
        for (name, epilogue) in epilogue_cases() {
            let (x, weight) = ([2, 17, 7, 5], [33, 17, 1, 1]);
            let out = [2, 33, 7, 5];
            let mut inputs = vec![
                CaseInput::variable(&x),
                CaseInput::constant(&weight),
                CaseInput::constant(&[33]),
            ];
            inputs.extend(epilogue.add.then(|| CaseInput::fixed(&out)));
            inputs.extend(epilogue.mask_mul.then(|| CaseInput::bits(&out)));
            let op = Self {
                epilogue,
                ..Self::default()
            };
            cases.push(Case::new(format!("conv 1x1 {name}"), op, inputs));
            let depthwise = Self {
                groups: 33,
                padding: Padding::SameUpper,
                epilogue,
                ..Self::default()
            };
            let mut inputs = vec![
                CaseInput::variable(&out),
                CaseInput::constant(&[33, 1, 3, 3]),
                CaseInput::constant(&[33]),
            ];
            inputs.extend(epilogue.add.then(|| CaseInput::fixed(&out)));
            inputs.extend(epilogue.mask_mul.then(|| CaseInput::bits(&out)));
            cases.push(Case::new(format!("conv depthwise {name}"), depthwise, inputs));
        }
        for (x, outputs, pads) in wide_cases() {
            let weight = [outputs, x[1], 3, 3];
            let op = Self {
                padding: Padding::Explicit(pads),
                ..Self::default()
            };
            let inputs = vec![CaseInput::variable(&x), CaseInput::constant(&weight)];
            let name = format!("conv {x:?} {weight:?} {pads:?}");
            cases.push(Case::new(name, op, inputs));
        }
        let [.., few, many] = wide_cases();
        for (name, (x, outputs, pads)) in [("conv 3x3", few), ("conv 3x3 of many", many)] {
            let weight = [outputs, x[1], 3, 3];
            let size = |d: usize| x[d + 2] + pads[d] + pads[d + 2] - 2;
            let out = [x[0], outputs, size(0), size(1)];
            for (epilogue_name, epilogue) in epilogue_cases() {
                let mut inputs = vec![CaseInput::variable(&x), CaseInput::constant(&weight)];
                inputs.extend([1, 2].map(|_| CaseInput::constant(&weight[..1])));
                inputs.extend(epilogue.add.then(|| CaseInput::fixed(&out)));
                inputs.extend(epilogue.mask_mul.then(|| CaseInput::bits(&out)));
                let op = Self {
                    padding: Padding::Explicit(pads),
                    scaled: true,
                    epilogue,
                    ..Self::default()
                };
                cases.push(Case::new(format!("{name} {epilogue_name}"), op, inputs));
            }
        }
        cases
    }
}

/// Inputs, outputs and pads of windows of 3 x 3 that have enough channels for a
/// device to compute them with fewer products.
pub(super) fn wide_cases() -> [([usize; 4], usize, [usize; 4]); 4] {
    [
        ([2, 33, 7, 9], 65, [1; 4]),
        ([1, 40, 14, 19], 32, [0, 1, 2, 1]),
        ([1, 33, 13, 14], 40, [1, 0, 1, 2]),
        ([1, 136, 6, 5], 130, [1; 4]),
    ]
}

/// Each epilogue that fusion makes.
pub(super) fn epilogue_cases() -> Vec<(&'static str, Epilogue)> {
    use super::{Clip, RangeMask};
    let none = Epilogue::default();
    let clip = Clip {
        min: Some(0.0),
        max: Some(0.75),
    };
    let store_mask = Some(RangeMask::inside(clip));
    let clip = Some(clip);
    vec![
        ("add", Epilogue { add: true, ..none }),
        ("clip", Epilogue { clip, ..none }),
        (
            "clip and mask",
            Epilogue {
                clip,
                store_mask,
                ..none
            },
        ),
        (
            "add, clip and mask",
            Epilogue {
                add: true,
                clip,
                store_mask,
                ..none
            },
        ),
        (
            "mask product",
            Epilogue {
                mask_mul: true,
                ..none
            },
        ),
        (
            "add and mask product",
            Epilogue {
                add: true,
                mask_mul: true,
                ..none
            },
        ),
    ]
}

pub(super) fn taps(
    channels: usize,
    kh: usize,
    kw: usize,
) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..channels * kh * kw).map(move |i| (i / (kh * kw), i / kw % kh, i % kw))
}
