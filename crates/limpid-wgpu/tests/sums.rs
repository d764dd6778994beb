//! Sums that are longer than a driver in software lets an invocation's loops run.

#![allow(clippy::print_stdout, reason = "a test that is left out says why")]

mod common;

use limpid_device::DeviceError;
use limpid_graph::ops::{Conv, Op, ReduceSum};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph};
use limpid_wgpu::{Adapter, AdapterClass, WgpuOptions};
use std::sync::Arc;

/// The largest error of an operator's result, relative to the largest of it.
fn error(op: impl Into<Op>, shapes: &[&[usize]]) -> Option<Result<f64, DeviceError>> {
    let device = common::device(WgpuOptions::default())?;
    let mut graph = Graph::new();
    let inputs: Vec<_> = shapes
        .iter()
        .map(|shape| graph.input("x", Fact::f32(*shape)))
        .collect();
    let y = graph.push("y", op, &inputs).unwrap();
    graph.set_outputs(&y);
    // Positive, so that nothing cancels.
    let number = |i: usize| f64::from((i % 251 + 1) as f32 / 256.0);
    let values: Vec<RefTensor> = shapes
        .iter()
        .map(|shape| RefTensor::from_fn(*shape, number))
        .collect();
    let expected = reference::run(&graph, &values).unwrap().remove(0);
    Some(
        common::run(&device, &Arc::new(graph), &values).map(|mut found| {
            let pairs = found.remove(0).into_iter().zip(&expected.data);
            let off = pairs
                .map(|(a, b)| (f64::from(a) - b).abs())
                .fold(0.0, f64::max);
            off / expected.data.iter().copied().fold(0.0, f64::max)
        }),
    )
}

/// Over an outer axis and over all, 700,000 numbers for each result.
#[test]
fn a_long_sum_is_shared() {
    for (axes, shape) in [(vec![0], vec![700_000, 3]), (vec![0, 1], vec![7, 100_000])] {
        let Some(error) = error(ReduceSum { axes }, &[&shape]) else {
            return;
        };
        assert!(error.unwrap() < 1e-6, "{shape:?}");
    }
}

#[test]
fn what_would_be_cut_short_is_refused() {
    let conv = Conv {
        groups: 2,
        ..Conv::default()
    };
    let Some(result) = error(conv, &[&[1, 2, 300, 300], &[2, 1, 300, 300]]) else {
        return;
    };
    match (Adapter::best().unwrap().info().class, result) {
        (AdapterClass::Software, Err(e)) => {
            assert!(e.to_string().contains("lets a loop run"), "{e}");
        }
        (AdapterClass::Software, Ok(error)) => panic!("it was computed, {error} off"),
        (_, result) => assert!(result.unwrap() < 1e-5),
    }
}
