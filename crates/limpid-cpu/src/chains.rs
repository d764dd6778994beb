//! Which nodes run at once.
//!
//! In an inverted bottleneck the tensors around the depthwise convolution are
//! six times as large as those at its ends, and a batch of them is far larger
//! than any cache. So the convolutions around a depthwise one are computed a
//! few rows at a time, and what is between them never leaves a core's cache.
//!
//! Elementwise operators that read the result of a product (a transformer's
//! activation, its gradient) work on it part by part, where it has just been
//! stored.

use crate::layout::{PLANAR, Precision};
use limpid_graph::{Fact, Graph, Node, Op, ValueId};
use std::ops::Range;

/// Rows of the result that each thread must have. Fewer would be computed from
/// as many again that the neighbour computes, too, and every thread would read
/// all weights for them.
const ROWS: usize = 7;

/// Channels that the input and the output of a wide layer have at least.
const WIDE: usize = 128;

/// All nodes in the order in which they run on so many threads, those that run
/// at once together. A chain keeps floats, so convolutions of bf16 run one by
/// one.
pub(crate) fn steps(graph: &Graph, threads: usize, precision: Precision) -> Vec<Range<usize>> {
    let floats = match precision {
        Precision::F32 => vec![true; graph.nodes().len()],
        Precision::Bf16 => bottlenecks(graph),
    };
    let uses = graph.uses();
    let mut steps = Vec::with_capacity(graph.nodes().len());
    let mut i = 0;
    while i < graph.nodes().len() {
        let chained = chain(graph, &uses, &floats, threads, i);
        let end = i + chained.max(1 + followers(graph, i));
        steps.push(i..end);
        i = end;
    }
    steps
}

/// How many nodes from one on are a chain of convolutions, if only of one.
fn chain(graph: &Graph, uses: &[usize], floats: &[bool], threads: usize, i: usize) -> usize {
    let nodes = graph.nodes();
    let pair = |i: usize, is: [fn(&Graph, &Node) -> bool; 2]| {
        // Whether a node's first result is read by the next one alone.
        let (Some(value), Some(next)) = (nodes[i].outputs.first(), nodes.get(i + 1)) else {
            return false;
        };
        uses[value.index()] == 1
            && next.inputs.first() == Some(value)
            && !graph.outputs().contains(value)
            && floats[i]
            && floats[i + 1]
            && is[0](graph, &nodes[i])
            && is[1](graph, next)
    };
    let mut end = i + 1;
    if pair(i, [is_dense, is_depthwise]) {
        end += 1;
    }
    if pair(end - 1, [is_depthwise, is_pointwise]) {
        end += 1;
    }
    let result = &graph.fact(nodes[end - 1].outputs[0]).shape;
    if end > i + 1 && result[0] * result[2] < ROWS * threads {
        return 1;
    }
    end - i
}

/// Of each node whether it computes floats where others compute in bf16: the
/// forward convolutions of an inverted bottleneck, which are a depthwise one and
/// those next to it that are not wide. Chains of floats make them fast, too.
///
/// What is rounded on the way forward puts units on the other side of their
/// kinks, in all layers that come after; that is nearly all that a map shows of
/// bf16. Wide layers come last, and few units after them.
pub(crate) fn bottlenecks(graph: &Graph) -> Vec<bool> {
    let mut makers = vec![None; graph.values().len()];
    let mut found = vec![false; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        makers[node.outputs[0].index()] = Some(i);
        let before = node.inputs.first().and_then(|v| makers[v.index()]);
        let (Op::Conv(_), Some(before)) = (&node.op, before) else {
            continue;
        };
        let from = &graph.nodes()[before];
        let pair = is_depthwise(graph, node) && is_dense(graph, from) && is_narrow(graph, from)
            || is_depthwise(graph, from) && is_pointwise(graph, node) && is_narrow(graph, node);
        if pair && matches!(from.op, Op::Conv(_)) {
            found[before] = true;
            found[i] = true;
        }
    }
    found
}

fn is_narrow(graph: &Graph, node: &Node) -> bool {
    let channels = |v: ValueId| graph.fact(v).shape[1];
    channels(node.inputs[0]).min(channels(node.outputs[0])) < WIDE
}

/// How many nodes behind a product are elementwise operators on its result.
fn followers(graph: &Graph, leader: usize) -> usize {
    let node = &graph.nodes()[leader];
    let value = node.outputs[0];
    // Matrices of two axes may be images of one position each.
    if !matches!(node.op, Op::Gemm(_)) || graph.fact(value).shape.len() == 2 {
        return 0;
    }
    let follows = |other: &&Node| {
        let outside = |v: &ValueId| graph.producer(*v).is_none_or(|(i, _)| i <= leader);
        other.op.formula(other.inputs.len()).is_some()
            && other.inputs.contains(&value)
            && other.inputs.iter().all(outside)
            && graph.fact(other.outputs[0]).shape == graph.fact(value).shape
    };
    graph.nodes()[leader + 1..]
        .iter()
        .take_while(follows)
        .count()
}

/// When each node runs, and of each value whether nodes that run at once keep
/// it to themselves.
pub(crate) fn turns(
    graph: &Graph,
    threads: usize,
    precision: Precision,
) -> (Vec<usize>, Vec<bool>) {
    let steps = steps(graph, threads, precision);
    let inner = inner(graph, &steps);
    let turns = steps.into_iter().enumerate();
    let turns = turns.flat_map(|(turn, nodes)| nodes.map(move |_| turn));
    (turns.collect(), inner)
}

/// Of each value whether it is made and read by the nodes of one step alone.
pub(crate) fn inner(graph: &Graph, steps: &[Range<usize>]) -> Vec<bool> {
    let mut uses = graph.uses();
    let mut inner = vec![false; uses.len()];
    for step in steps.iter().filter(|step| step.len() > 1) {
        let made = |v: ValueId| graph.producer(v).is_some_and(|(i, _)| step.contains(&i));
        for v in graph.nodes()[step.clone()].iter().flat_map(|n| &n.inputs) {
            if made(*v) {
                uses[v.index()] -= 1;
                inner[v.index()] = uses[v.index()] == 0;
            }
        }
    }
    inner
}

/// The window of a convolution with known weights, on images in blocks.
struct Shape {
    depthwise: bool,
    pointwise: bool,
    picture: bool,
}

fn shape(graph: &Graph, node: &Node) -> Option<Shape> {
    let (groups, strides, pads, scaled) = match &node.op {
        Op::Conv(conv) => {
            let (x, weight) = (
                &graph.fact(node.inputs[0]).shape,
                &graph.fact(node.inputs[1]).shape,
            );
            (conv.groups, conv.strides, conv.pads(x, weight), conv.scaled)
        }
        Op::ConvTranspose(conv) => (conv.groups, conv.strides, conv.pads, conv.scaled),
        _ => return None,
    };
    let (from, to) = (graph.fact(node.inputs[0]), graph.fact(node.outputs[0]));
    // Images of one position are rows of a matrix.
    if [from, to].iter().any(|fact| fact.shape[2..] == [1, 1]) {
        return None;
    }
    let known = |i: usize| graph.is_constant(node.inputs[i]);
    if !known(1) || scaled && !(2..node.inputs.len()).any(known) {
        return None;
    }
    let channels = |fact: &Fact| fact.shape[1];
    let weight = &graph.fact(node.inputs[1]).shape;
    let (dense, blocks) = (groups == 1, channels(to) > PLANAR);
    let unit = strides == [1, 1] && pads == [0; 4] && weight[2..] == [1, 1];
    let conv = matches!(node.op, Op::Conv(_));
    // A window of fewer rows than its stride leaves rows out.
    let overlaps = weight[2] >= strides[0];
    Some(Shape {
        depthwise: blocks && overlaps && groups == channels(from) && groups == channels(to),
        pointwise: blocks && dense && unit && channels(from) > PLANAR,
        picture: blocks && dense && conv && overlaps && channels(from) <= PLANAR,
    })
}

fn is_depthwise(graph: &Graph, node: &Node) -> bool {
    shape(graph, node).is_some_and(|s| s.depthwise)
}

fn is_pointwise(graph: &Graph, node: &Node) -> bool {
    shape(graph, node).is_some_and(|s| s.pointwise)
}

/// A convolution that is computed row by row: of one tap, or of a picture.
fn is_dense(graph: &Graph, node: &Node) -> bool {
    shape(graph, node).is_some_and(|s| s.pointwise || s.picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use limpid_graph::GraphError;
    use limpid_graph::ops::Conv;
    use limpid_tensor::Tensor;
    use std::sync::Arc;

    /// Convolutions one after the other, of so many channels and taps a side;
    /// those whose second number is 1 are depthwise.
    fn line(channels: usize, weights: &[[usize; 3]]) -> Result<Graph, GraphError> {
        let mut graph = Graph::new();
        let mut x = graph.input("x", Fact::f32([1, channels, 16, 16]));
        for [outputs, inputs, side] in weights {
            let shape = [*outputs, *inputs, *side, *side];
            let zeros = vec![0.0; shape.iter().product()];
            let weight = Arc::new(Tensor::new(shape, zeros).unwrap());
            let weight = graph.constant("weight", weight);
            let conv = Conv {
                groups: graph.fact(x).shape[1] / inputs,
                ..Conv::default()
            };
            x = graph.push("conv", conv, &[x, weight])?[0];
        }
        graph.set_outputs(&[x]);
        Ok(graph)
    }

    #[test]
    fn narrow_convolutions_next_to_depthwise_ones_compute_floats() {
        for (channels, weights, expected) in [
            // A stem, then a block without an expansion.
            (3, vec![[32, 3, 3], [32, 1, 3], [16, 32, 1]], vec![true; 3]),
            (
                24,
                vec![[144, 24, 1], [144, 1, 3], [24, 144, 1]],
                vec![true; 3],
            ),
            (
                112,
                vec![[672, 112, 1], [672, 1, 3], [192, 672, 1]],
                vec![true, true, false],
            ),
            (
                192,
                vec![[1152, 192, 1], [1152, 1, 3], [192, 1152, 1]],
                vec![false; 3],
            ),
            // A bottleneck of dense windows.
            (
                256,
                vec![[64, 256, 1], [64, 64, 3], [256, 64, 1]],
                vec![false; 3],
            ),
        ] {
            let graph = line(channels, &weights).unwrap();
            assert_eq!(bottlenecks(&graph), expected, "{weights:?}");
            let steps = steps(&graph, 1, Precision::Bf16);
            let chained: usize = steps.iter().map(Range::len).filter(|n| *n > 1).sum();
            let floats = expected.iter().filter(|e| **e).count();
            assert_eq!(chained, floats, "{weights:?}");
        }
    }
}
