//! Subgroups change no bit of a result, nor do checks of bounds. (That tiles and
//! the sizes of workgroups do not is in the op suite's tests.)

#![allow(clippy::print_stdout, reason = "a test that is left out says why")]

mod common;

use limpid_device::Device;
use limpid_graph::passes::lower;
use limpid_graph::{Fact, Graph, Op};
use limpid_wgpu::{WgpuDevice, WgpuOptions};
use std::sync::Arc;

/// The operators whose kernels have sums or tiles.
const KERNELS: [&str; 14] = [
    "Gemm",
    "GlobalAveragePool",
    "HeatKernel",
    "MatMul",
    "MaxPool",
    "MaxPoolArgmax",
    "MaxPoolGradient",
    "Normalize",
    "NormalizeGradient",
    "ReduceMax",
    "ReduceSum",
    "SeparableFilter",
    "Softmax",
    "SoftmaxGradient",
];

fn supported(device: &WgpuDevice, graph: &Graph) -> bool {
    graph.nodes().iter().all(|node| {
        let facts: Vec<&Fact> = node.inputs.iter().map(|v| graph.fact(*v)).collect();
        device.supports(&node.op, &facts).is_ok()
    })
}

#[test]
fn results_do_not_depend_on_subgroups_nor_on_checks() {
    let Some(device) = common::device(WgpuOptions::default()) else {
        return;
    };
    let others = [
        WgpuOptions {
            no_subgroups: true,
            ..WgpuOptions::default()
        },
        WgpuOptions {
            checked: true,
            ..WgpuOptions::default()
        },
    ];
    let others = others.map(|options| common::device(options).unwrap());
    let mut compared = 0;
    for case in Op::cases() {
        if !KERNELS.contains(&case.op.name()) {
            continue;
        }
        let built = case.build().unwrap();
        let graph = Arc::new(lower(&built.graph).unwrap());
        if !supported(&device, &graph) {
            continue;
        }
        let bits = |device: &WgpuDevice| {
            let outputs = common::run(device, &graph, &built.inputs);
            let outputs = outputs.unwrap_or_else(|e| panic!("{}: {e}", case.name));
            let bits = outputs.iter().flatten().map(|v| v.to_bits());
            bits.collect::<Vec<u32>>()
        };
        let expected = bits(&device);
        for (i, other) in others.iter().enumerate() {
            assert!(bits(other) == expected, "{}, variant {i}", case.name);
        }
        compared += 1;
    }
    assert!(compared > 100, "{compared} cases");
}
