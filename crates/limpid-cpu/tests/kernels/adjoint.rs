//! A linear operator's gradient is its adjoint on the device as well.

use crate::{Failure, PRECISIONS, device_in, lowered, run};
use limpid_cpu::{CpuDevice, Isa, Precision};
use limpid_device::Device;
use limpid_graph::Op;
use limpid_graph::case::Case;
use limpid_graph::passes::{Rule, eliminate_dead_code, vjp};
use limpid_graph::reference::RefTensor;
use limpid_tensor::{DType, philox};

fn normal(like: &RefTensor, stream: u32) -> RefTensor {
    RefTensor::from_fn(&like.shape, |i| {
        philox::normal4([5, 0], stream, [0; 2], (i / 4) as u32)[i % 4]
    })
}

fn dot(a: &[f32], b: &[f64]) -> (f64, f64) {
    let products = || a.iter().zip(b).map(|(a, b)| f64::from(*a) * b);
    (products().sum(), products().map(f64::abs).sum())
}

/// <J v, u> = <v, J^T u>, J v being f(v) - f(0); how many were compared.
fn check(device: &CpuDevice, case: &Case, tolerance: f64) -> Result<usize, Failure> {
    let built = case.build()?;
    let graph = lowered(&built.graph)?;
    let mut checked = 0;
    for input in (0..case.inputs.len()).filter(|i| case.op.linear(*i)) {
        let own = built.graph.nodes()[0].inputs[input];
        let Some(position) = built.graph.inputs().iter().position(|v| *v == own) else {
            continue;
        };
        let given = |x: RefTensor| {
            let mut inputs = built.inputs.clone();
            inputs[position] = x;
            inputs
        };
        let v = normal(&built.inputs[position], 21);
        let moved = run(device, &graph, &given(v.clone()), 0.0)?;
        let still = run(device, &graph, &given(v.map(|_| 0.0)), 0.0)?;
        for (k, output) in graph.outputs().iter().enumerate() {
            let fact = graph.fact(*output);
            if fact.dtype != DType::F32 {
                continue;
            }
            let u = normal(&RefTensor::from_fn(&fact.shape, |_| 0.0), 22);
            let x = graph.inputs()[position];
            let gradient = vjp(&graph, *output, &[x], Rule::Standard)?;
            let mut backward = gradient.graph;
            let Some(g) = backward
                .producer(gradient.gradients[0])
                .map(|_| gradient.gradients[0])
            else {
                continue;
            };
            backward.set_outputs(&[g]);
            let backward = eliminate_dead_code(&backward)?;
            let inputs = [&built.inputs[..], std::slice::from_ref(&u)].concat();
            let g = run(device, &backward, &inputs, 0.0)?.remove(0);
            let jv: Vec<f32> = moved[k].iter().zip(&still[k]).map(|(a, b)| a - b).collect();
            let ((left, size), (right, _)) = (dot(&jv, &u.data), dot(&g, &v.data));
            if (left - right).abs() > tolerance * size {
                let isa = &device.capabilities().isa;
                let name = &case.name;
                let error = (left - right).abs() / size;
                return Err(format!("{isa} {name}: {left} and {right}, {error:e}").into());
            }
            checked += 1;
        }
    }
    Ok(checked)
}

#[test]
fn gradients_are_adjoints() -> Result<(), Failure> {
    for isa in Isa::available() {
        for precision in PRECISIONS {
            let device = device_in(precision, isa, 2);
            let tolerance = match precision {
                Precision::Bf16 => 1.0 / 128.0,
                _ => 1e-5,
            };
            let mut checked = 0;
            for case in Op::cases() {
                checked += check(&device, &case, tolerance)?;
            }
            assert!(checked > 100, "{checked}");
        }
    }
    Ok(())
}
