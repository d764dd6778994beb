//! A case, imported and run.

use crate::{Archive, Case, is_bound};
use limpid_device::{Buffer, Device, DeviceError, HostData};
use limpid_graph::case::cotangent;
use limpid_graph::ops::Clip;
use limpid_graph::passes::{
    Rule, eliminate_dead_code, fold_batch_norm, fold_constants, fuse, lower, vjp,
};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Graph, GraphError, OpError, ValueId};
use limpid_model::onnx::{BoundTensor, ImportOptions, import};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Networks of more multiply-adds are not run on the reference interpreter,
/// which is naive.
const MAX_REFERENCE: u64 = 1 << 26;

/// The largest accepted distance of a gradient in f32 from one in f64,
/// relative to its norm.
const GRADIENT: f64 = 1e-2;

/// Imports a case, runs it on the device and on the reference interpreter, and
/// compares. Returns a remark where there is something to tell.
///
/// # Errors
/// What went wrong or differs, in words.
pub fn check(device: &dyn Device, archive: &Archive, case: &Case) -> Result<String, String> {
    let tensors = |values: &[&crate::Value]| -> Result<Vec<RefTensor>, String> {
        let tensor = |v: &&crate::Value| {
            let name = v.tensor.as_deref().unwrap_or_default();
            archive.tensor(name).map_err(text)
        };
        values.iter().map(tensor).collect()
    };
    let model = archive.model(case.model.as_deref().unwrap_or_default());
    let (bound, free): (Vec<_>, Vec<_>) = case.inputs.iter().partition(|v| is_bound(v));
    let mut options = ImportOptions {
        file: format!("{}.onnx", case.name),
        // The light models compute their weights.
        largest_constant: 1 << 27,
        ..ImportOptions::default()
    };
    for (value, tensor) in bound.iter().zip(tensors(&bound)?) {
        let tensor = BoundTensor::new(tensor.shape.dims(), tensor.data).map_err(text)?;
        options.bound.insert(value.name.clone(), tensor);
    }
    for weight in &case.weights {
        let tensor = BoundTensor::new(&weight.shape, weight.elements()).map_err(text)?;
        options.bound.insert(weight.name.clone(), tensor);
    }
    let inputs = tensors(&free)?;
    let shapes = free.iter().zip(&inputs);
    options.input_shapes = shapes
        .map(|(v, t)| (v.name.clone(), t.shape.to_vec()))
        .collect::<BTreeMap<_, _>>();
    let graph = import(&model.map_err(text)?, &options).map_err(text)?.graph;
    let expected = tensors(&case.outputs.iter().collect::<Vec<_>>())?;

    let found = on_device(device, &graph, &inputs).map_err(text)?;
    compare(case, &found, &expected).map_err(|e| format!("on the device, {e}"))?;
    if case.gradient.is_some() {
        let (error, norm) = distance(&found[0].data, &expected[0].data);
        let gradient = given_gradient(device, archive, case, &graph, inputs)?;
        return Ok(format!(
            "logits {:.1e} and input gradient {gradient:.1e} of their norms from PyTorch's",
            error / norm
        ));
    }
    if multiply_adds(&graph) <= MAX_REFERENCE {
        let found = reference::run(&graph, &inputs).map_err(text)?;
        compare(case, &found, &expected).map_err(|e| format!("in f64, {e}"))?;
        gradients(device, &graph, inputs)?;
    }
    Ok(String::new())
}

fn text(e: impl ToString) -> String {
    e.to_string()
}

fn multiply_adds(graph: &Graph) -> u64 {
    let fact = |v: &ValueId| graph.fact(*v);
    let cost = |n: &limpid_graph::Node| {
        let inputs: Vec<_> = n.inputs.iter().map(fact).collect();
        let outputs: Vec<_> = n.outputs.iter().map(fact).collect();
        n.op.cost(&inputs, &outputs).multiply_adds
    };
    graph.nodes().iter().map(cost).sum()
}

/// Runs a graph on a device, by way of all passes that a session uses.
/// Outputs that are constants, as shapes are, need no device.
fn on_device(
    device: &dyn Device,
    graph: &Graph,
    inputs: &[RefTensor],
) -> Result<Vec<RefTensor>, DeviceError> {
    let mut graph = fold_batch_norm(&fold_constants(&lower(graph)?)?)?;
    let mut made: Vec<ValueId> = Vec::new();
    // For each output the constant that it is, or what the device makes.
    let mut outputs = Vec::new();
    for v in graph.outputs().to_vec() {
        if let Some(constant) = graph.constant_of(v) {
            outputs.push(Ok(RefTensor::from(&*constant.load()?)));
            continue;
        }
        outputs.push(Err(made.len()));
        // A device writes each output by a node of its own.
        let copied = graph.producer(v).is_none() || made.contains(&v);
        made.push(match copied {
            true => graph.push("copy", Clip::default(), &[v])?[0],
            false => v,
        });
    }
    graph.set_outputs(&made);
    let made = run(device, &fuse(&eliminate_dead_code(&graph)?)?, inputs)?;
    let output = |o: Result<RefTensor, usize>| o.unwrap_or_else(|k| made[k].clone());
    Ok(outputs.into_iter().map(output).collect())
}

fn run(
    device: &dyn Device,
    graph: &Graph,
    inputs: &[RefTensor],
) -> Result<Vec<RefTensor>, DeviceError> {
    let executable = device.prepare(device.plan(Arc::new(graph.clone()))?)?;
    let mut given = Vec::new();
    for (v, t) in graph.inputs().iter().zip(inputs) {
        let mut buffer = device.alloc(graph.fact(*v))?;
        let data: Vec<f32> = t.data.iter().map(|v| *v as f32).collect();
        device.write(&mut buffer, HostData::F32(&data))?;
        given.push(buffer);
    }
    let mut made = Vec::new();
    for v in graph.outputs() {
        made.push(device.alloc(graph.fact(*v))?);
    }
    let given: Vec<&Buffer> = given.iter().collect();
    let mut targets: Vec<&mut Buffer> = made.iter_mut().collect();
    device.execute(&*executable, &given, &mut targets)?;
    device.synchronize()?;
    let read = |b: &Buffer| {
        let mut data = vec![0.0; b.fact().shape.elements()?];
        device.read(b, &mut data)?;
        let data = data.into_iter().map(f64::from).collect();
        Ok(RefTensor::new(&b.fact().shape, data))
    };
    made.iter().map(read).collect()
}

/// Compares as `numpy.testing.assert_allclose` does; whole numbers and truths
/// must be equal.
fn compare(case: &Case, found: &[RefTensor], expected: &[RefTensor]) -> Result<(), String> {
    if found.len() != expected.len() {
        let (found, expected) = (found.len(), expected.len());
        return Err(format!("there are {found} outputs instead of {expected}"));
    }
    for (value, (found, expected)) in case.outputs.iter().zip(found.iter().zip(expected)) {
        let name = &value.name;
        if found.shape != expected.shape {
            let (found, expected) = (&found.shape, &expected.shape);
            return Err(format!(
                "`{name}` has the shape {found} instead of {expected}"
            ));
        }
        let exact = !value.is_float();
        let near = |a: f64, b: f64| {
            a == b
                || a.is_nan() && b.is_nan()
                || !exact && b.is_finite() && (a - b).abs() <= case.atol + case.rtol * b.abs()
        };
        let pairs = found.data.iter().zip(&expected.data);
        let wrong: Vec<_> = pairs
            .enumerate()
            .filter(|(_, (a, b))| !near(**a, **b))
            .collect();
        if let Some((i, (a, b))) = wrong.first() {
            let (wrong, all) = (wrong.len(), expected.data.len());
            return Err(format!(
                "`{name}` is {a} instead of {b} at {i}, and wrong at {wrong} of {all} places"
            ));
        }
    }
    Ok(())
}

/// Compares the device's gradients of the first output, by every input, with
/// the reference's.
fn gradients(device: &dyn Device, graph: &Graph, mut inputs: Vec<RefTensor>) -> Result<(), String> {
    let mut graph = fold_constants(&lower(graph).map_err(text)?).map_err(text)?;
    let Some(&output) = graph.outputs().first() else {
        return Ok(());
    };
    let fact = graph.fact(output).clone();
    let Some(cotangent) = cotangent(&fact.shape, fact.dtype) else {
        return Ok(());
    };
    graph.set_outputs(&[]);
    let mut gradients = Vec::new();
    let wrt = graph.inputs().to_vec();
    for v in wrt {
        match vjp(&graph, output, &[v], Rule::Standard) {
            Ok(g) => gradients.push(g.graph),
            // Comparisons and what only lends its shape.
            Err(GraphError::NoPath { .. }) => {}
            Err(GraphError::Op {
                source: OpError::NoGradient { .. },
                ..
            }) => {}
            Err(e) => return Err(format!("the gradient: {e}")),
        }
    }
    inputs.push(cotangent);
    for graph in gradients {
        let found = on_device(device, &graph, &inputs).map_err(text)?;
        let expected = reference::run(&graph, &inputs).map_err(text)?;
        let (error, norm) = distance(&found[0].data, &expected[0].data);
        let finite = expected[0].data.iter().all(|v| v.is_finite());
        if finite && !within(error, GRADIENT * norm) {
            return Err(format!(
                "a gradient of norm {norm:.3e} is {error:.3e} from the one in f64"
            ));
        }
    }
    Ok(())
}

/// Whether an error is a number and no larger than `bound`.
fn within(error: f64, bound: f64) -> bool {
    error <= bound
}

/// The norms of a - b and of b.
fn distance(a: &[f64], b: &[f64]) -> (f64, f64) {
    let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    let norm: f64 = b.iter().map(|b| b * b).sum();
    (square.sqrt(), norm.sqrt())
}

/// Compares the device's gradient of the largest output with that which the
/// archive holds, made in f64 by PyTorch, and returns the distance in norms.
fn given_gradient(
    device: &dyn Device,
    archive: &Archive,
    case: &Case,
    graph: &Graph,
    mut inputs: Vec<RefTensor>,
) -> Result<f64, String> {
    let mut graph = lower(graph).map_err(text)?;
    let (x, output) = (graph.inputs()[0], graph.outputs()[0]);
    let top = case.top.unwrap_or_default();
    inputs.push(RefTensor::from_fn(&graph.fact(output).shape, |i| {
        f64::from(u8::from(i == top))
    }));
    graph.set_outputs(&[]);
    let graph = vjp(&graph, output, &[x], Rule::Standard)
        .map_err(text)?
        .graph;
    let found = on_device(device, &graph, &inputs).map_err(text)?.remove(0);
    let expected = archive
        .tensor(case.gradient.as_deref().unwrap_or_default())
        .map_err(text)?;
    let sampled = every(&found, case.gradient_step);
    let (error, norm) = distance(&sampled, &expected.data);
    let (_, whole) = distance(&found.data, &found.data);
    let close = within(error, GRADIENT * norm)
        && within((whole / case.gradient_norm - 1.0).abs(), GRADIENT);
    if !close {
        return Err(format!(
            "the input gradient is {:.1e} of its norm from PyTorch's, and its norm is {whole:.3e} instead of {:.3e}",
            error / norm,
            case.gradient_norm
        ));
    }
    Ok(error / norm)
}

/// Every `step`-th pixel along both axes of pictures [N, C, H, W].
fn every(t: &RefTensor, step: usize) -> Vec<f64> {
    let [.., h, w] = *t.shape.dims() else {
        return Vec::new();
    };
    let kept = |i: &usize| (i / w % h).is_multiple_of(step) && (i % w).is_multiple_of(step);
    (0..t.data.len()).filter(kept).map(|i| t.data[i]).collect()
}
