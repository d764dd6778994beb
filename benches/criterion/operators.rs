//! Single operators at shapes of real networks, batch 8:
//! `cargo bench -p limpid-benches --bench operators`.
//!
//! The throughput counts operations, a multiply-add being two.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use limpid::measure::normals;
use limpid_cpu::CpuDevice;
use limpid_device::{Buffer, Device, HostData};
use limpid_graph::ops::{
    Clip, Conv, ConvTranspose, Gemm, HeatKernel, MatMul, MaxPool, Op, Padding, Softmax,
};
use limpid_graph::{Fact, Graph};
use limpid_tensor::{Shape, Tensor};
use std::sync::Arc;

const BATCH: usize = 8;

/// An operator with the shapes of its inputs: values first, then weights.
struct Case {
    name: &'static str,
    op: Op,
    values: Vec<Vec<usize>>,
    weights: Vec<Vec<usize>>,
}

/// A convolution of squares: `[channels, side]` to so many channels by
/// windows of `kernel`.
fn conv(
    name: &'static str,
    [channels, side]: [usize; 2],
    out: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
) -> Case {
    Case {
        name,
        op: Op::from(Conv {
            strides: [stride; 2],
            groups,
            padding: Padding::Explicit([kernel / 2; 4]),
            ..Conv::default()
        }),
        values: vec![vec![BATCH, channels, side, side]],
        weights: vec![vec![out, channels / groups, kernel, kernel], vec![out]],
    }
}

fn cases() -> Vec<Case> {
    let case = |name, op, values: &[&[usize]], weights: &[&[usize]]| Case {
        name,
        op,
        values: values.iter().map(|s| s.to_vec()).collect(),
        weights: weights.iter().map(|s| s.to_vec()).collect(),
    };
    let gradient_of_stem = ConvTranspose {
        strides: [2; 2],
        pads: [3; 4],
        output_padding: [1; 2],
        ..ConvTranspose::default()
    };
    let transposed = MatMul {
        trans_b: true,
        ..MatMul::default()
    };
    let pool = MaxPool {
        kernel: [3; 2],
        strides: [2; 2],
        dilations: [1; 2],
        padding: Padding::Explicit([1; 4]),
        ceil_mode: false,
        store_argmax: true,
    };
    vec![
        conv("conv 1x1 64 to 256 at 56", [64, 56], 256, 1, 1, 1),
        conv("conv 1x1 1024 to 256 at 14", [1024, 14], 256, 1, 1, 1),
        conv("conv 3x3 64 at 56", [64, 56], 64, 3, 1, 1),
        conv("conv 3x3 512 at 7", [512, 7], 512, 3, 1, 1),
        conv("conv 3x3 128 at 56, stride 2", [128, 56], 128, 3, 2, 1),
        conv("conv 7x7 3 to 64 at 224, stride 2", [3, 224], 64, 7, 2, 1),
        conv("depthwise 3x3 96 at 112, stride 2", [96, 112], 96, 3, 2, 96),
        conv("depthwise 3x3 480 at 14", [480, 14], 480, 3, 1, 480),
        case(
            "gradient of conv 7x7 3 to 64, stride 2",
            Op::from(gradient_of_stem),
            &[&[BATCH, 64, 112, 112]],
            &[&[64, 3, 7, 7]],
        ),
        case(
            "product of 197 tokens, 768 to 3072",
            Op::from(MatMul::default()),
            &[&[BATCH, 197, 768]],
            &[&[768, 3072]],
        ),
        case(
            "scores of 12 heads, 197 tokens of 64",
            Op::from(transposed),
            &[&[BATCH, 12, 197, 64], &[BATCH, 12, 197, 64]],
            &[],
        ),
        case(
            "classifier, 2048 to 1000",
            Op::from(Gemm {
                trans_b: true,
                ..Gemm::default()
            }),
            &[&[BATCH, 2048]],
            &[&[1000, 2048], &[1000]],
        ),
        case(
            "softmax of 12 heads, 197 tokens",
            Op::from(Softmax { axis: 3 }),
            &[&[BATCH, 12, 197, 197]],
            &[],
        ),
        case(
            "max pool 3x3 of 64 at 112",
            Op::from(pool),
            &[&[BATCH, 64, 112, 112]],
            &[],
        ),
        case(
            "relu of 256 at 56",
            Op::from(Clip::relu()),
            &[&[BATCH, 256, 56, 56]],
            &[],
        ),
        case(
            "blurs of 3 at 224",
            Op::from(HeatKernel {}),
            &[&[1, 3, 224, 224], &[BATCH]],
            &[],
        ),
    ]
}

fn operators(criterion: &mut Criterion) {
    let device = CpuDevice::new().expect("a processor");
    let mut group = criterion.benchmark_group("operators");
    group.sample_size(20);
    for case in cases() {
        let mut graph = Graph::new();
        let size = |shape: &[usize]| Shape::from(shape).elements().expect("a size");
        let mut operands: Vec<_> = case
            .values
            .iter()
            .map(|shape| graph.input("x", Fact::f32(&shape[..])))
            .collect();
        for shape in &case.weights {
            let weights = Tensor::new(&shape[..], normals(size(shape))).expect("weights");
            operands.push(graph.constant("weight", Arc::new(weights)));
        }
        let outputs = graph.push("op", case.op, &operands).expect("an operator");
        graph.set_outputs(&outputs);
        let facts = |ids: &[_]| {
            ids.iter()
                .map(|v| graph.fact(*v).clone())
                .collect::<Vec<_>>()
        };
        let (read, written) = (facts(&operands), facts(&outputs));
        let op = &graph.nodes()[0].op;
        let both = [&read, &written].map(|facts| facts.iter().collect::<Vec<&Fact>>());
        let cost = op.cost(&both[0], &both[1]);
        let alloc = |fact: &Fact| device.alloc(fact).expect("memory");
        let mut inputs: Vec<Buffer> = read[..case.values.len()].iter().map(alloc).collect();
        for (buffer, shape) in inputs.iter_mut().zip(&case.values) {
            // Standard deviations of blurs are positive.
            let values: Vec<f32> = normals(size(shape)).iter().map(|v| v.abs()).collect();
            device
                .write(buffer, HostData::F32(&values))
                .expect("values");
        }
        let mut results: Vec<Buffer> = written.iter().map(alloc).collect();
        let plan = device.plan(Arc::new(graph)).expect("a plan");
        let executable = device.prepare(plan).expect("kernels");
        let inputs: Vec<&Buffer> = inputs.iter().collect();
        let mut results: Vec<&mut Buffer> = results.iter_mut().collect();
        group.throughput(Throughput::Elements(
            2 * cost.multiply_adds + cost.elementwise,
        ));
        group.bench_function(case.name, |b| {
            b.iter(|| {
                device
                    .execute(&*executable, &inputs, &mut results)
                    .expect("a run")
            });
        });
    }
}

criterion_group!(benches, operators);
criterion_main!(benches);
