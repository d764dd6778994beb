//! Operators that are written with simpler ones compute what they say.

use crate::support::normal;
use limpid_graph::case::Case;
use limpid_graph::ops::{MaxPool, Pad, PadMode, Padding, Slice};
use limpid_graph::passes::{Rule, eliminate_dead_code, fuse, lower, vjp};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph, Op};
use limpid_tensor::DType;
use std::collections::BTreeSet;

/// The values of the case's outputs as the operator makes them, and as the
/// operators do with which it is written.
fn both(case: &Case) -> (Vec<RefTensor>, Vec<RefTensor>) {
    let built = case.build().unwrap();
    let lowered = lower(&built.graph).unwrap();
    for (a, b) in built.graph.outputs().iter().zip(lowered.outputs()) {
        assert_eq!(built.graph.fact(*a), lowered.fact(*b), "{}", case.name);
    }
    let own = reference::run(&built.graph, &built.inputs).unwrap();
    (own, reference::run(&lowered, &built.inputs).unwrap())
}

#[test]
fn simpler_operators_compute_the_same() {
    for case in Op::cases() {
        let (own, simpler) = both(&case);
        for (own, simpler) in own.iter().zip(&simpler) {
            if case.is_exact() && own.data.iter().all(|v| v.fract() == 0.0 && v.abs() < 1e9) {
                let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
                assert!(
                    own.data.iter().zip(&simpler.data).all(close),
                    "{}",
                    case.name
                );
            }
            let error: f64 = own
                .data
                .iter()
                .zip(&simpler.data)
                .map(|(a, b)| (a - b).powi(2))
                .sum();
            let size: f64 = own.data.iter().map(|a| a * a).sum();
            // Weights of means and interpolations are rounded to f32.
            assert!(error <= 1e-13 * size, "{}: {error} of {size}", case.name);
        }
    }
}

#[test]
fn what_is_written_with_others_is_these() {
    let mut lowered = BTreeSet::new();
    for case in Op::cases() {
        let built = case.build().unwrap();
        let graph = lower(&built.graph).unwrap();
        let same = graph.nodes().len() == 1 && graph.nodes()[0].op == case.op;
        if !same {
            lowered.insert(case.op.name());
        }
        // What comes out is written no further.
        let again = lower(&graph).unwrap();
        let ops = |g: &Graph| g.nodes().iter().map(|n| n.op.clone()).collect::<Vec<_>>();
        assert_eq!(ops(&graph), ops(&again), "{}", case.name);
    }
    let expected = [
        "AdaptiveAveragePool",
        "Attention",
        "AveragePool",
        "BatchNormalization",
        "DepthToSpace",
        "Gather",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "GroupNormalization",
        "InstanceNormalization",
        "LRN",
        "LayerNormalization",
        "LogSoftmax",
        "LpPool",
        "MatMul",
        "MaxPool",
        "Pad",
        "RMSNormalization",
        "ReduceL2",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "Resize",
        "Roll",
        "Slice",
        "Softmax",
        "SpaceToDepth",
        "Tile",
    ];
    assert_eq!(lowered, BTreeSet::from(expected));
}

fn pooled(pool: MaxPool, shape: [usize; 4]) -> Graph {
    let mut g = Graph::new();
    let x = g.input("x", Fact::f32(shape));
    let y = g.push("pool", pool, &[x]).unwrap();
    g.set_outputs(&y);
    g
}

#[test]
fn a_pooling_stores_the_taps_that_its_gradient_reads() {
    let pool = MaxPool {
        kernel: [3, 3],
        strides: [2, 2],
        padding: Padding::Explicit([1; 4]),
        ..MaxPool::default()
    };
    let g = pooled(pool, [1, 3, 7, 6]);
    let gradient = vjp(&g, g.outputs()[0], &[g.inputs()[0]], Rule::Standard).unwrap();
    let graph = eliminate_dead_code(&gradient.graph).unwrap();
    let fused = fuse(&graph).unwrap();
    let names: Vec<&str> = fused.nodes().iter().map(|n| n.op.name()).collect();
    assert_eq!(names, ["MaxPool", "MaxPoolGradient"]);
    let taps = fused.nodes()[0].outputs[1];
    assert_eq!(fused.fact(taps).dtype, DType::U8);
    let inputs = [
        normal(&[1, 3, 7, 6].into(), 1),
        normal(&[1, 3, 4, 3].into(), 2),
    ];
    let (a, b) = (
        reference::run(&graph, &inputs),
        reference::run(&fused, &inputs),
    );
    assert_eq!(a.unwrap(), b.unwrap());
}

/// The gradient of the sum of the outputs.
fn gradient_of_sum(g: &Graph, x: RefTensor) -> Vec<f64> {
    let g = lower(g).unwrap();
    let gradient = vjp(&g, g.outputs()[0], &[g.inputs()[0]], Rule::Standard).unwrap();
    let ones = RefTensor::from_fn(&g.fact(g.outputs()[0]).shape, |_| 1.0);
    reference::run(&gradient.graph, &[x, ones])
        .unwrap()
        .pop()
        .unwrap()
        .data
}

#[test]
fn the_first_of_several_largest_elements_takes_the_gradient() {
    let x = RefTensor::new([1, 1, 2, 3], vec![1.0, 2.0, 2.0, 2.0, 0.0, 2.0]);
    let whole = MaxPool {
        kernel: [2, 3],
        ..MaxPool::default()
    };
    let first = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
    assert_eq!(
        gradient_of_sum(&pooled(whole, [1, 1, 2, 3]), x.clone()),
        first
    );
    let mut global = Graph::new();
    let value = global.input("x", Fact::f32([1, 1, 2, 3]));
    let y = global
        .push("pool", limpid_graph::ops::GlobalMaxPool {}, &[value])
        .unwrap();
    global.set_outputs(&y);
    assert_eq!(gradient_of_sum(&global, x), first);
}

#[test]
fn a_large_window_finds_the_same_first_element() {
    let pool = MaxPool {
        kernel: [17, 18],
        ..MaxPool::default()
    };
    let (h, w) = (20, 21);
    let x = RefTensor::from_fn([1, 1, h, w], |i| f64::from(u8::from(i * i % 11 == 3)));
    let mut expected = vec![0.0; h * w];
    for (top, left) in (0..=h - 17).flat_map(|y| (0..=w - 18).map(move |x| (y, x))) {
        let places = (0..17).flat_map(|y| (0..18).map(move |x| (top + y) * w + left + x));
        let first = places.reduce(|best, i| if x.data[i] > x.data[best] { i } else { best });
        expected[first.unwrap()] += 1.0;
    }
    let g = pooled(pool, [1, 1, h, w]);
    assert_eq!(lower(&g).unwrap().nodes().len(), 2);
    assert_eq!(gradient_of_sum(&g, x), expected);
}

#[test]
fn padding_keeps_what_is_not_a_number_where_it_is() {
    let mut g = Graph::new();
    let x = g.input("x", Fact::f32([1, 3]));
    let pad = Pad {
        pads: vec![[0, 0], [1, 1]],
        mode: PadMode::Constant,
        value: f32::NEG_INFINITY,
    };
    let y = g.push("pad", pad.clone(), &[x]).unwrap();
    g.set_outputs(&y);
    let x = RefTensor::new([1, 3], vec![f64::NAN, f64::INFINITY, 1.0]);
    let y = reference::run(&lower(&g).unwrap(), &[x])
        .unwrap()
        .remove(0)
        .data;
    assert_eq!(y[0], f64::NEG_INFINITY);
    assert!(y[1].is_nan());
    assert_eq!(y[2..], [f64::INFINITY, 1.0, f64::NEG_INFINITY]);
    let text = serde_json::to_string(&Op::from(pad.clone())).unwrap();
    assert_eq!(
        text,
        r#"{"op":"Pad","attrs":{"pads":[[0,0],[1,1]],"mode":"constant","value":"-inf"}}"#
    );
    assert_eq!(serde_json::from_str::<Op>(&text).unwrap(), pad.into());
}

#[test]
fn a_slice_to_the_end_follows_the_extent() {
    let shape = |extent: usize, step: i64, start: usize| {
        let slice = Slice {
            axis: 0,
            start,
            step,
            count: -1,
        };
        let out = Op::from(slice).infer(&[&Fact::f32([extent])]);
        out.map(|f| f[0].shape[0])
    };
    assert_eq!(shape(7, 2, 1).unwrap(), 3);
    assert_eq!(shape(8, 2, 1).unwrap(), 4);
    assert_eq!(shape(8, -3, 7).unwrap(), 3);
    assert!(shape(8, 1, 8).is_err());
    assert!(shape(8, 0, 1).is_err());
}
