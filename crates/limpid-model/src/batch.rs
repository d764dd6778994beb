//! Whether a network treats each picture of a batch by itself.

use crate::description::short;
use crate::{Description, ModelError};
use limpid_graph::passes::lower;
use limpid_graph::{Constant, Fact, Graph, Node, Op, Source};
use std::collections::BTreeMap;

/// The numbers of pictures for which shapes are compared, besides one. With one
/// number alone, an extent that happens to equal it would pass.
const BATCHES: [usize; 2] = [2, 3];

/// The number of logits of a network that gives `[batch, classes]` and whose
/// values keep the pictures apart: the leading extent of whatever depends on
/// the input is proportional to the batch, and no other extent depends on it.
/// In C order each picture then has a part of its own in every value. Batches
/// larger than `most` are not asked for.
///
/// # Errors
/// When a shape does not fit, or depends on the batch in another way.
pub(crate) fn classes(
    description: &Description,
    tensors: &BTreeMap<String, Constant>,
    input_size: [usize; 3],
    weights: &str,
    most: Option<usize>,
) -> Result<usize, ModelError> {
    let wrong = |place: String, reason: String| ModelError::Description {
        file: description.file().to_owned(),
        place,
        reason,
    };
    let one = description.graph(tensors, input_size, 1, weights)?;
    let one = lower(&one).map_err(|e| wrong("key `nodes`".to_owned(), e.to_string()))?;
    let logits = one.outputs().first().map(|&v| &one.fact(v).shape);
    let classes = match logits.map(|shape| shape.dims()) {
        Some(&[1, classes]) if (1..=crate::config::MAX_CLASSES).contains(&classes) => classes,
        _ => {
            return Err(wrong(
                "key `outputs`".to_owned(),
                format!(
                    "has the shape {}; logits [batch, classes] are needed",
                    logits.map_or_else(String::new, ToString::to_string)
                ),
            ));
        }
    };
    let depends = dependent(&one);
    for batch in BATCHES.into_iter().filter(|b| most.is_none_or(|m| *b <= m)) {
        let mut facts: Vec<Fact> = one.values().iter().map(|v| v.fact.clone()).collect();
        for input in one.inputs() {
            facts[input.index()] = Fact::f32(scaled(one.fact(*input), batch));
        }
        for node in one.nodes() {
            let refused = |reason: String| {
                let reason = format!(
                    "({}) {reason}; a batch stays the first axis, and no operator may reshape or sum across it",
                    node.op.name()
                );
                wrong(format!("node `{}`", short(&node.name)), reason)
            };
            if mixes(&one, node, &depends) {
                return Err(refused(
                    "mixes the pictures of a batch: it works along the first axis".into(),
                ));
            }
            let inputs: Vec<&Fact> = node.inputs.iter().map(|v| &facts[v.index()]).collect();
            let made = node.op.infer(&inputs).map_err(|e| {
                refused(format!("takes one picture and not a batch of {batch}: {e}"))
            })?;
            for (v, fact) in node.outputs.iter().zip(made) {
                let single = one.fact(*v);
                let apart = if depends[v.index()] {
                    !single.shape.is_empty() && fact.shape.dims() == scaled(single, batch)
                } else {
                    fact == *single
                };
                if !apart {
                    return Err(refused(format!(
                        "mixes the pictures of a batch: it makes {} of one and {} of {batch}",
                        single.shape, fact.shape
                    )));
                }
                facts[v.index()] = fact;
            }
        }
        let found = one.outputs().first().map(|v| &facts[v.index()].shape);
        if found.map(|shape| shape.dims()) != Some(&[batch, classes]) {
            return Err(wrong(
                "key `outputs`".to_owned(),
                format!(
                    "has the shape {} for {batch} pictures; logits [batch, classes] are needed",
                    found.map_or_else(String::new, ToString::to_string)
                ),
            ));
        }
    }
    Ok(classes)
}

/// Whether a node works along the batch's axis in a way that leaves its extent.
fn mixes(graph: &Graph, node: &Node, depends: &[bool]) -> bool {
    let read = node.inputs.iter().any(|v| depends[v.index()]);
    let rank = node
        .inputs
        .first()
        .map_or(0, |v| graph.fact(*v).shape.len());
    let along = match &node.op {
        Op::AxisFilter(op) => op.axis == 0,
        Op::Concat(op) => op.axis == 0,
        Op::Softmax(_) | Op::Normalize(_) => rank == 1,
        _ => false,
    };
    read && along
}

/// The extents of a value of one picture, for `batch` pictures side by side.
fn scaled(fact: &Fact, batch: usize) -> Vec<usize> {
    let mut shape = fact.shape.to_vec();
    if let Some(first) = shape.first_mut() {
        *first = first.saturating_mul(batch);
    }
    shape
}

/// Which values of a graph depend on its input.
fn dependent(graph: &Graph) -> Vec<bool> {
    let mut depends: Vec<bool> = graph
        .values()
        .iter()
        .map(|v| matches!(v.source, Source::Input(_)))
        .collect();
    for node in graph.nodes() {
        if node.inputs.iter().any(|v| depends[v.index()]) {
            for v in &node.outputs {
                depends[v.index()] = true;
            }
        }
    }
    depends
}
