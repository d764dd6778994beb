//! Passes change how a graph computes, never what.

use crate::support::{Built, Network, dyadic, network};
use limpid_graph::ops::{BatchNormalization, Conv};
use limpid_graph::passes::{Rule, eliminate_dead_code, fold_batch_norm, fuse, vjp};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph, Op};
use limpid_tensor::{Tensor, philox};
use proptest::prelude::*;
use std::sync::Arc;

fn count(graph: &Graph, name: &str) -> usize {
    graph.nodes().iter().filter(|n| n.op.name() == name).count()
}

fn inputs(graph: &Graph) -> Vec<RefTensor> {
    let ids = graph.inputs().iter().enumerate();
    ids.map(|(i, v)| dyadic(&graph.fact(*v).shape, 100 + i as u32))
        .collect()
}

fn run(graph: &Graph) -> Vec<RefTensor> {
    reference::run(graph, &inputs(graph)).unwrap()
}

/// Equal but for the order of exact arithmetic around a sigmoid.
fn assert_close(found: &[RefTensor], expected: &[RefTensor]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert_eq!(a.shape, b.shape);
        let scale = b.data.iter().fold(1e-30, |m: f64, v| m.max(v.abs()));
        for (a, b) in a.data.iter().zip(&b.data) {
            assert!((a - b).abs() <= 1e-11 * scale, "{a} {b}");
        }
    }
}

/// The gradient of a logit with respect to the input and the pinned values
/// that reach it.
fn with_gradient(graph: &Graph) -> Graph {
    let wrt = [&graph.inputs()[..1], &graph.outputs()[1..]].concat();
    vjp(graph, graph.outputs()[0], &wrt, Rule::Standard)
        .unwrap()
        .graph
}

fn check_network(network: &Network) {
    let Built {
        graph,
        x,
        logits,
        pinned,
    } = network.build();
    assert_eq!(graph.inputs(), [x]);
    assert_eq!(graph.outputs()[0], logits);
    let outputs = run(&graph);
    let gradients = run(&with_gradient(&graph));
    assert_eq!(gradients.len(), 2 * (pinned.len() + 1));

    let folded = fold_batch_norm(&graph).unwrap();
    assert_close(&run(&folded), &outputs);
    let folded_gradient = with_gradient(&folded);
    assert_close(&run(&folded_gradient), &gradients);

    // A normalisation behind a convolution that nobody else reads is folded.
    let uses = folded.uses();
    for node in folded.nodes() {
        if let (Op::BatchNormalization(_), Some((_, before))) =
            (&node.op, folded.producer(node.inputs[0]))
        {
            let conv = matches!(before.op, Op::Conv(_));
            assert!(
                !conv || uses[node.inputs[0].index()] > 1,
                "`{}` stays",
                node.name
            );
        }
    }

    for graph in [graph, folded, folded_gradient] {
        let before = run(&graph);
        let fused = fuse(&graph).unwrap();
        assert_eq!(run(&fused), before, "fusion is exact");
        assert!(fused.nodes().len() <= graph.nodes().len());
        let again = fuse(&fused).unwrap();
        assert_eq!(run(&again), before);
        let live = eliminate_dead_code(&fused).unwrap();
        assert_eq!(run(&live), before);
        assert_eq!(
            live.nodes().len(),
            fused.nodes().len(),
            "fuse leaves no dead nodes"
        );
        // Inputs keep their places, outputs their types.
        assert_eq!(live.inputs().len(), graph.inputs().len());
        for (a, b) in live.outputs().iter().zip(graph.outputs()) {
            assert_eq!(live.fact(*a), graph.fact(*b));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn passes_keep_outputs_and_gradients(network in network()) {
        check_network(&network);
    }
}

/// Two convolutions beside each other, a value that is read twice, pins in all
/// places: each on its own.
#[test]
fn passes_keep_every_pinned_layer() {
    use crate::support::Block::{Depthwise, Residual, Sigmoid, Split};
    let blocks = vec![
        Split { channels: 3 },
        Residual {
            channels: 4,
            clip: 2,
        },
        Sigmoid,
        Depthwise {
            kernel: 3,
            norm: true,
            clip: 1,
        },
    ];
    for pin in 0..20 {
        let pins = (0..20).map(|i| i == pin).collect();
        let input = [2, 3, 5, 4];
        let blocks = blocks.clone();
        check_network(&Network {
            input,
            blocks,
            pins,
        });
    }
}

#[test]
fn folded_weights_are_rounded_once() {
    let random = |shape: &[usize], stream: u32, f: fn(f64) -> f64| {
        let n = shape.iter().product::<usize>();
        let data = (0..n)
            .map(|i| f(philox::normal4([3, 0], stream, [0; 2], (i / 4) as u32)[i % 4]) as f32)
            .collect();
        Arc::new(Tensor::new(shape, data).unwrap())
    };
    let mut g = Graph::new();
    let x = g.input("x", Fact::f32([2, 6, 5, 5]));
    let weight = g.constant("w", random(&[8, 3, 3, 3], 1, |v| v));
    let bias = g.constant("b", random(&[8], 2, |v| v));
    let conv = Conv {
        groups: 2,
        ..Conv::default()
    };
    let y = g.push("conv", conv, &[x, weight, bias]).unwrap()[0];
    let scale = g.constant("scale", random(&[8], 3, |v| v));
    let shift = g.constant("shift", random(&[8], 4, |v| v));
    let mean = g.constant("mean", random(&[8], 5, |v| v));
    let variance = g.constant("variance", random(&[8], 6, |v| v * v));
    let norm = BatchNormalization { epsilon: 1e-3 };
    let y = g
        .push("norm", norm, &[y, scale, shift, mean, variance])
        .unwrap()[0];
    g.set_outputs(&[y]);
    let folded = fold_batch_norm(&g).unwrap();
    assert_eq!(folded.nodes().len(), 1);
    assert_eq!(count(&folded, "BatchNormalization"), 0);
    let (a, b) = (run(&folded).remove(0), run(&g).remove(0));
    let error: f64 = a
        .data
        .iter()
        .zip(&b.data)
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    let size: f64 = b.data.iter().map(|b| b * b).sum();
    // Half a unit in the last place of f32 is 6e-8.
    assert!(error / size < 1e-14, "{}", error / size);
    assert!(error > 0.0, "the weights are f32");
}

#[test]
fn dead_code_is_what_no_output_needs() {
    let network = Network {
        input: [1, 2, 3, 3],
        blocks: vec![crate::support::Block::Sigmoid],
        pins: vec![false; 40],
    };
    let mut graph = network.build().graph;
    let sigmoid = graph.layer("layer 0").unwrap();
    graph.set_outputs(&[sigmoid]);
    let live = eliminate_dead_code(&graph).unwrap();
    assert_eq!(live.nodes().len(), 1);
    assert_eq!(live.inputs().len(), 1);
    assert!(live.layer("layer 0").is_ok());
    assert!(
        live.layer("layer 1").is_err(),
        "a layer that is gone is not offered"
    );
}

#[test]
fn a_scramble_of_a_square_is_no_transposition() {
    use limpid_graph::ops::{Reshape, Transpose};
    for (middle, end) in [([-1, 3, 16], [-1, 3, 4, 4]), ([-1, 12, 4], [-1, 3, 4, 4])] {
        let mut g = Graph::new();
        let x = g.input("x", Fact::f32([2, 3, 4, 4]));
        let shape = middle.to_vec();
        let a = g.push("a", Reshape { shape }, &[x]).unwrap()[0];
        let perm = vec![0, 2, 1];
        let b = g.push("b", Transpose { perm }, &[a]).unwrap()[0];
        let shape = end.to_vec();
        let c = g.push("c", Reshape { shape }, &[b]).unwrap();
        g.set_outputs(&c);
        let x = RefTensor::from_fn([2, 3, 4, 4], |i| i as f64);
        let after = limpid_graph::passes::recognize(&g).unwrap();
        let [before, after] =
            [g, after].map(|g| reference::run(&g, std::slice::from_ref(&x)).unwrap());
        assert_eq!(before, after);
    }
}
