//! Layer-wise relevance propagation. What travels backwards is relevance: the
//! share that a value has in the output.

mod derived;
mod layers;

use super::{Lrp, VjpContext};
use crate::formula::{Step, Unary};
use crate::ops::{AxisFilter, ReduceSum, Residual, SparseMatrix, count};
use crate::{Expr, Formula, Graph, GraphError, Node, Op, Source, ValueId};

const NAME: &str = "layer-wise relevance propagation";

/// z with a number added to its magnitude.
fn stabilized(z: Expr, epsilon: f32) -> Expr {
    let e = f64::from(epsilon);
    z.clone().less(0.0).select(z.clone() - e, z + e)
}

/// Relevance over the output of the context's node, which counts `times` fold.
fn normalized(
    cx: &mut VjpContext<'_>,
    r: ValueId,
    times: f64,
    epsilon: f32,
) -> Result<ValueId, GraphError> {
    let [r_of, z] = [0, 1].map(Expr::input);
    let quotient = r_of / stabilized(z * times, epsilon);
    cx.elementwise(&quotient, &[r, cx.node.outputs[0]])
}

/// An input times what the derivative makes of a cotangent.
fn times_input(
    cx: &mut VjpContext<'_>,
    cotangent: ValueId,
    k: usize,
) -> Result<ValueId, GraphError> {
    let node = cx.node;
    let c = cx.derivative_of(node, cotangent, k)?;
    cx.elementwise(&(Expr::input(0) * Expr::input(1)), &[node.inputs[k], c])
}

/// The composite, and what it needs to know of the graph.
pub(super) struct Relevance {
    lrp: Lrp,
    /// Whether a value depends on an input, which constants do not.
    active: Vec<bool>,
    /// Whether a value is not negative, whatever the input.
    positive: Vec<bool>,
    /// Whether a node is a layer with weights that none precedes.
    first: Vec<bool>,
}

impl Relevance {
    pub(super) fn new(graph: &Graph, lrp: Lrp) -> Result<Self, GraphError> {
        lrp.check()?;
        let n = graph.values().len();
        let (mut active, mut positive, mut weighted) =
            (vec![false; n], vec![false; n], vec![false; n]);
        for (i, v) in graph.values().iter().enumerate() {
            active[i] = matches!(v.source, Source::Input(_));
        }
        let mut first = Vec::with_capacity(graph.nodes().len());
        for node in graph.nodes() {
            let any = |of: &[bool]| node.inputs.iter().any(|v| of[v.index()]);
            let all = |of: &[bool]| node.inputs.iter().all(|v| of[v.index()]);
            let depends = any(&active);
            let signal = layers::signal(&node.op, &node.inputs, &active);
            let layer = signal.is_some() && !matches!(node.op, Op::BatchNormalization(_));
            first.push(layer && !any(&weighted));
            let positive_output = match &node.op {
                Op::Clip(op) => op.lower() >= 0.0,
                Op::Sigmoid(_) | Op::Softmax(_) => true,
                Op::AxisFilter(op) => {
                    let mut rows = (0..op.matrix.rows()).flat_map(|r| op.matrix.row(r));
                    all(&positive) && rows.all(|(_, w)| *w >= 0.0)
                }
                Op::MaxPool(_)
                | Op::GlobalAveragePool(_)
                | Op::ReduceSum(_)
                | Op::Add(_)
                | Op::Concat(_)
                | Op::Reshape(_)
                | Op::Flatten(_)
                | Op::Transpose(_)
                | Op::Relayout(_) => all(&positive),
                _ => false,
            };
            let carries = layer || any(&weighted);
            for v in &node.outputs {
                active[v.index()] = depends;
                positive[v.index()] = positive_output;
                weighted[v.index()] = carries;
            }
        }
        Ok(Self {
            lrp,
            active,
            positive,
            first,
        })
    }

    fn is_active(&self, value: ValueId) -> bool {
        self.active[value.index()]
    }

    /// z with the stabilizer added to its magnitude.
    fn stabilized(&self, z: Expr) -> Expr {
        stabilized(z, self.lrp.stabilizer)
    }

    /// The relevance of the inputs of the node at `position`.
    pub(super) fn through(
        &self,
        cx: &mut VjpContext<'_>,
        position: usize,
        inputs: &[usize],
    ) -> Result<Vec<Option<ValueId>>, GraphError> {
        let node = cx.node;
        let Some(r) = cx.cotangent_of(0) else {
            // The deviation, the second output of a normalisation, is a constant.
            return Ok(vec![None; inputs.len()]);
        };
        if let Some(formula) = node.op.formula(node.inputs.len()) {
            let shares = inputs.iter().map(|k| self.function(cx, &formula, *k, r));
            return shares.collect();
        }
        if let Some(k) = layers::signal(&node.op, &node.inputs, &self.active)
            && inputs == [k]
        {
            return Ok(vec![Some(self.layer(cx, position, k, r)?)]);
        }
        let active = node.inputs.iter().filter(|v| self.is_active(**v)).count();
        match &node.op {
            Op::MatMul(_) => {
                let quotient = normalized(cx, r, 2.0, self.lrp.stabilizer)?;
                let share = |k: &usize| times_input(cx, quotient, *k).map(Some);
                inputs.iter().map(share).collect()
            }
            Op::Softmax(_) => Ok(vec![Some(self.softmax(cx, r)?)]),
            Op::Normalize(_) => Ok(vec![Some(self.normalize(cx, r)?)]),
            // What moves elements, and the largest of a window.
            Op::Concat(_)
            | Op::Expand(_)
            | Op::Flatten(_)
            | Op::MaxPool(_)
            | Op::ReduceMax(_)
            | Op::Relayout(_)
            | Op::Reshape(_)
            | Op::Transpose(_) => cx.derivatives(inputs),
            Op::AxisFilter(AxisFilter { axis, matrix })
                if (0..matrix.rows()).all(|row| matrix.row(row).len() < 2) =>
            {
                let chosen = |row| matrix.row(row).iter().find(|(_, w)| *w != 0.0).map(|e| e.0);
                let matrix =
                    SparseMatrix::selecting(matrix.columns(), (0..matrix.rows()).map(chosen));
                let moves = AxisFilter {
                    axis: *axis,
                    matrix,
                };
                let moves = Node {
                    op: moves.into(),
                    ..node.clone()
                };
                Ok(vec![Some(cx.derivative_of(&moves, r, 0)?)])
            }
            // Sums and means.
            op if active == 1 && inputs.iter().all(|k| op.residual(*k) == Residual::None) => {
                let quotient = normalized(cx, r, 1.0, self.lrp.stabilizer)?;
                Ok(vec![Some(times_input(cx, quotient, inputs[0])?)])
            }
            _ => Err(cx.no_rule(NAME)),
        }
    }

    /// The Taylor rule of a softmax s of x: x (R - s ΣR).
    fn softmax(&self, cx: &mut VjpContext<'_>, r: ValueId) -> Result<ValueId, GraphError> {
        let (x, s) = (cx.node.inputs[0], cx.node.outputs[0]);
        let axes = vec![cx.fact(r).shape.len() - 1];
        let sum = cx.push(ReduceSum { axes }, &[r])?;
        let [a, b, c, d] = [0, 1, 2, 3].map(Expr::input);
        cx.elementwise(&(a * (b - c * d)), &[x, r, s, sum])
    }

    /// The epsilon rule of (x - mean) / deviation, the deviation held constant.
    fn normalize(&self, cx: &mut VjpContext<'_>, r: ValueId) -> Result<ValueId, GraphError> {
        let (x, factor) = (cx.node.inputs[0], cx.node.outputs[1]);
        let quotient = normalized(cx, r, 1.0, self.lrp.stabilizer)?;
        let shape = &cx.fact(r).shape;
        let (axes, length) = (vec![shape.len() - 1], shape[shape.len() - 1]);
        let sum = cx.push(ReduceSum { axes }, &[quotient])?;
        let [a, b, c, d] = [0, 1, 2, 3].map(Expr::input);
        let share = a * b * (c - d * (1.0 / length as f64));
        cx.elementwise(&share, &[x, factor, quotient, sum])
    }

    /// The relevance of one operand of a formula.
    fn function(
        &self,
        cx: &mut VjpContext<'_>,
        formula: &Formula,
        k: usize,
        r: ValueId,
    ) -> Result<Option<ValueId>, GraphError> {
        let (node, n) = (cx.node, cx.inputs());
        let active: Vec<usize> = (0..n)
            .filter(|i| self.is_active(node.inputs[*i]) && formula.reads(*i))
            .collect();
        let slope = formula.derivative(k);
        // Steps, and operands that are not read.
        if slope.as_constant() == Some(0.0) {
            return Ok(None);
        }
        let linear = |i: usize| !formula.derivative(i).reads(i);
        let without = |i: usize| {
            let value = |j| {
                if i == j {
                    Expr::constant(0.0)
                } else {
                    Expr::input(j)
                }
            };
            let operands: Vec<Formula> = (0..n).map(|j| Formula::new(&value(j))).collect();
            formula.compose(&operands).as_constant()
        };
        let is_factor = |i: &usize| linear(*i) && without(*i) == Some(0.0);
        let passes = |cx: &mut VjpContext<'_>, sharers: usize| {
            let r = match sharers {
                1 => r,
                n => cx.scale(r, 1.0 / n as f32)?,
            };
            cx.sum_to_input(r, k).map(Some)
        };
        if active == [k] && (!linear(k) || is_factor(&k)) {
            return passes(cx, 1);
        }
        let sum = active.iter().all(|i| {
            let slope = formula.derivative(*i);
            !active.iter().any(|j| slope.reads(*j))
        });
        let factors: Vec<usize> = active.iter().copied().filter(is_factor).collect();
        if !sum && !factors.is_empty() {
            let output = count(&cx.fact(node.outputs[0]).shape);
            let signal = |i: &usize| {
                let v = node.inputs[*i];
                count(&cx.fact(v).shape) == output && !self.is_gate(cx, v)
            };
            let signals: Vec<usize> = factors.iter().copied().filter(signal).collect();
            let sharers = if signals.is_empty() { factors } else { signals };
            return match sharers.contains(&k) {
                true => passes(cx, sharers.len()),
                false => Ok(None),
            };
        }
        // Terms of a sum; of anything else, those of its linear expansion.
        let [slope_of, x, y, r_of] = [0, 1, 2, 3].map(Expr::input);
        let share = r_of * (slope_of * x) / self.stabilized(y);
        let value = |i| Formula::new(&Expr::input(i));
        let inner = [slope, value(k), value(n), value(n + 1)];
        let values = [&node.inputs[..], &[node.outputs[0], r]].concat();
        let share = cx.composed(&share, &inner, &values)?;
        cx.sum_to_input(share, k).map(Some)
    }

    /// Whether a value is between 0 and 1 by what makes it.
    fn is_gate(&self, cx: &VjpContext<'_>, value: ValueId) -> bool {
        cx.graph
            .producer(value)
            .is_some_and(|(_, node)| match &node.op {
                Op::Sigmoid(_) | Op::HardSigmoid(_) | Op::Softmax(_) => true,
                Op::Elementwise(op) => {
                    matches!(
                        op.formula.steps().last(),
                        Some(Step::Unary(Unary::Sigmoid, _))
                    )
                }
                _ => false,
            })
    }
}
