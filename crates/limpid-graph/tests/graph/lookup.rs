//! What a graph says when it is asked for something it does not have.

use crate::support::Builder;
use limpid_graph::ops::{BatchNormalization, Clip, Conv};
use limpid_graph::passes::{Rule, vjp};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph, GraphError, OpError};
use limpid_tensor::Tensor;
use std::sync::Arc;

#[test]
fn an_unknown_layer_suggests_similar_ones() {
    let mut g = Graph::new();
    let x = g.input("x", Fact::f32([1, 2]));
    for name in [
        "blocks.1.conv_pw",
        "blocks.6.conv_dw",
        "conv_head",
        "global_pool",
    ] {
        g.set_layer(name, x);
    }
    assert_eq!(g.layer("conv_head"), Ok(x));
    let e = g.layer("conv_heads").unwrap_err();
    let GraphError::UnknownLayer { name, similar } = &e else {
        panic!("{e}");
    };
    assert_eq!(name, "conv_heads");
    assert_eq!(similar[0], "conv_head");
    assert!(
        e.to_string()
            .starts_with("there is no layer `conv_heads`; similar names are `conv_head`")
    );
    let far = g.layer("stage_4/unit_2").unwrap_err().to_string();
    assert_eq!(far, "there is no layer `stage_4/unit_2`");
    let none = Graph::new().layer("a").unwrap_err().to_string();
    assert_eq!(none, "there is no layer `a`");
}

#[test]
fn a_layer_off_the_path_is_named() {
    let (mut b, x) = Builder::new(&[1, 2]);
    let y = b.push(Clip::relu(), &[x]);
    let aside = b.push(Clip::relu(), &[x]);
    let e = vjp(&b.graph, y, &[x, aside], Rule::Standard).unwrap_err();
    assert_eq!(
        e,
        GraphError::NoPath {
            layer: "layer 1".into(),
            output: "layer 0".into()
        }
    );
    assert!(e.to_string().contains("`layer 1`"));
    // A value behind the output has no influence on it either.
    let e = vjp(&b.graph, x, &[y], Rule::Standard).unwrap_err();
    assert!(matches!(e, GraphError::NoPath { layer, .. } if layer == "layer 0"));
}

#[test]
fn the_gradient_of_a_value_by_itself_is_the_cotangent() {
    let (mut b, x) = Builder::new(&[1, 2]);
    let y = b.push(Clip::relu(), &[x]);
    b.graph.set_outputs(&[y]);
    let g = vjp(&b.graph, y, &[y], Rule::Standard).unwrap();
    assert_eq!(g.gradients, [g.cotangent]);
    let inputs = [[-1.0, 2.0], [5.0, 6.0]].map(|v| RefTensor::new([1, 2], v.to_vec()));
    let out = reference::run(&g.graph, &inputs).unwrap();
    assert_eq!(out[1].data, [5.0, 6.0]);
}

#[test]
fn a_residual_that_was_not_declared_is_refused() {
    // Batch normalisation declares that its gradient keeps nothing, which
    // holds for statistics that are constants or given, not computed ones.
    let mut g = Graph::new();
    let x = g.input("x", Fact::f32([1, 2, 1, 1]));
    let raw = g.input("scale", Fact::f32([2]));
    let scale = g.push("computed scale", Clip::relu(), &[raw]).unwrap()[0];
    let one = g.constant("1", Arc::new(Tensor::new([2], vec![1.0; 2]).unwrap()));
    let norm = BatchNormalization { epsilon: 1e-5 };
    let y = g.push("norm", norm, &[x, scale, one, one, one]).unwrap()[0];
    g.set_outputs(&[y]);
    let e = vjp(&g, y, &[x], Rule::Standard).unwrap_err();
    assert!(matches!(
        &e,
        GraphError::Op { node, source: OpError::UndeclaredResidual { .. }, .. } if node == "norm"
    ));
}

#[test]
fn a_computed_weight_is_refused_too() {
    let mut g = Graph::new();
    let x = g.input("x", Fact::f32([1, 1, 3, 3]));
    let raw = g.input("weight", Fact::f32([1, 1, 2, 2]));
    let weight = g.push("computed weight", Clip::relu(), &[raw]).unwrap()[0];
    let y = g.push("conv", Conv::default(), &[x, weight]).unwrap()[0];
    let e = vjp(&g, y, &[x], Rule::Standard).unwrap_err();
    assert!(matches!(
        e,
        GraphError::Op {
            source: OpError::UndeclaredResidual { .. },
            ..
        }
    ));
}

#[test]
fn wrong_inputs_are_named() {
    let (mut b, x) = Builder::new(&[1, 2]);
    let y = b.push(Clip::relu(), &[x]);
    b.graph.set_outputs(&[y]);
    let e = reference::run(&b.graph, &[]).unwrap_err();
    assert_eq!(
        e.to_string(),
        "the graph's input `x` is f32 [1, 2], nothing was given"
    );
    let wrong = RefTensor::new([2, 1], vec![0.0; 2]);
    let e = reference::run(&b.graph, &[wrong]).unwrap_err();
    assert_eq!(
        e.to_string(),
        "the graph's input `x` is f32 [1, 2], [2, 1] was given"
    );
}
