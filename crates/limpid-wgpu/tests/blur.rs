//! A relative error of 1e-6 in a blurred picture can become 4e-2 in its
//! gradient, so blurs are held to what f32 can hold.

#![allow(clippy::print_stdout, reason = "a test that is left out says why")]

mod common;

use limpid_graph::ops::{HeatKernel, SeparableFilter};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph, Op};
use limpid_tensor::philox;
use limpid_wgpu::WgpuOptions;
use std::sync::Arc;

const SIDE: usize = 224;

/// A picture: light on a gradient from one corner, edges, and some noise.
fn picture() -> RefTensor {
    RefTensor::from_index([1, 1, SIDE, SIDE], |at| {
        let (y, x) = (at[2] as f64 / SIDE as f64, at[3] as f64 / SIDE as f64);
        let noise = philox::normal4([7; 2], 1, [0; 2], (at[2] * SIDE + at[3]) as u32)[0];
        let disc = if (y - 0.4).hypot(x - 0.6) < 0.25 {
            1.5
        } else {
            0.0
        };
        f64::from((0.5 + y - 0.3 * x + disc + 0.2 * noise) as f32)
    })
}

/// The relative errors of a node's outputs.
fn errors(op: impl Into<Op>, inputs: &[RefTensor]) -> Option<Vec<f64>> {
    let device = common::device(WgpuOptions::default())?;
    let mut graph = Graph::new();
    let ids = inputs.iter().map(|t| graph.input("x", Fact::f32(&t.shape)));
    let ids: Vec<_> = ids.collect();
    let outputs = graph.push("blur", op, &ids).unwrap();
    graph.set_outputs(&outputs);
    let graph = Arc::new(graph);
    let found = common::run(&device, &graph, inputs).unwrap();
    let expected = reference::run(&graph, inputs).unwrap();
    let error = |(found, expected): (&Vec<f32>, &RefTensor)| {
        let pairs = found.iter().zip(&expected.data);
        let square: f64 = pairs.map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
        (square / expected.data.iter().map(|v| v * v).sum::<f64>()).sqrt()
    };
    Some(found.iter().zip(&expected).map(error).collect())
}

#[test]
fn blurs_are_as_exact_as_f32_allows() {
    for sigma in [0.1, 1.0, 10.0, 50.0] {
        let sigmas = RefTensor::new([1], vec![f64::from(sigma as f32)]);
        let Some(errors) = errors(HeatKernel {}, &[picture(), sigmas]) else {
            return;
        };
        println!(
            "sigma {sigma}: {:.1e}, derivative {:.1e}",
            errors[0], errors[1]
        );
        assert!(errors[0] <= 2e-7, "sigma {sigma}: {:e}", errors[0]);
    }
}

#[test]
fn filters_are_as_exact_as_f32_allows() {
    let matrix = |width: f64, slope: bool| {
        RefTensor::from_index([1, SIDE, SIDE], |at| {
            let distance = at[1] as f64 - at[2] as f64;
            let v = (-0.5 * (distance / width).powi(2)).exp() / width / 2.5;
            f64::from(if slope { v * distance } else { v } as f32)
        })
    };
    for width in [1.0, 20.0] {
        let [plain, slope] = [false, true].map(|s| matrix(width, s));
        let inputs = [picture(), plain.clone(), plain, slope.clone(), slope];
        let Some(errors) = errors(SeparableFilter::default(), &inputs) else {
            return;
        };
        println!(
            "width {width}: {:.1e}, derivative {:.1e}",
            errors[0], errors[1]
        );
        assert!(errors[0] <= 2e-7, "width {width}: {:e}", errors[0]);
    }
}
