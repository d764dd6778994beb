//! Attention is one operator again where only its result is read.

use crate::support::normal;
use limpid_graph::ops::{Attention, Op};
use limpid_graph::passes::{Rule, fuse_attention, lower, vjp};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph, ValueId};

/// A lowered attention over 5 tokens for 4 queries, with or without a bias.
fn attention(scale: Option<f32>, bias: Option<&[usize]>) -> Graph {
    let mut graph = Graph::new();
    let shapes: [&[usize]; 3] = [&[2, 3, 4, 6], &[2, 3, 5, 6], &[2, 3, 5, 7]];
    let shapes = shapes.into_iter().chain(bias);
    let inputs: Vec<ValueId> = shapes
        .enumerate()
        .map(|(i, shape)| graph.input(format!("x{i}"), Fact::f32(shape)))
        .collect();
    let y = graph
        .push("attention", Attention { scale }, &inputs)
        .unwrap();
    graph.set_outputs(&y);
    lower(&graph).unwrap()
}

fn names(graph: &Graph) -> Vec<&'static str> {
    graph.nodes().iter().map(|n| n.op.name()).collect()
}

fn run(graph: &Graph) -> Vec<RefTensor> {
    let facts = graph.inputs().iter().map(|v| graph.fact(*v));
    let inputs = facts.enumerate().map(|(i, f)| normal(&f.shape, i as u32));
    reference::run(graph, &inputs.collect::<Vec<_>>()).unwrap()
}

fn value_of(graph: &Graph, op: &str) -> ValueId {
    let node = graph.nodes().iter().find(|n| n.op.name() == op).unwrap();
    node.outputs[0]
}

#[test]
fn what_it_was_lowered_to_becomes_one() {
    let biases: [Option<&[usize]>; 3] = [None, Some(&[2, 3, 4, 5]), Some(&[4, 5])];
    for scale in [None, Some(0.3), Some(1.0)] {
        for bias in biases {
            let graph = attention(scale, bias);
            assert!(graph.nodes().len() > 2);
            let fused = fuse_attention(&graph, |_, _| true).unwrap();
            assert_eq!(names(&fused), ["Attention"], "{scale:?} {bias:?}");
            let Op::Attention(op) = &fused.nodes()[0].op else {
                unreachable!()
            };
            assert_eq!(op.scale, Some(scale.unwrap_or((1.0 / 6f64.sqrt()) as f32)));
            let [whole, parts] = [&fused, &graph].map(run);
            for (a, b) in whole[0].data.iter().zip(&parts[0].data) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
    }
}

#[test]
fn without_a_kernel_nothing_changes() {
    let graph = attention(None, None);
    let same = fuse_attention(&graph, |op, facts| {
        assert_eq!((op.name(), facts.len()), ("Attention", 3));
        false
    });
    assert_eq!(names(&same.unwrap()), names(&graph));
}

#[test]
fn weights_and_scores_that_somebody_reads_stay() {
    for kept in ["Softmax", "MatMul"] {
        let mut graph = attention(None, None);
        let outputs = [graph.outputs()[0], value_of(&graph, kept)];
        graph.set_outputs(&outputs);
        let same = fuse_attention(&graph, |_, _| true).unwrap();
        assert_eq!(names(&same), names(&graph), "{kept}");
    }
}

#[test]
fn the_gradient_keeps_its_weights() {
    let graph = attention(None, None);
    let output = graph.outputs()[0];
    for i in 0..3 {
        let gradient = vjp(&graph, output, &[graph.inputs()[i]], Rule::Standard).unwrap();
        let same = fuse_attention(&gradient.graph, |_, _| true).unwrap();
        assert!(!names(&same).contains(&"Attention"), "input {i}");
    }
}
