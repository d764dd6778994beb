//! DeepLift's rescale rule. A function's multiplier is its difference quotient
//! between the point and the reference; a function of several values is a chain
//! of functions of one, and the differences of the chain add up exactly.

use super::VjpContext;
use crate::formula::{Binary, Step, Unary};
use crate::ops::{Expand, Max, ReduceMax, ReduceSum, Residual};
use crate::{Expr, Formula, Graph, GraphError, Node, Op, OpError, ValueId};

/// The reference.
pub(super) struct DeepLift {
    /// What stands for each value of the graph in the reference: itself where
    /// it does not depend on the point.
    reference: Vec<ValueId>,
}

impl DeepLift {
    /// Appends the nodes of the reference.
    pub(super) fn new(
        graph: &mut Graph,
        wrt: &[ValueId],
        baseline: Option<ValueId>,
    ) -> Result<Self, GraphError> {
        let baseline = baseline.ok_or(GraphError::NoBaseline)?;
        let mut reference: Vec<ValueId> = (0..graph.values().len() as u32).map(ValueId).collect();
        if let Some(point) = wrt.first() {
            reference[point.index()] = stretched(graph, baseline, *point)?;
        }
        for node in graph.nodes().to_vec() {
            let inputs: Vec<ValueId> = node.inputs.iter().map(|v| reference[v.index()]).collect();
            let placed = |v: &ValueId| reference[v.index()] != *v;
            if inputs != node.inputs && !node.outputs.iter().any(placed) {
                let name = format!("{} of the baseline", node.name);
                let outputs = graph.push(name, node.op, &inputs)?;
                for (v, there) in node.outputs.iter().zip(outputs) {
                    reference[v.index()] = there;
                }
            }
        }
        Ok(Self { reference })
    }

    fn of(&self, value: ValueId) -> ValueId {
        self.reference[value.index()]
    }

    fn varies(&self, value: ValueId) -> bool {
        self.of(value) != value
    }

    /// The multipliers of a node's inputs.
    pub(super) fn through(
        &self,
        cx: &mut VjpContext<'_>,
        inputs: &[usize],
    ) -> Result<Vec<Option<ValueId>>, GraphError> {
        let node = cx.node;
        if let Some(formula) = node.op.formula(node.inputs.len()) {
            return inputs
                .iter()
                .map(|i| self.quotient(cx, &formula, *i))
                .collect();
        }
        match &node.op {
            Op::MatMul(_) => inputs.iter().map(|i| self.product(cx, *i)).collect(),
            Op::MaxPool(_) | Op::ReduceMax(_) => Ok(vec![Some(self.largest(cx)?)]),
            Op::Softmax(_) => Ok(vec![Some(self.softmax(cx)?)]),
            Op::Normalize(_) => Ok(vec![Some(self.normalize(cx)?)]),
            op if inputs.iter().all(|i| op.residual(*i) == Residual::None) => {
                cx.derivatives(inputs)
            }
            _ => Err(cx.no_rule("deeplift")),
        }
    }

    /// The multiplier of one operand of a formula. The operands go from the
    /// reference to the point one after the other, once from the first to the
    /// last and once back; the mean of both takes none before another. Of a
    /// product a b that is (b + b') / 2.
    fn quotient(
        &self,
        cx: &mut VjpContext<'_>,
        formula: &Formula,
        k: usize,
    ) -> Result<Option<ValueId>, GraphError> {
        let (node, n) = (cx.node, cx.inputs());
        let slope = formula.derivative(k);
        let moves = |i: usize| i == k || self.varies(node.inputs[i]);
        if !formula.reads(k) {
            return Ok(None);
        }
        if !(0..n).any(|i| moves(i) && slope.reads(i)) && slope.as_constant() != Some(0.0) {
            return Ok(cx.derivatives(&[k])?[0]);
        }
        let value = |i: usize| Formula::new(&Expr::input(i));
        let there = |i: usize| value(if moves(i) { n + i } else { i });
        let chord = |forth: bool| {
            let others: Vec<Formula> = (0..n)
                .map(|i| if (i < k) == forth { value(i) } else { there(i) })
                .collect();
            let at = |f: &Formula, operand: Formula| {
                let mut operands = others.clone();
                operands[k] = operand;
                f.compose(&operands)
            };
            if !slope.reads(k) && slope.as_constant() != Some(0.0) {
                return at(&slope, value(k));
            }
            let middle = (Expr::input(k) + Expr::input(n + k)) * 0.5;
            let inner = [
                at(formula, value(k)),
                at(formula, there(k)),
                at(&slope, Formula::new(&middle)),
                value(k),
                there(k),
            ];
            Formula::new(&secant(&nearness(formula, &slope, k))).compose(&inner)
        };
        let [first, second, g] = [0, 1, 2].map(Expr::input);
        let alone = (0..n).filter(|i| moves(*i)).count() == 1;
        let (mean, back) = match alone {
            true => (first * g, Formula::default()),
            false => ((first + second) * 0.5 * g, chord(false)),
        };
        let inner = [chord(true), back, value(2 * n)];
        let there = node.inputs.iter().map(|v| self.of(*v));
        let mut values: Vec<ValueId> = node.inputs.iter().copied().chain(there).collect();
        values.push(cx.cotangent(0)?);
        let product = cx.composed(&mean, &inner, &values)?;
        cx.sum_to_input(product, k).map(Some)
    }

    /// The multiplier of an operand of a matrix product: the other operand is
    /// the mean of its two values.
    fn product(&self, cx: &mut VjpContext<'_>, k: usize) -> Result<Option<ValueId>, GraphError> {
        let other = cx.node.inputs[1 - k];
        if !self.varies(other) {
            return Ok(cx.derivatives(&[k])?[0]);
        }
        let mean = (Expr::input(0) + Expr::input(1)) * 0.5;
        let mean = cx.elementwise(&mean, &[other, self.of(other)])?;
        let mut node = cx.node.clone();
        node.inputs[1 - k] = mean;
        let g = cx.cotangent(0)?;
        cx.derivative_of(&node, g, k).map(Some)
    }

    /// The multipliers of a maximum: where it rose, the element that is the
    /// largest at the point takes the difference, and where it fell, the one
    /// that is at the reference. Neither has moved less than the maximum.
    fn largest(&self, cx: &mut VjpContext<'_>) -> Result<ValueId, GraphError> {
        let (node, g) = (cx.node, cx.cotangent(0)?);
        let there = Node {
            inputs: vec![self.of(node.inputs[0])],
            outputs: vec![self.of(node.outputs[0])],
            ..node.clone()
        };
        let [y, reference, m] = [0, 1, 2].map(Expr::input);
        let highest = || y.clone().max(reference.clone());
        let ends = [node.outputs[0], there.outputs[0], g];
        let rise = cx.elementwise(&(m.clone() * (highest() - reference.clone())), &ends)?;
        let fall = cx.elementwise(&(m * (y.clone() - highest())), &ends)?;
        let rise = cx.derivative_of(node, rise, 0)?;
        let fall = cx.derivative_of(&there, fall, 0)?;
        let still = cx.derivative_of(node, g, 0)?;
        let [x, reference, rising, falling, slope] = [0, 1, 2, 3, 4].map(Expr::input);
        let difference = x - reference;
        let equal = difference.clone().binary(Binary::Equal, 0.0);
        let multiplier = equal.select(slope, (rising + falling) / difference);
        let ends = [node.inputs[0], there.inputs[0]];
        cx.elementwise(&multiplier, &[ends[0], ends[1], rise, fall, still])
    }

    /// The multipliers of a softmax along the last axis, which is
    /// e^(x - log(sum(e^x))): a difference, two exponentials, a sum and a
    /// logarithm. The shift that keeps e^x from overflowing is the same at the
    /// point and the reference, so that it has no difference.
    fn softmax(&self, cx: &mut VjpContext<'_>) -> Result<ValueId, GraphError> {
        let (x, g) = (cx.node.inputs[0], cx.cotangent(0)?);
        let ends = [x, self.of(x)];
        let axes = vec![cx.fact(x).shape.len() - 1];
        let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(Expr::input);
        let [mut largest, mut log_sum] = [ends; 2];
        let exp = (a.clone() - b.clone()).exp();
        for (i, x) in ends.into_iter().enumerate() {
            largest[i] = cx.push(ReduceMax { axes: axes.clone() }, &[x])?;
            let powers = cx.elementwise(&exp, &[x, largest[i]])?;
            let sum = cx.push(ReduceSum { axes: axes.clone() }, &[powers])?;
            log_sum[i] = cx.elementwise(&(a.clone().log() + b.clone()), &[sum, largest[i]])?;
        }
        let shift = cx.push(Max {}, &largest)?;
        let mut sums = ends;
        for (i, x) in ends.into_iter().enumerate() {
            let powers = cx.elementwise(&exp, &[x, shift])?;
            sums[i] = cx.push(ReduceSum { axes: axes.clone() }, &[powers])?;
        }
        // Through the outer exponential, of the differences to the logarithms.
        let (u, v) = (a.clone() - c.clone(), b.clone() - d.clone());
        let outer = e.clone() * exponential(u, v);
        let outer = cx.elementwise(&outer, &[ends[0], ends[1], log_sum[0], log_sum[1], g])?;
        let total = cx.push(ReduceSum { axes }, &[outer])?;
        // Through the logarithm, whose difference is known without the shift.
        let (near, middle) = (relative(a.clone(), b.clone()), a.clone() + b.clone());
        let slope = near.select(
            Expr::constant(2.0) / middle,
            (c.clone() - d.clone()) / (a.clone() - b.clone()),
        );
        let logarithm = cx.elementwise(&slope, &[sums[0], sums[1], log_sum[0], log_sum[1]])?;
        let (u, v) = (a - c.clone(), b - c);
        let inner = d - e * f * exponential(u, v);
        cx.elementwise(&inner, &[ends[0], ends[1], shift, outer, total, logarithm])
    }

    /// The multipliers of a normalisation: y = d r with the deviations d from
    /// the mean and r = 1 / sqrt(mean(d^2) + epsilon), whose difference is
    /// -(r r')^2 / (r + r') times that of the variance.
    fn normalize(&self, cx: &mut VjpContext<'_>) -> Result<ValueId, GraphError> {
        let node = cx.node;
        let [y, r] = [0, 1].map(|i| node.outputs[i]);
        let [y_there, r_there] = [y, r].map(|v| self.of(v));
        let shape = cx.fact(y).shape.clone();
        let axes = vec![shape.len() - 1];
        let length = shape[shape.len() - 1] as f64;
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(Expr::input);
        // The deviations' mean of point and reference.
        let mean = (a.clone() / b.clone() + c.clone() / d.clone()) * 0.5;
        let deviation = cx.elementwise(&mean, &[y, r, y_there, r_there])?;
        let mut of_r = cx.cotangent_of(1);
        if let Some(g) = cx.cotangent_of(0) {
            let along = cx.elementwise(&(a.clone() * b.clone()), &[g, deviation])?;
            let sum = cx.push(ReduceSum { axes: axes.clone() }, &[along])?;
            of_r = Some(match of_r {
                None => sum,
                Some(other) => cx.elementwise(&(a.clone() + b.clone()), &[sum, other])?,
            });
        }
        let of_r = of_r.ok_or_else(|| cx.no_gradient(0))?;
        let square = a.clone() * b.clone() * a.clone() * b.clone();
        let of_variance = c.clone() * square / (a.clone() + b.clone()) * (-2.0 / length);
        let of_variance = cx.elementwise(&of_variance, &[r, r_there, of_r])?;
        let through_variance = a * b;
        let of_deviation = match cx.cotangent_of(0) {
            None => cx.elementwise(&through_variance, &[of_variance, deviation])?,
            Some(g) => {
                let direct = c * (d + e) * 0.5;
                let terms = [of_variance, deviation, g, r, r_there];
                cx.elementwise(&(through_variance + direct), &terms)?
            }
        };
        let sum = cx.push(ReduceSum { axes }, &[of_deviation])?;
        let centred = Expr::input(0) - Expr::input(1) * (1.0 / length);
        cx.elementwise(&centred, &[of_deviation, sum])
    }
}

/// Where the derivative stands for a function's difference quotient, whose
/// rounding errors grow as the difference shrinks.
enum Nearness {
    /// Within this difference.
    Absolute(f64),
    /// Within a thousandth of either operand: near a pole nothing is flat.
    Relative,
}

/// How near the operands of a formula's slope must be. The slope in the middle
/// is off by a 24th of the third derivative times the square of the difference;
/// across a kink by a half of its jump. Piecewise linear functions are not
/// rounded, and take the quotient always.
fn nearness(formula: &Formula, slope: &Formula, operand: usize) -> Nearness {
    let step = slope.as_constant() == Some(0.0);
    if !step && slope.derivative(operand).as_constant() == Some(0.0) {
        return Nearness::Absolute(0.0);
    }
    let any = |is: fn(&Step) -> bool| formula.steps().iter().any(is);
    let kinked = any(|s| match s {
        Step::Select(..) => true,
        Step::Unary(f, _) => {
            use Unary::{Abs, Ceil, Floor, Round, Sign};
            matches!(f, Abs | Sign | Floor | Ceil | Round)
        }
        Step::Binary(f, ..) => {
            use Binary::{Equal, Less, LessOrEqual, Max, Min};
            matches!(f, Min | Max | Less | LessOrEqual | Equal)
        }
        _ => false,
    });
    let singular = any(|s| {
        let unary = matches!(s, Step::Unary(Unary::Log | Unary::Sqrt, _));
        unary || matches!(s, Step::Binary(Binary::Div | Binary::Pow, ..))
    });
    match (kinked, singular) {
        (true, _) => Nearness::Absolute(1e-4),
        (_, true) => Nearness::Relative,
        _ => Nearness::Absolute(1e-3),
    }
}

/// 1 where two numbers are within a thousandth of each other.
fn relative(a: Expr, b: Expr) -> Expr {
    let size = a.clone().abs().min(b.clone().abs());
    (a - b).abs().less_or_equal(size * 1e-3)
}

/// The slope between two points, of: the function there, its derivative in the
/// middle, the points.
fn secant(nearness: &Nearness) -> Expr {
    let [f, g, slope, x, y] = [0, 1, 2, 3, 4].map(Expr::input);
    let difference = x.clone() - y.clone();
    let near = match nearness {
        Nearness::Absolute(d) => difference.clone().abs().less_or_equal(*d),
        Nearness::Relative => relative(x, y),
    };
    near.select(slope, (f - g) / difference)
}

/// (e^u - e^v) / (u - v).
fn exponential(u: Expr, v: Expr) -> Expr {
    let difference = u.clone() - v.clone();
    let middle = ((u.clone() + v.clone()) * 0.5).exp();
    let near = difference.clone().abs().less_or_equal(1e-3);
    near.select(middle, (u.exp() - v.exp()) / difference)
}

/// `baseline`, stretched to the point's shape.
fn stretched(graph: &mut Graph, baseline: ValueId, point: ValueId) -> Result<ValueId, GraphError> {
    let to = graph.fact(point).clone();
    let from = graph.fact(baseline).clone();
    if from == to {
        return Ok(baseline);
    }
    let fits = from.dtype == to.dtype && from.shape.broadcast(&to.shape) == Some(to.shape.clone());
    if !fits {
        return Err(GraphError::Op {
            node: graph.value(baseline).name.clone(),
            op: "DeepLift",
            source: OpError::Shape {
                input: 0,
                expected: format!("broadcastable to the point, {to}"),
                found: from.shape,
            },
        });
    }
    let shape = to.shape.to_vec();
    Ok(graph.push("baseline", Expand { shape }, &[baseline])?[0])
}
