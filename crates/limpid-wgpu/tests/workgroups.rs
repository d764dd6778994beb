//! The size of a workgroup, a tile or a subgroup changes no bit of a result, nor
//! do checks of bounds.

#![allow(clippy::print_stdout, reason = "a test that is left out says why")]

mod common;

use limpid_device::Device;
use limpid_graph::passes::lower;
use limpid_graph::{Fact, Graph, Op};
use limpid_wgpu::{Tile, Tuning, WgpuDevice, WgpuOptions};
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
fn results_do_not_depend_on_the_size_of_a_workgroup() {
    let Some(device) = common::device(WgpuOptions::default()) else {
        return;
    };
    let class = limpid_wgpu::Adapter::best().unwrap().info().class;
    let tile = Tile {
        rows: 16,
        columns: 32,
        depth: 12,
        per_row: 4,
        per_column: 4,
    };
    let small = Tuning {
        large: tile,
        small: tile,
        narrow: tile,
        invocations: 128,
        ..Tuning::of(class)
    };
    let others = [
        WgpuOptions {
            tuning: Some(small),
            ..WgpuOptions::default()
        },
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
