//! The graphs of a session, put together from a path and the model's.

use crate::Error;
use limpid_explain::{Path, Reduce};
use limpid_graph::ops::{GaussianNoise, Mul, RunningMoments, WeightedSum};
use limpid_graph::passes::{Rule, vjp};
use limpid_graph::{Fact, Graph, ValueId};

/// What an evaluation ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// The logits of each point.
    Scores,
    /// The map of each point: weight * gradient * velocity.
    Maps,
    /// The sum of the maps, added to an accumulator.
    Sum,
}

/// What an input of an evaluation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Image,
    Samples,
    Key,
    Scale,
    Static(usize),
    Control(usize),
    Cotangent,
    Weights,
    Accumulator,
}

/// A graph of evaluations and what its inputs are, in order.
pub(super) struct Evaluation {
    pub(super) graph: Graph,
    pub(super) roles: Vec<Role>,
}

fn batched(batch: usize, dims: &[usize]) -> Vec<usize> {
    [&[batch], dims].concat()
}

/// The model on one picture of shape `dims`.
pub(super) fn forward(network: &Graph, dims: &[usize]) -> Result<Graph, Error> {
    let mut graph = Graph::new();
    let x = graph.input("x", Fact::f32(batched(1, dims)));
    let map = graph.splice(network, &[x])?;
    graph.set_outputs(&[map[network.outputs()[0].index()]]);
    Ok(graph)
}

/// A layer's output and the gradient with respect to it, for one picture.
/// Inputs: the picture, the cotangent of the logits.
pub(super) fn layer_gradient(network: &Graph, layer: &str, dims: &[usize]) -> Result<Graph, Error> {
    let mut graph = forward(network, dims)?;
    let (value, logits) = (graph.layer(layer)?, graph.outputs()[0]);
    graph.set_outputs(&[value]);
    Ok(vjp(&graph, logits, &[value], Rule::Standard)?.graph)
}

/// `batch` points of a path through the model.
pub(super) fn evaluation(
    network: &Graph,
    path: &dyn Path,
    noisy: bool,
    dims: &[usize],
    batch: usize,
    tail: Tail,
) -> Result<Evaluation, Error> {
    const NOISE: GaussianNoise = GaussianNoise { stream: 0 };
    let mut graph = Graph::new();
    let mut roles = vec![Role::Image];
    let mut x = graph.input("image", Fact::f32(batched(1, dims)));
    if noisy {
        let samples = graph.input("samples", Fact::u32([batch, 2]));
        let key = graph.input("key", Fact::u32([2]));
        let scale = graph.input("scale", Fact::f32([1]));
        roles.extend([Role::Samples, Role::Key, Role::Scale]);
        x = graph.push("noise", NOISE, &[x, samples, key, scale])?[0];
    }
    let fragment = path.build(&mut graph, x, batch)?;
    let position = |ids: &[ValueId], v| ids.iter().position(|id| *id == v);
    for v in &graph.inputs()[roles.len()..] {
        let role = position(&fragment.statics, *v).map(Role::Static);
        let role = role.or_else(|| position(&fragment.controls, *v).map(Role::Control));
        roles.extend(role);
    }
    let map = graph.splice(network, &[fragment.point])?;
    let logits = map[network.outputs()[0].index()];
    graph.set_outputs(&[logits]);
    if tail == Tail::Scores {
        return Ok(Evaluation { graph, roles });
    }
    let gradient = vjp(&graph, logits, &[fragment.point], Rule::Standard)?;
    let (mut graph, g) = (gradient.graph, gradient.gradients[0]);
    roles.push(Role::Cotangent);
    let out = if tail == Tail::Sum {
        let weights = graph.input("weights", Fact::f32([batch]));
        let sum = graph.input("sum", Fact::f32(batched(1, dims)));
        roles.extend([Role::Weights, Role::Accumulator]);
        let terms = [&[sum, weights, g][..], fragment.velocity.as_slice()].concat();
        graph.push("sum", WeightedSum {}, &terms)?[0]
    } else {
        let weights = graph.input("weights", Fact::f32([batch, 1, 1, 1]));
        roles.push(Role::Weights);
        let g = match fragment.velocity {
            Some(v) => graph.push("map", Mul {}, &[g, v])?[0],
            None => g,
        };
        graph.push("weighted", Mul {}, &[g, weights])?[0]
    };
    graph.set_outputs(&[out]);
    Ok(Evaluation { graph, roles })
}

/// The update of a reducer's state by `batch` maps. Inputs: for squares the
/// sum, the weights and the maps; for the variance the mean, the deviations,
/// the count and the maps. Outputs: the new state.
pub(super) fn reduction(reduce: Reduce, dims: &[usize], batch: usize) -> Result<Graph, Error> {
    let mut graph = Graph::new();
    let state = Fact::f32(batched(1, dims));
    let first = graph.input("first", state.clone());
    let outputs = if reduce == Reduce::Variance {
        let second = graph.input("second", state);
        let count = graph.input("count", Fact::f32([1]));
        let maps = graph.input("maps", Fact::f32(batched(batch, dims)));
        graph.push("moments", RunningMoments {}, &[first, second, count, maps])?
    } else {
        let weights = graph.input("weights", Fact::f32([batch]));
        let maps = graph.input("maps", Fact::f32(batched(batch, dims)));
        graph.push("squares", WeightedSum {}, &[first, weights, maps, maps])?
    };
    graph.set_outputs(&outputs);
    Ok(graph)
}
