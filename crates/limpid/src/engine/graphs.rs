//! The graphs of a session, put together from a path and the model's.

use crate::Error;
use limpid_explain::{Objective, Readout, Reduce, Subject};
use limpid_graph::ops::{
    Expand, GaussianNoise, Mul, Reshape, RunningMoments, Sigmoid, Softmax, Tile, WeightedSum,
};
use limpid_graph::passes::{Rule, lower, vjp, vjp_with_baseline};
use limpid_graph::{Fact, Graph, Node, ValueId};

/// What an evaluation ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// The logits of each point.
    Scores,
    /// The gradient of each point.
    Gradients,
    /// The map of each point: gradient * velocity.
    Maps,
    /// Sums of weight * gradient * velocity, added to so many accumulators.
    Sums(usize),
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

/// A graph of evaluations and what its inputs are, in order: the image first.
pub(super) struct Evaluation {
    pub(super) graph: Graph,
    pub(super) roles: Vec<Role>,
}

/// The noise of SmoothGrad.
pub(super) const NOISE: GaussianNoise = GaussianNoise { stream: 0 };

fn batched(batch: usize, dims: &[usize]) -> Vec<usize> {
    [&[batch], dims].concat()
}

/// The model on `batch` pictures of shape `dims`, and where the network's
/// values are in it: in the same place for every batch.
pub(super) fn forward(
    network: &Graph,
    dims: &[usize],
    batch: usize,
) -> Result<(Graph, Vec<ValueId>), Error> {
    let mut graph = Graph::new();
    let x = graph.input("x", Fact::f32(batched(batch, dims)));
    let map = graph.splice(network, &[x])?;
    let outputs = network.outputs().iter().map(|v| map[v.index()]);
    let outputs: Vec<ValueId> = outputs.collect();
    graph.set_outputs(&outputs);
    Ok((graph, map))
}

/// What an objective reads off the logits.
pub(super) fn read(graph: &mut Graph, logits: ValueId, readout: Readout) -> Result<ValueId, Error> {
    Ok(match readout {
        Readout::Logit => logits,
        Readout::Softmax => graph.push("probabilities", Softmax { axis: 1 }, &[logits])?[0],
        Readout::Sigmoid => graph.push("probabilities", Sigmoid {}, &[logits])?[0],
    })
}

/// `value`, which is the same for all pictures of a batch, as often as `fact`
/// has it.
fn repeated(graph: &mut Graph, value: ValueId, fact: &Fact) -> Result<ValueId, Error> {
    let shape = graph.fact(value).shape.clone();
    if shape == fact.shape {
        return Ok(value);
    }
    let mut repeats = vec![1; shape.len()];
    repeats[0] = fact.shape[0] / shape[0];
    let name = "repeated";
    Ok(if shape[0] == 1 {
        graph.push(name, Expand { shape: repeats }, &[value])?[0]
    } else {
        graph.push(name, Tile { repeats }, &[value])?[0]
    })
}

/// The same value, made by a node.
pub(super) fn copied(graph: &mut Graph, v: ValueId) -> Result<ValueId, Error> {
    let shape = graph.fact(v).shape.iter().map(|d| *d as i64).collect();
    Ok(graph.push("copied", Reshape { shape }, &[v])?[0])
}

/// Copies nodes of `many` to the end of `one`, which begins with the same
/// values for one picture: so many of them as `mapped` has `Shared`.
fn extend<'a>(
    one: &mut Graph,
    many: &Graph,
    nodes: impl Iterator<Item = &'a Node>,
    mapped: &mut [Copied],
) -> Result<(), Error> {
    for node in nodes {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &v in &node.inputs {
            let value = match (mapped[v.index()], many.constant_of(v)) {
                (Copied::To(value), _) => value,
                (Copied::Shared, _) => repeated(one, v, many.fact(v))?,
                (Copied::Not, Some(c)) => one.constant(&*many.value(v).name, c),
                (Copied::Not, None) => unreachable!("nodes stand in topological order"),
            };
            mapped[v.index()] = Copied::To(value);
            inputs.push(value);
        }
        let outputs = one.push(node.name.clone(), node.op.clone(), &inputs)?;
        for (old, new) in node.outputs.iter().zip(outputs) {
            mapped[old.index()] = Copied::To(new);
        }
    }
    Ok(())
}

/// Where a value of a batch is in a graph that computes for one picture what
/// all have in common.
#[derive(Debug, Clone, Copy)]
enum Copied {
    /// Nowhere yet.
    Not,
    /// In the same place, for one picture.
    Shared,
    /// There.
    To(ValueId),
}

/// Layers' outputs for one picture, and the gradients of `targets` scores with
/// respect to them. The forward pass is done once; what gradients need of it is
/// repeated. Inputs: the picture, the cotangents. Outputs: the layers, then
/// their gradients.
pub(super) fn layer_gradients(
    network: &Graph,
    layers: &[ValueId],
    readout: Readout,
    dims: &[usize],
    targets: usize,
) -> Result<Graph, Error> {
    let (mut one, map) = forward(network, dims, 1)?;
    let (mut many, _) = forward(network, dims, targets)?;
    let [logits, logits_of_many] = [one.outputs()[0], many.outputs()[0]];
    read(&mut one, logits, readout)?;
    let scores = read(&mut many, logits_of_many, readout)?;
    let mut outputs: Vec<ValueId> = layers.iter().map(|v| map[v.index()]).collect();
    let gradient = vjp(&many, scores, &outputs, Rule::Standard)?;
    let mut mapped = vec![Copied::Shared; many.values().len()];
    mapped.resize(gradient.graph.values().len(), Copied::Not);
    let cotangent = one.input("cotangents", many.fact(scores).clone());
    mapped[gradient.cotangent.index()] = Copied::To(cotangent);
    let backward = gradient.graph.nodes()[many.nodes().len()..].iter();
    extend(&mut one, &gradient.graph, backward, &mut mapped)?;
    for g in &gradient.gradients {
        let value = match mapped[g.index()] {
            // The gradient with respect to the scores is what they are weighted
            // by; outputs are made by nodes.
            Copied::To(value) if value == cotangent => copied(&mut one, value)?,
            Copied::To(value) => value,
            _ => unreachable!("a gradient is made by the backward pass"),
        };
        outputs.push(value);
    }
    one.set_outputs(&outputs);
    Ok(lower(&one)?)
}

/// The logits after changes of a layer's output. Inputs: the picture, the
/// layer's outputs. What does not depend on the layer is done once.
pub(super) fn layer_variants(
    network: &Graph,
    layer: ValueId,
    dims: &[usize],
    batch: usize,
) -> Result<Graph, Error> {
    let (mut one, map) = forward(network, dims, 1)?;
    let (many, _) = forward(network, dims, batch)?;
    let layer = map[layer.index()];
    let mut mapped = vec![Copied::Shared; many.values().len()];
    let variants = one.input("variants", many.fact(layer).clone());
    mapped[layer.index()] = Copied::To(variants);
    let mut nodes = Vec::new();
    for node in many.nodes() {
        let changed = |v: &ValueId| !matches!(mapped[v.index()], Copied::Shared);
        if node.inputs.iter().any(changed) {
            for v in &node.outputs {
                mapped[v.index()] = Copied::Not;
            }
            nodes.push(node);
        }
    }
    extend(&mut one, &many, nodes.into_iter(), &mut mapped)?;
    let logits = many.outputs()[0];
    let logits = match mapped[logits.index()] {
        Copied::To(logits) => logits,
        _ => repeated(&mut one, logits, many.fact(logits))?,
    };
    one.set_outputs(&[logits]);
    Ok(lower(&one)?)
}

/// `batch` points of a path through the model.
pub(super) fn evaluation(
    network: &Graph,
    subject: &Subject<'_>,
    readout: Readout,
    batch: usize,
    tail: Tail,
) -> Result<Evaluation, Error> {
    let dims = subject.image.dims();
    let mut graph = Graph::new();
    let mut roles = vec![Role::Image];
    let mut x = graph.input("image", Fact::f32(batched(1, dims)));
    if subject.noise.is_some() {
        let samples = graph.input("samples", Fact::u32([batch, 2]));
        let key = graph.input("key", Fact::u32([2]));
        let scale = graph.input("scale", Fact::f32([1]));
        roles.extend([Role::Samples, Role::Key, Role::Scale]);
        x = graph.push("noise", NOISE, &[x, samples, key, scale])?[0];
    }
    let fragment = subject.path.build(&mut graph, x, batch)?;
    let position = |ids: &[ValueId], v| ids.iter().position(|id| *id == v);
    for v in &graph.inputs()[roles.len()..] {
        let role = position(&fragment.statics, *v).map(Role::Static);
        let role = role.or_else(|| position(&fragment.controls, *v).map(Role::Control));
        roles.extend(role);
    }
    // Points that are all the same are one picture, which is asked for as often.
    let points = repeated(&mut graph, fragment.point, &Fact::f32(batched(batch, dims)))?;
    let map = graph.splice(network, &[points])?;
    let logits = map[network.outputs()[0].index()];
    graph.set_outputs(&[logits]);
    if tail == Tail::Scores {
        return Ok(Evaluation { graph, roles });
    }
    let scores = read(&mut graph, logits, readout)?;
    let gradient = vjp_with_baseline(&graph, scores, &[points], subject.rule, fragment.reference)?;
    let (mut graph, g) = (gradient.graph, gradient.gradients[0]);
    roles.push(Role::Cotangent);
    let out = match (tail, fragment.velocity) {
        (Tail::Sums(rows), velocity) => {
            let weights = graph.input("weights", Fact::f32([rows, batch]));
            let sum = graph.input("sum", Fact::f32(batched(rows, dims)));
            roles.extend([Role::Weights, Role::Accumulator]);
            let terms = [&[sum, weights, g][..], velocity.as_slice()].concat();
            graph.push("sum", WeightedSum {}, &terms)?[0]
        }
        (Tail::Maps, Some(v)) => graph.push("map", Mul {}, &[g, v])?[0],
        _ => g,
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
        let weights = graph.input("weights", Fact::f32([1, batch]));
        let maps = graph.input("maps", Fact::f32(batched(batch, dims)));
        graph.push("squares", WeightedSum {}, &[first, weights, maps, maps])?
    };
    graph.set_outputs(&outputs);
    Ok(graph)
}

/// The cotangents of objectives, a row for each.
pub(super) fn cotangents(objectives: &[Objective], classes: usize) -> Vec<f32> {
    let rows = objectives.iter().flat_map(|o| o.cotangent(classes));
    rows.collect()
}
