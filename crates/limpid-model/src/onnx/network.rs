//! From an imported file to a classifier: pictures in, logits out.

use super::refusal::{Refusal, Result};
use super::{Imported, lift};
use limpid_graph::ops::{Reshape, Transpose};
use limpid_graph::passes::{eliminate_dead_code, recognize};
use limpid_graph::{Fact, Graph, Op, ValueId};

/// A classifier of pictures `[batch, C, H, W]`.
pub(crate) struct Network {
    /// For one picture, unless `batch` says otherwise.
    pub(crate) graph: Graph,
    /// Why the batch could not be traced through the network, if so: the graph
    /// then takes the batch that it was exported for.
    pub(crate) fixed: Option<String>,
    /// Whether it ends in a sigmoid: each class is a tag by itself.
    pub(crate) tags: bool,
    pub(crate) notes: Vec<String>,
}

/// The numbers of channels that pictures have.
const CHANNELS: [usize; 3] = [1, 3, 4];

/// The classifier that an imported file holds; `file` is named in notes.
pub(super) fn network(imported: Imported, file: &str) -> Result<Network> {
    let mut notes = imported.notes;
    let graph = pictures_first(&imported.graph)?;
    let (graph, tags) = classifier(graph, &imported.outputs, file, &mut notes)?;
    let graph = recognize(&eliminate_dead_code(&graph)?)?;
    match lift::lift(&graph) {
        Ok(graph) => Ok(Network {
            graph: recognize(&graph)?,
            fixed: None,
            tags,
            notes,
        }),
        Err(refusal) => Ok(Network {
            graph,
            fixed: Some(refusal.to_string()),
            tags,
            notes,
        }),
    }
}

/// The network behind an input `[N, C, H, W]`: pictures of other frameworks
/// have their channels last.
fn pictures_first(graph: &Graph) -> Result<Graph> {
    let &[input] = graph.inputs() else {
        let names: Vec<&str> = graph
            .inputs()
            .iter()
            .map(|v| graph.value(*v).name.as_str())
            .collect();
        return Err(Refusal::new(format!(
            "it has {} inputs ({}); export a network that takes pictures alone",
            names.len(),
            names
                .iter()
                .map(|n| crate::description::short(n))
                .collect::<Vec<_>>()
                .join(", ")
        )));
    };
    let shape = graph.fact(input).shape.clone();
    let &[n, a, b, c] = &shape[..] else {
        return Err(Refusal::new(format!(
            "its input has the shape {shape}; pictures [N, C, H, W] or [N, H, W, C] are needed"
        )));
    };
    let last = CHANNELS.contains(&c) && !CHANNELS.contains(&a);
    let first = if last { [n, c, a, b] } else { [n, a, b, c] };
    let mut new = Graph::new();
    let mut pixels = new.input(graph.value(input).name.clone(), Fact::f32(first));
    if last {
        let transpose = Transpose {
            perm: vec![0, 2, 3, 1],
        };
        pixels = new.push(graph.value(input).name.clone(), transpose, &[pixels])?[0];
    }
    let map = new.splice(graph, &[pixels])?;
    let outputs: Vec<ValueId> = graph.outputs().iter().map(|v| map[v.index()]).collect();
    new.set_outputs(&outputs);
    Ok(new)
}

/// The network with its logits `[N, classes]` as the only output, and whether
/// a sigmoid followed them.
fn classifier(
    mut graph: Graph,
    names: &[String],
    file: &str,
    notes: &mut Vec<String>,
) -> Result<(Graph, bool)> {
    let batch = graph
        .inputs()
        .first()
        .map_or(1, |v| graph.fact(*v).shape[0]);
    let classes = |graph: &Graph, v: ValueId| {
        let dims = graph.fact(v).shape.dims();
        let (&n, rest) = dims.split_first()?;
        let (&k, ones) = rest.split_first()?;
        (n == batch && ones.iter().all(|&d| d == 1)).then_some(k)
    };
    let outputs = graph.outputs().to_vec();
    let Some((i, k)) = (0..outputs.len()).find_map(|i| Some((i, classes(&graph, outputs[i])?)))
    else {
        let shapes: Vec<String> = outputs
            .iter()
            .map(|v| graph.fact(*v).shape.to_string())
            .collect();
        return Err(Refusal::new(format!(
            "its outputs have the shapes {}; a classifier puts out [batch, classes]",
            shapes.join(" and ")
        )));
    };
    if outputs.len() > 1 {
        notes.push(format!(
            "{file} has {} outputs; `{}` is taken as the classes' scores",
            outputs.len(),
            crate::description::short(&names[i])
        ));
    }
    let mut logits = outputs[i];
    let mut tags = false;
    // Behind the activation only the shape may change.
    let mut v = logits;
    while let Some((_, node)) = graph.producer(v) {
        let read = node.inputs[0];
        match &node.op {
            Op::Reshape(_) | Op::Flatten(_) => v = read,
            Op::Softmax(_) | Op::LogSoftmax(_) | Op::Sigmoid(_) => {
                notes.push(format!(
                    "{file} ends in {}; the logits are its input",
                    node.op.name()
                ));
                logits = read;
                tags = matches!(node.op, Op::Sigmoid(_));
                break;
            }
            _ => break,
        }
    }
    let flat = [batch as i64, k as i64];
    if graph.fact(logits).shape.dims() != [batch, k] {
        let op = Reshape {
            shape: flat.to_vec(),
        };
        logits = graph.push("logits", op, &[logits])?[0];
    }
    graph.set_outputs(&[logits]);
    Ok((graph, tags))
}
