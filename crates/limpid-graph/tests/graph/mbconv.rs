//! What fusion makes of two well-known blocks, node by node: a pass that
//! silently stopped fusing would only be slower.

use crate::support::Builder;
use limpid_graph::ops::{Add, Clip, Epilogue, RangeMask};
use limpid_graph::passes::{Gradient, Rule, eliminate_dead_code, fold_batch_norm, fuse, vjp};
use limpid_graph::{Graph, Node, Op, ValueId};
use limpid_tensor::DType;

/// An inverted bottleneck: expand, depthwise, project, add.
fn mbconv() -> Graph {
    let (mut b, x) = Builder::new(&[1, 4, 6, 6]);
    let y = b.conv(x, 12, 1, 1, 1, false);
    let y = b.batch_norm(y);
    let y = b.clip(y, 2);
    let y = b.conv(y, 12, 3, 1, 12, false);
    let y = b.batch_norm(y);
    let y = b.clip(y, 2);
    let y = b.conv(y, 4, 1, 1, 1, false);
    let y = b.batch_norm(y);
    let y = b.push(Add {}, &[y, x]);
    b.graph.set_outputs(&[y]);
    b.graph
}

/// A residual block with a strided shortcut, between two convolutions.
fn basic_block() -> Graph {
    let (mut b, x) = Builder::new(&[1, 3, 8, 8]);
    let x = b.conv(x, 4, 3, 1, 1, false);
    let x = b.batch_norm(x);
    let x = b.clip(x, 1);
    let y = b.conv(x, 8, 3, 2, 1, false);
    let y = b.batch_norm(y);
    let y = b.clip(y, 1);
    let y = b.conv(y, 8, 3, 1, 1, false);
    let y = b.batch_norm(y);
    let short = b.conv(x, 8, 1, 2, 1, false);
    let short = b.batch_norm(short);
    let y = b.push(Add {}, &[y, short]);
    let y = b.clip(y, 1);
    b.graph.set_outputs(&[y]);
    b.graph
}

fn prepare(graph: &Graph) -> Graph {
    let folded = fold_batch_norm(graph).unwrap();
    let (x, y) = (folded.inputs()[0], folded.outputs()[0]);
    let Gradient { graph, .. } = vjp(&folded, y, &[x], Rule::Standard).unwrap();
    eliminate_dead_code(&fuse(&graph).unwrap()).unwrap()
}

/// The operators with what is fused into them, in order.
fn listing(graph: &Graph) -> Vec<String> {
    graph
        .nodes()
        .iter()
        .map(|n| {
            let epilogue = match &n.op {
                Op::Conv(op) => op.epilogue,
                Op::ConvTranspose(op) => op.epilogue,
                Op::Gemm(op) => op.epilogue,
                _ => Epilogue::default(),
            };
            let parts = [
                (epilogue.add, " + add"),
                (epilogue.clip.is_some(), " + clip"),
                (epilogue.store_mask.is_some(), " + store mask"),
                (epilogue.mask_mul, " + mask"),
            ];
            let parts = parts.iter().filter(|p| p.0).map(|p| p.1);
            std::iter::once(n.op.name()).chain(parts).collect()
        })
        .collect()
}

#[test]
fn an_inverted_bottleneck_is_six_nodes() {
    assert_eq!(
        listing(&prepare(&mbconv())),
        [
            "Conv + clip + store mask",
            "Conv + clip + store mask",
            "Conv + add",
            "ConvTranspose + mask",
            "ConvTranspose + mask",
            "ConvTranspose + add",
        ]
    );
}

#[test]
fn a_residual_block_is_nine_nodes() {
    let graph = prepare(&basic_block());
    let mut found = listing(&graph);
    found.sort();
    assert_eq!(
        found,
        [
            "Conv",
            "Conv + add + clip + store mask",
            "Conv + clip + store mask",
            "Conv + clip + store mask",
            "ConvTranspose",
            "ConvTranspose",
            "ConvTranspose + add + mask",
            "ConvTranspose + mask",
            // The cotangent meets the mask of the last activation.
            "MaskMul",
        ]
    );
}

/// Which values depend on the cotangent, the graph's last input.
fn of_the_gradient(graph: &Graph) -> Vec<bool> {
    let mut after = vec![false; graph.values().len()];
    after[graph.inputs().last().unwrap().index()] = true;
    for node in graph.nodes() {
        if node.inputs.iter().any(|v| after[v.index()]) {
            for v in &node.outputs {
                after[v.index()] = true;
            }
        }
    }
    after
}

#[test]
fn only_masks_live_from_forward_to_gradient() {
    for graph in [mbconv(), basic_block()] {
        assert_only_masks_are_kept(&prepare(&graph));
    }
}

/// What is made before the first node of the gradient and read from there on.
fn assert_only_masks_are_kept(graph: &Graph) {
    let after = of_the_gradient(graph);
    let is_gradient = |n: &Node| n.outputs.iter().any(|v| after[v.index()]);
    let first = graph.nodes().iter().position(is_gradient).unwrap();
    let mut kept: Vec<ValueId> = Vec::new();
    for node in &graph.nodes()[first..] {
        let forward = |v: &&ValueId| graph.producer(**v).is_some_and(|(i, _)| i < first);
        kept.extend(node.inputs.iter().filter(forward));
    }
    assert!(!kept.is_empty());
    for v in kept {
        let value = graph.value(v);
        assert_eq!(value.fact.dtype, DType::Bits, "`{}` is kept", value.name);
    }
}

#[test]
fn an_activation_that_is_asked_for_is_kept_and_still_fused() {
    let mut graph = mbconv();
    let pinned = graph.layer("layer 2").unwrap();
    let outputs = [graph.outputs()[0], pinned];
    graph.set_outputs(&outputs);
    let graph = prepare(&graph);
    // The pinned value is the end of its chain, so nothing is lost.
    assert_eq!(graph.nodes().len(), 6);
    let (_, node) = graph.producer(graph.outputs()[1]).unwrap();
    assert_eq!(node.name, "layer 2");
}

#[test]
fn a_value_in_the_middle_of_a_chain_splits_it() {
    let mut graph = mbconv();
    let pinned = graph.layer("layer 1").unwrap();
    let outputs = [graph.outputs()[0], pinned];
    graph.set_outputs(&outputs);
    let graph = prepare(&graph);
    let found = listing(&graph);
    assert_eq!(found[..3], ["Conv", "Clip", "RangeMask"].map(String::from));
    assert_eq!(found.len(), 8);
    assert_only_masks_are_kept(&graph);
}

#[test]
fn a_mask_with_other_bounds_is_not_stored_as_the_activations() {
    let (mut b, x) = Builder::new(&[1, 2, 3, 3]);
    let y = b.conv(x, 2, 1, 1, 1, false);
    let y = b.clip(y, 2);
    let other = RangeMask::inside(Clip {
        min: Some(1.0),
        max: None,
    });
    let mask = b.push(other, &[y]);
    assert_ne!(other, RangeMask::inside(Clip::relu()));
    b.graph.set_outputs(&[y, mask]);
    let found = listing(&fuse(&b.graph).unwrap());
    assert_eq!(found, ["Conv + clip", "RangeMask"]);
}
