//! Which nodes run at once.
//!
//! In an inverted bottleneck the tensors around the depthwise convolution are
//! six times as large as those at its ends, and a batch of them is far larger
//! than any cache. So the convolutions around a depthwise one are computed a
//! few rows at a time, and what is between them never leaves a core's cache.

use crate::layout::{PLANAR, Precision};
use limpid_graph::{Fact, Graph, Node, Op};
use std::ops::Range;

/// Rows of the result that each thread must have. Fewer would be computed from
/// as many again that the neighbour computes, too, and every thread would read
/// all weights for them.
const ROWS: usize = 7;

/// All nodes in the order in which they run on so many threads, those that run
/// at once together. In half precision none do: its tensors are half as large,
/// and a chain keeps floats.
pub(crate) fn steps(graph: &Graph, threads: usize, precision: Precision) -> Vec<Range<usize>> {
    if precision != Precision::F32 {
        return (0..graph.nodes().len()).map(|i| i..i + 1).collect();
    }
    let uses = graph.uses();
    let nodes = graph.nodes();
    let passes = |i: usize| {
        // Whether a node's first result is read by the next one alone.
        let (Some(value), Some(next)) = (nodes[i].outputs.first(), nodes.get(i + 1)) else {
            return false;
        };
        uses[value.index()] == 1
            && next.inputs.first() == Some(value)
            && !graph.outputs().contains(value)
    };
    let mut steps = Vec::with_capacity(nodes.len());
    let mut i = 0;
    while i < nodes.len() {
        let pair = |i: usize, is: [fn(&Graph, &Node) -> bool; 2]| {
            passes(i) && is[0](graph, &nodes[i]) && is[1](graph, &nodes[i + 1])
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
            end = i + 1;
        }
        steps.push(i..end);
        i = end;
    }
    steps
}

/// When each node runs, and of each value whether it stays between nodes that
/// run at once.
pub(crate) fn turns(
    graph: &Graph,
    threads: usize,
    precision: Precision,
) -> (Vec<usize>, Vec<bool>) {
    let mut turns = Vec::with_capacity(graph.nodes().len());
    let mut inner = vec![false; graph.values().len()];
    for (turn, nodes) in steps(graph, threads, precision).into_iter().enumerate() {
        turns.extend(nodes.clone().map(|_| turn));
        for node in nodes.start..nodes.end - 1 {
            inner[graph.nodes()[node].outputs[0].index()] = true;
        }
    }
    (turns, inner)
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
    let known = |i: usize| graph.constant_tensor(node.inputs[i]).is_some();
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
