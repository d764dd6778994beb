use super::rewrite;
use crate::formula::Step;
use crate::ops::Elementwise;
use crate::{Expr, Formula, Graph, GraphError, Node, Op, ValueId};

/// Where an activation and its gradient read the result of a product, computes
/// the slope beside the activation and keeps that instead of what both read:
/// they share the error function, the hyperbolic tangent or the sigmoid, and a
/// multiplication is left of the gradient. Devices work on a product's result
/// while it is in a cache; behind other operators the slope would cost a pass of
/// its own.
///
/// Runs behind [`fuse_elementwise`](super::fuse_elementwise), which would merge
/// the two halves of the gradient again.
///
/// # Errors
/// None on a graph that exists; inference runs again.
pub fn keep_slopes(graph: &Graph) -> Result<Graph, GraphError> {
    let pairs = pairs(graph);
    // The slopes, once they are made.
    let mut slopes: Vec<Option<ValueId>> = vec![None; pairs.len()];
    rewrite(graph, |new, map, i, node| {
        let (mut op, mut inputs) = (node.op.clone(), map.all(&node.inputs));
        for (pair, slope) in pairs.iter().zip(&slopes) {
            if let (true, Some(slope)) = (pair.gradient == i, slope) {
                let formula = pair.outer.clone();
                let operands = inputs.len();
                op = Elementwise { formula, operands }.into();
                inputs[pair.operand] = *slope;
            }
        }
        let outputs = new.push(node.name.clone(), op, &inputs)?;
        for (pair, slope) in pairs.iter().zip(&mut slopes) {
            if pair.activation == i {
                let formula = pair.slope.clone();
                let op = Elementwise {
                    formula,
                    operands: 1,
                };
                let name = format!("slope of {}", node.name);
                *slope = Some(new.push(name, op, &[map.get(pair.value)])?[0]);
            }
        }
        Ok(outputs.into_iter().map(Some).collect())
    })
}

/// An activation and its gradient, by their positions.
struct Pair {
    /// What both read.
    value: ValueId,
    activation: usize,
    gradient: usize,
    /// The gradient's operand that is the value.
    operand: usize,
    /// What the gradient makes of the value alone.
    slope: Formula,
    /// What it makes of that.
    outer: Formula,
}

fn pairs(graph: &Graph) -> Vec<Pair> {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.values().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        node.inputs.iter().for_each(|v| readers[v.index()].push(i));
    }
    let values = (0..readers.len()).map(|i| ValueId(i as u32));
    let pair = |value: ValueId| {
        let [activation, gradient] = readers[value.index()][..] else {
            return None;
        };
        let [first, second] = [activation, gradient].map(|i| &graph.nodes()[i]);
        let shape = &graph.fact(value).shape;
        let same = |node: &Node| graph.fact(node.outputs[0]).shape == *shape;
        let product = matches!(graph.producer(value)?.1.op, Op::Gemm(_));
        // One node that reads it twice is no pair.
        let product = product && activation < gradient;
        if graph.outputs().contains(&value) || !product || !same(first) || !same(second) {
            return None;
        }
        let [place, operand] = [first, second].map(|n| n.inputs.iter().position(|v| *v == value));
        let operand = operand?;
        let own = first.op.formula(first.inputs.len())?;
        let (slope, outer) = second.op.formula(second.inputs.len())?.split(operand)?;
        let here = slope.compose(&[Formula::new(&Expr::input(place?))]);
        let apart = functions(own.steps()) + functions(here.steps());
        let shares = functions(&Formula::together(&[own, here]).0) < apart;
        shares.then_some(Pair {
            value,
            activation,
            gradient,
            operand,
            slope,
            outer,
        })
    };
    values.filter_map(pair).collect()
}

/// The steps that are no arithmetic.
fn functions(steps: &[Step]) -> usize {
    let function = |s: &&Step| matches!(s, Step::Unary(f, _) if f.is_transcendental());
    steps.iter().filter(function).count()
}
