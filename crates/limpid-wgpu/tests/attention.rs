//! Attention in one kernel, where scores are masked or large.

#![allow(clippy::print_stdout, reason = "a test that is left out says why")]

mod common;

use limpid_graph::ops::Attention;
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph};
use limpid_wgpu::WgpuOptions;
use std::sync::Arc;

const TOKENS: usize = 70;
const LENGTH: usize = 12;

/// Two heads' attention over queries and keys times `factor`, with this bias.
fn check(factor: f64, bias: impl Fn(usize, usize) -> f64) {
    let Some(device) = common::device(WgpuOptions::default()) else {
        return;
    };
    let mut graph = Graph::new();
    let shape = [1, 2, TOKENS, LENGTH];
    let mut inputs = ["q", "k", "v"]
        .map(|name| graph.input(name, Fact::f32(shape)))
        .to_vec();
    inputs.push(graph.input("bias", Fact::f32([TOKENS, TOKENS])));
    let y = graph
        .push("attention", Attention { scale: Some(0.5) }, &inputs)
        .unwrap();
    graph.set_outputs(&y);
    let wave = |i: usize, phase: f64| f64::from((factor * (0.37 * i as f64 + phase).sin()) as f32);
    let mut values = [0.0, 1.0, 2.0]
        .map(|phase| RefTensor::from_fn(shape, |i| wave(i, phase)))
        .to_vec();
    values.push(RefTensor::from_fn([TOKENS, TOKENS], |i| {
        bias(i / TOKENS, i % TOKENS)
    }));
    let expected = reference::run(&graph, &values).unwrap().remove(0);
    let found = common::run(&device, &Arc::new(graph), &values)
        .unwrap()
        .remove(0);
    for (i, (a, b)) in found.iter().zip(&expected.data).enumerate() {
        let a = f64::from(*a);
        let near = (a - b).abs() <= 1e-4 * factor;
        assert!(
            near || (a.is_nan() && b.is_nan()),
            "element {i}: {a} and {b}"
        );
    }
    assert_eq!(found.len(), expected.data.len());
}

#[test]
fn later_keys_may_be_hidden() {
    let hidden = |on: bool| if on { f64::NEG_INFINITY } else { 0.0 };
    check(1.0, |query, key| hidden(key > query));
    // The first block of keys has nothing for later queries.
    check(1.0, |query, key| hidden(key + 30 < query));
}

#[test]
fn without_any_key_a_result_is_no_number() {
    check(
        1.0,
        |query, _| if query == 3 { f64::NEG_INFINITY } else { 0.0 },
    );
}

#[test]
fn large_scores_do_not_overflow() {
    check(30.0, |query, key| ((query * key) % 17) as f64);
    check(1.0, |_, key| -1e30 * key as f64);
    // The lowest number everywhere hides nothing.
    check(1.0, |_, _| f64::from(f32::MIN));
}
