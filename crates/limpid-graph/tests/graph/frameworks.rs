//! Operators and their gradients against PyTorch, and against ONNX's reference
//! implementation where PyTorch does not have them.

use crate::support::norm;
use limpid_graph::passes::{Rule, lower, vjp};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph, Op};
use limpid_tensor::Tensor;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
struct Numbers {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Numbers {
    fn tensor(&self) -> RefTensor {
        RefTensor::new(&self.shape[..], self.data.clone())
    }
}

#[derive(Deserialize)]
struct Recorded {
    name: String,
    op: Op,
    inputs: Vec<Numbers>,
    output: Numbers,
    gradient: Option<Numbers>,
}

/// The case's operator on the first input; the others are constants.
fn graph(case: &Recorded) -> Graph {
    let mut g = Graph::new();
    let mut inputs = vec![g.input("x", Fact::f32(&case.inputs[0].shape[..]))];
    for operand in &case.inputs[1..] {
        let data = operand.data.iter().map(|v| *v as f32).collect();
        let tensor = Tensor::new(&operand.shape[..], data).unwrap();
        inputs.push(g.constant("operand", Arc::new(tensor)));
    }
    let y = g.push(case.name.clone(), case.op.clone(), &inputs).unwrap();
    g.set_outputs(&y[..1]);
    g
}

fn assert_close(what: &str, case: &Recorded, found: &RefTensor, expected: &Numbers, within: f64) {
    let expected = expected.tensor();
    assert_eq!(found.shape, expected.shape, "{what} of {}", case.name);
    let error = norm(&found.zip(&expected, |a, b| a - b));
    let size = norm(&expected).max(1e-3);
    assert!(
        error <= within * size,
        "{what} of {}: {error} of {size}",
        case.name
    );
}

#[test]
fn operators_agree_with_frameworks() {
    let text = include_str!("../../../../tests/fixtures/ops/structural.json");
    let cases: Vec<Recorded> = serde_json::from_str(text).unwrap();
    assert!(cases.len() > 90);
    for case in &cases {
        let g = graph(case);
        let x = case.inputs[0].tensor();
        let own = reference::run(&g, std::slice::from_ref(&x)).unwrap();
        // The attributes are f32.
        assert_close("the reference", case, &own[0], &case.output, 2e-8);
        let lowered = lower(&g).unwrap();
        let simpler = reference::run(&lowered, std::slice::from_ref(&x)).unwrap();
        assert_close("the lowered form", case, &simpler[0], &case.output, 1e-7);
        let Some(gradient) = &case.gradient else {
            continue;
        };
        let y = lowered.outputs()[0];
        let made = vjp(&lowered, y, &[lowered.inputs()[0]], Rule::Standard).unwrap();
        let u = RefTensor::from_fn(&lowered.fact(y).shape, |i| (i * 7 % 11) as f64 - 5.0);
        let found = reference::run(&made.graph, &[x, u]).unwrap().pop().unwrap();
        assert_close("the gradient", case, &found, gradient, 1e-7);
    }
}
