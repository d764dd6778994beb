//! The layers with weights.

use super::derived::{self, Recipe};
use super::{Relevance, normalized, stabilized, times_input};
use crate::ops::{BatchNormalization, Clip, Conv, ConvTranspose, Op, Padding};
use crate::passes::constants_of;
use crate::passes::vjp::{LayerRule, VjpContext};
use crate::{Constant, Expr, GraphError, Node, ValueId};
use limpid_tensor::Tensor;

/// The input of an operator that multiplies it by weights: the only one that
/// depends on an input of the graph.
pub(super) fn signal(op: &Op, inputs: &[ValueId], active: &[bool]) -> Option<usize> {
    let mut of = (0..inputs.len()).filter(|i| active[inputs[*i].index()]);
    let (k, None) = (of.next()?, of.next()) else {
        return None;
    };
    let weighted = match op {
        Op::BatchNormalization(_) => k == 0,
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) | Op::MatMul(_) => op.linear(k),
        _ => false,
    };
    weighted.then_some(k)
}

/// A layer: which of its node's inputs is what.
struct Layer<'a> {
    node: &'a Node,
    signal: usize,
    weight: usize,
    bias: Option<usize>,
    scale: Option<usize>,
}

/// The positive and the negative part of a layer's input; there is no negative
/// part behind a rectifier.
type Parts<T> = (T, Option<T>);

impl<'a> Layer<'a> {
    fn new(node: &'a Node, signal: usize) -> Self {
        let scaled = match &node.op {
            Op::Conv(op) => op.scaled,
            Op::ConvTranspose(op) => op.scaled,
            _ => false,
        };
        let own = node.inputs.len() - usize::from(scaled);
        Self {
            node,
            signal,
            weight: if signal == 0 { 1 } else { 0 },
            bias: (own == 3).then_some(2),
            scale: scaled.then_some(own),
        }
    }

    /// The layer on another input, with other weights and with this bias.
    fn with(&self, x: ValueId, weight: ValueId, bias: Option<ValueId>) -> Node {
        let mut node = self.node.clone();
        node.inputs[self.signal] = x;
        node.inputs[self.weight] = weight;
        if let Some(at) = self.bias {
            match bias {
                Some(bias) => node.inputs[at] = bias,
                None => drop(node.inputs.remove(at)),
            }
        }
        node
    }

    fn constant<'c>(&self, cx: &'c VjpContext<'_>, at: usize) -> Result<&'c Constant, GraphError> {
        let constant = cx.graph.constant_of(self.node.inputs[at]);
        constant.ok_or_else(|| no_rule(cx))
    }

    /// The weights by a recipe, for what the layer multiplies by them.
    fn weights(&self, cx: &mut VjpContext<'_>, recipe: Recipe) -> Result<ValueId, GraphError> {
        let weight = self.constant(cx, self.weight)?;
        let scale = self.scale.map(|at| self.constant(cx, at)).transpose()?;
        let made = derived::weights(weight, scale, recipe);
        let name = format!("weights of {}", cx.node.name);
        Ok(cx.graph.constant(name, made))
    }

    /// The bias, its positive numbers times `factors[0]` and its negative ones times
    /// `factors[1]`. It is added behind a factor of the weights.
    fn biases(
        &self,
        cx: &mut VjpContext<'_>,
        factors: [f32; 2],
    ) -> Result<Option<ValueId>, GraphError> {
        let Some(at) = self.bias else {
            return Ok(None);
        };
        let bias = self.constant(cx, at)?.clone();
        let signed = |b: &f32| b * factors[usize::from(*b < 0.0)];
        let data = bias.load()?.data().iter().map(signed).collect();
        constant(cx, "bias", bias.shape(), data).map(Some)
    }

    /// The sum of the layer on both parts of its input, each with its weights,
    /// and the bias.
    fn sum(
        &self,
        cx: &mut VjpContext<'_>,
        x: Parts<ValueId>,
        weights: Parts<ValueId>,
        bias: Option<ValueId>,
    ) -> Result<ValueId, GraphError> {
        let run = |cx: &mut VjpContext<'_>, node: Node| cx.push(node.op, &node.inputs);
        let sum = run(cx, self.with(x.0, weights.0, bias))?;
        match (x.1, weights.1) {
            (Some(x), Some(w)) => {
                let other = run(cx, self.with(x, w, None))?;
                cx.elementwise(&(Expr::input(0) + Expr::input(1)), &[sum, other])
            }
            _ => Ok(sum),
        }
    }

    /// Both parts of the input times what comes back through their weights.
    fn shares(
        &self,
        cx: &mut VjpContext<'_>,
        x: Parts<ValueId>,
        weights: Parts<ValueId>,
        normalized: ValueId,
    ) -> Result<ValueId, GraphError> {
        let back = |cx: &mut VjpContext<'_>, x, w| {
            cx.derivative_of(&self.with(x, w, None), normalized, self.signal)
        };
        let first = back(cx, x.0, weights.0)?;
        let [a, b, c, d] = [0, 1, 2, 3].map(Expr::input);
        match (x.1, weights.1) {
            (Some(negative), Some(w)) => {
                let second = back(cx, negative, w)?;
                cx.elementwise(&(a * b + c * d), &[x.0, first, negative, second])
            }
            _ => cx.elementwise(&(a * b), &[x.0, first]),
        }
    }
}

fn constant(
    cx: &mut VjpContext<'_>,
    what: &str,
    shape: &[usize],
    data: Vec<f32>,
) -> Result<ValueId, GraphError> {
    let tensor = Tensor::new(shape, data)?;
    let name = format!("{what} of {}", cx.node.name);
    Ok(cx.graph.constant(name, tensor))
}

fn no_rule(cx: &VjpContext<'_>) -> GraphError {
    cx.no_rule(super::NAME)
}

impl Relevance {
    /// The relevance of a layer's input, which is at position `k`.
    pub(super) fn layer(
        &self,
        cx: &mut VjpContext<'_>,
        position: usize,
        k: usize,
        r: ValueId,
    ) -> Result<ValueId, GraphError> {
        let node = cx.node;
        let rule = match &node.op {
            Op::BatchNormalization(op) => return self.channels(cx, *op, r),
            Op::Conv(_) | Op::ConvTranspose(_) => self.lrp.convolution,
            _ => self.lrp.dense,
        };
        let own = self.lrp.first.filter(|_| self.first[position]);
        let layer = Layer::new(node, k);
        match own.unwrap_or(rule) {
            LayerRule::Epsilon(epsilon) => {
                let normalized = normalized(cx, r, 1.0, epsilon)?;
                times_input(cx, normalized, k)
            }
            LayerRule::Flat => self.flat(cx, &layer, r),
            LayerRule::ZPlus => {
                let x = self.parts(cx, node.inputs[k])?;
                let positive = layer.weights(cx, Recipe::Signed([1.0, 0.0]))?;
                let negative =
                    x.1.map(|_| layer.weights(cx, Recipe::Signed([0.0, 1.0])))
                        .transpose()?;
                let (weights, bias) = ((positive, negative), layer.biases(cx, [1.0, 0.0])?);
                let z = layer.sum(cx, x, weights, bias)?;
                let [r_of, z_of] = [0, 1].map(Expr::input);
                let normalized = r_of / self.stabilized(z_of);
                let normalized = cx.elementwise(&normalized, &[r, z])?;
                layer.shares(cx, x, weights, normalized)
            }
            LayerRule::Gamma(gamma) => {
                let x = self.parts(cx, node.inputs[k])?;
                let favoured = [[1.0 + gamma, 1.0], [1.0, 1.0 + gamma]];
                let (a, b) = (
                    layer.weights(cx, Recipe::Signed(favoured[0]))?,
                    layer.weights(cx, Recipe::Signed(favoured[1]))?,
                );
                let mut total = None;
                for (i, (first, second)) in [(a, b), (b, a)].into_iter().enumerate() {
                    let weights = (first, Some(second));
                    let bias = layer.biases(cx, favoured[i])?;
                    let sum = layer.sum(cx, x, weights, bias)?;
                    let [r_of, y, z] = [0, 1, 2].map(Expr::input);
                    let zero = || Expr::constant(0.0);
                    let side = match i {
                        0 => zero().less(y),
                        _ => y.less(zero()),
                    };
                    let normalized = side.select(r_of / self.stabilized(z), 0.0);
                    let operands = [r, node.outputs[0], sum];
                    let normalized = cx.elementwise(&normalized, &operands)?;
                    let shares = layer.shares(cx, x, weights, normalized)?;
                    total = Some(match total {
                        None => shares,
                        Some(sum) => {
                            let both = Expr::input(0) + Expr::input(1);
                            cx.elementwise(&both, &[sum, shares])?
                        }
                    });
                }
                total.ok_or_else(|| no_rule(cx))
            }
        }
    }

    /// The positive and the negative part of a value.
    fn parts(&self, cx: &mut VjpContext<'_>, x: ValueId) -> Result<Parts<ValueId>, GraphError> {
        if self.positive[x.index()] {
            return Ok((x, None));
        }
        let negative = Clip {
            min: None,
            max: Some(0.0),
        };
        let positive = cx.push(Clip::relu(), &[x])?;
        Ok((positive, Some(cx.push(negative, &[x])?)))
    }

    /// The flat rule: inputs and weights are ones, and the sum is the number of
    /// inputs in the window.
    fn flat(
        &self,
        cx: &mut VjpContext<'_>,
        layer: &Layer<'_>,
        r: ValueId,
    ) -> Result<ValueId, GraphError> {
        let node = layer.node;
        let [x, w] = [layer.signal, layer.weight].map(|i| cx.input_fact(i).shape.to_vec());
        let mut plain = layer.with(node.inputs[layer.signal], node.inputs[layer.weight], None);
        if layer.scale.is_some() {
            plain.inputs.pop();
        }
        let [r_of, rows, columns] = [0, 1, 2].map(Expr::input);
        let normalized = match &mut plain.op {
            Op::Conv(op) => {
                op.scaled = false;
                let pads = op.pads(&x, &w);
                let along = |axis: usize| Conv {
                    strides: only(op.strides, axis, 1),
                    dilations: only(op.dilations, axis, 1),
                    padding: Padding::Explicit(one_axis(pads, axis)),
                    ..Conv::default()
                };
                let counts = [0, 1].map(|axis| taps(cx, along(axis).into(), &x, &w, axis));
                let [down, across] = counts;
                let count = rows * columns * w[1] as f64;
                let normalized = r_of / self.stabilized(count);
                let operands = [r, down?, across?];
                cx.elementwise(&normalized, &operands)?
            }
            Op::ConvTranspose(op) => {
                op.scaled = false;
                let along = |axis: usize| ConvTranspose {
                    strides: only(op.strides, axis, 1),
                    dilations: only(op.dilations, axis, 1),
                    pads: one_axis(op.pads, axis),
                    output_padding: only(op.output_padding, axis, 0),
                    ..ConvTranspose::default()
                };
                let counts = [0, 1].map(|axis| taps(cx, along(axis).into(), &x, &w, axis));
                let [down, across] = counts;
                let count = rows * columns * (w[0] / op.groups) as f64;
                let normalized = r_of / self.stabilized(count);
                let operands = [r, down?, across?];
                cx.elementwise(&normalized, &operands)?
            }
            op => {
                let inner = match op {
                    Op::MatMul(op) if layer.signal == 0 && op.trans_a => x[x.len() - 2],
                    Op::MatMul(op) if layer.signal == 1 && !op.trans_b => x[x.len() - 2],
                    _ => x[x.len() - 1],
                };
                cx.elementwise(&(r_of * (1.0 / inner as f64)), &[r])?
            }
        };
        plain.inputs[layer.weight] = layer.weights(cx, Recipe::Ones)?;
        cx.derivative_of(&plain, normalized, layer.signal)
    }

    /// Batch normalisation, a factor and an offset of each channel, by the rule
    /// of convolutions.
    fn channels(
        &self,
        cx: &mut VjpContext<'_>,
        op: BatchNormalization,
        r: ValueId,
    ) -> Result<ValueId, GraphError> {
        let node = cx.node;
        let mut statistics = [const { Vec::new() }; 4];
        for (i, values) in statistics.iter_mut().enumerate() {
            let constant = cx.graph.constant_of(node.inputs[i + 1]);
            let tensor = constant.ok_or_else(|| no_rule(cx))?.load()?;
            *values = tensor.data().iter().map(|v| f64::from(*v)).collect();
        }
        let affine = op.affine([0, 1, 2, 3].map(|i| &statistics[i][..]));
        let shape = [affine.len(), 1, 1];
        let factor = affine.iter().map(|(a, _)| *a as f32).collect();
        let offset = affine.iter().map(|(_, b)| *b as f32).collect();
        let factor = constant(cx, "factor", &shape, factor)?;
        let offset = constant(cx, "offset", &shape, offset)?;
        let [x, a, b, r_of] = [0, 1, 2, 3].map(Expr::input);
        let part = x * a;
        // A part with one of its signs counting more.
        let favour =
            |v: &Expr, [p, n]: [f64; 2]| v.clone().less(0.0).select(v.clone() * n, v.clone() * p);
        let share = |factors: [f64; 2]| {
            let part = favour(&part, factors);
            part.clone() / self.stabilized(part + favour(&b, factors))
        };
        let share = match self.lrp.convolution {
            LayerRule::Epsilon(epsilon) => {
                part.clone() / stabilized(part.clone() + b.clone(), epsilon)
            }
            LayerRule::ZPlus => share([1.0, 0.0]),
            LayerRule::Flat => Expr::constant(1.0),
            LayerRule::Gamma(gamma) => {
                let (y, more) = (part.clone() + b.clone(), 1.0 + f64::from(gamma));
                let below = y.clone().less(0.0).select(share([1.0, more]), 0.0);
                Expr::constant(0.0)
                    .less(y)
                    .select(share([more, 1.0]), below)
            }
        };
        cx.elementwise(&(r_of * share), &[node.inputs[0], factor, offset, r])
    }
}

/// A pair of which one axis alone counts.
fn only(pair: [usize; 2], axis: usize, other: usize) -> [usize; 2] {
    let mut one = [other; 2];
    one[axis] = pair[axis];
    one
}

fn one_axis(pads: [usize; 4], axis: usize) -> [usize; 4] {
    let mut one = [0; 4];
    one[axis] = pads[axis];
    one[axis + 2] = pads[axis + 2];
    one
}

/// How many of a window's taps lie in the input, at each position of one axis.
fn taps(
    cx: &mut VjpContext<'_>,
    op: Op,
    x: &[usize],
    weight: &[usize],
    axis: usize,
) -> Result<ValueId, GraphError> {
    let ones = |shape: &[usize]| {
        let mut one = [1; 4];
        one[axis + 2] = shape[axis + 2];
        Ok::<_, GraphError>(Tensor::new(one, vec![1.0; shape[axis + 2]])?.into())
    };
    let (x, weight): (Constant, Constant) = (ones(x)?, ones(weight)?);
    let mut work = crate::passes::MAX_CONSTANT_WORK;
    let made = constants_of(&op, &[&x, &weight], &mut work).map_err(|e| cx.error(e))?;
    let counts = made.and_then(|tensors| tensors.into_iter().next());
    let counts = counts.ok_or_else(|| no_rule(cx))?;
    let name = format!("taps of {}", cx.node.name);
    Ok(cx.graph.constant(name, counts))
}
