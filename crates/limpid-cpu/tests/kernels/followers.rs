//! Elementwise operators that work on a product's result part by part.

use super::{Failure, device, nmse, run, upload, weights};
use limpid_cpu::{CpuDevice, Isa};
use limpid_device::{Buffer, Device};
use limpid_graph::ops::{Elementwise, Gelu, Gemm, Mul};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Expr, Fact, Graph};
use limpid_tensor::philox;
use std::sync::Arc;

/// Rows of so many numbers, and the columns of their product.
const SIZES: [([usize; 3], usize); 5] = [
    ([1, 3, 40], 48),
    ([2, 100, 33], 41),
    ([3, 200, 130], 208),
    ([1, 600, 100], 64),
    ([2, 1, 7], 16),
];

/// A product and three readers; without it, they read an input. Where it is
/// `kept`, it is an output, too.
fn graph(shape: [usize; 3], columns: usize, product: bool, kept: bool) -> Result<Graph, Failure> {
    let mut g = Graph::new();
    let [batch, rows, depth] = shape;
    let whole = Fact::f32([batch, rows, columns]);
    let x = g.input("x", Fact::f32(shape));
    let other = g.input("other", whole.clone());
    let row = g.input("row", Fact::f32([batch, rows, 1]));
    let (w, b) = (weights(&[columns, depth], 1), weights(&[columns], 2));
    let (w, b) = (g.constant("weight", w), g.constant("bias", b));
    let column = g.constant("column", weights(&[columns], 3));
    let gemm = Gemm {
        trans_b: true,
        ..Gemm::default()
    };
    let p = match product {
        true => g.push("product", gemm, &[x, w, b])?[0],
        false => g.input("product", whole),
    };
    let [a, b, c, d] = [0, 1, 2, 3].map(Expr::input);
    let gate = Elementwise::new(&(a * b.sigmoid() + c * d), 4);
    let gelu = g.push("gelu", Gelu::default(), &[p])?[0];
    let gate = g.push("gate", gate, &[p, other, row, column])?[0];
    let square = g.push("square", Mul {}, &[p, p])?[0];
    let outputs = [gelu, gate, square, p];
    g.set_outputs(&outputs[..3 + usize::from(kept)]);
    Ok(g)
}

fn numbers(shape: &[usize], stream: u32) -> RefTensor {
    RefTensor::from_fn(shape, |i| {
        let v = philox::normal4([5, 0], stream, [0; 2], (i / 4) as u32)[i % 4];
        f64::from(v as f32)
    })
}

/// The nodes of each step.
fn steps(device: &CpuDevice, graph: &Graph, inputs: &[RefTensor]) -> Result<Vec<usize>, Failure> {
    let executable = device.prepare(device.plan(Arc::new(graph.clone()))?)?;
    let ins = graph.inputs().iter().zip(inputs);
    let ins = ins.map(|(v, t)| upload(device, graph.fact(*v), &t.data));
    let ins = ins.collect::<Result<Vec<_>, _>>()?;
    let outs = graph.outputs().iter();
    let outs = outs.map(|v| Ok(device.alloc(graph.fact(*v))?));
    let mut outs = outs.collect::<Result<Vec<_>, Failure>>()?;
    let ins: Vec<&Buffer> = ins.iter().collect();
    let mut outs: Vec<&mut Buffer> = outs.iter_mut().collect();
    let timings = device.timings(&*executable, &ins, &mut outs)?;
    Ok(timings.into_iter().map(|t| t.nodes.len()).collect())
}

#[test]
fn followers_compute_what_they_would_alone() -> Result<(), Failure> {
    for (shape, columns) in SIZES {
        let [batch, rows, _] = shape;
        let inputs = [
            numbers(&shape, 1),
            numbers(&[batch, rows, columns], 2),
            numbers(&[batch, rows, 1], 3),
        ];
        for isa in Isa::available() {
            for threads in [1, 2] {
                let device = device(isa, threads);
                let name = format!("{isa}, {threads} threads, {shape:?} to {columns}");
                let whole = graph(shape, columns, true, true)?;
                assert_eq!(steps(&device, &whole, &inputs)?, [4], "{name}");
                let exact = reference::run(&whole, &inputs)?;
                let found = run(&device, &whole, &inputs, 1e30)?;
                for (found, exact) in found.iter().zip(&exact) {
                    assert!(nmse(found, &exact.data) < 1e-9, "{name}");
                }
                // The product in nobody's memory.
                let passed = graph(shape, columns, true, false)?;
                assert_eq!(run(&device, &passed, &inputs, 1e30)?, found[..3], "{name}");
                let mut alone = inputs.to_vec();
                let product = found[3].iter().map(|v| f64::from(*v)).collect();
                alone.push(RefTensor::new([batch, rows, columns], product));
                let apart = graph(shape, columns, false, false)?;
                assert_eq!(run(&device, &apart, &alone, 1e30)?, found[..3], "{name}");
            }
        }
    }
    Ok(())
}
