//! Every kernel on every instruction set that the processor has, against the
//! f64 reference, and the device's promise that threads and batches change no bit.

mod adjoint;
mod chains;
mod followers;
mod layouts;
mod stored;

use limpid_cpu::{CpuDevice, CpuOptions, Isa, Precision};
use limpid_device::{Buffer, Device, HostData};
use limpid_graph::case::{Case, CaseInput};
use limpid_graph::ops::{
    Add, AxisFilter, Clip, Concat, Conv, ConvTranspose, Elementwise, Flatten, Gemm,
    GlobalAveragePool, MatMul, MaxPool, Normalize, Op, Padding, ReduceSum, Softmax, SparseMatrix,
    Transpose,
};
use limpid_graph::passes::{Rule, fuse, lower, vjp};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Expr, Fact, Graph, GraphError};
use limpid_tensor::{DType, Tensor, philox};
use std::sync::Arc;

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

type Failure = Box<dyn std::error::Error>;

fn device(isa: Isa, threads: usize) -> CpuDevice {
    device_in(Precision::F32, isa, threads)
}

fn device_in(precision: Precision, isa: Isa, threads: usize) -> CpuDevice {
    let options = CpuOptions {
        threads: Some(threads),
        isa: Some(isa),
        precision,
    };
    CpuDevice::with(options).expect("the set is available")
}

fn upload(device: &CpuDevice, fact: &Fact, values: &[f64]) -> Result<Buffer, Failure> {
    let mut buffer = device.alloc(fact)?;
    if fact.dtype == DType::U32 {
        let words: Vec<u32> = values.iter().map(|v| *v as u32).collect();
        device.write(&mut buffer, HostData::U32(&words))?;
    } else {
        let floats: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        device.write(&mut buffer, HostData::F32(&floats))?;
    }
    Ok(buffer)
}

/// Runs a graph; outputs begin as `before` rather than zero.
fn run(
    device: &CpuDevice,
    graph: &Graph,
    inputs: &[RefTensor],
    before: f32,
) -> Result<Vec<Vec<f32>>, Failure> {
    let executable = device.prepare(device.plan(Arc::new(graph.clone()))?)?;
    let ins = graph.inputs().iter().zip(inputs);
    let ins = ins.map(|(v, t)| upload(device, graph.fact(*v), &t.data));
    let ins = ins.collect::<Result<Vec<_>, _>>()?;
    let mut outs = Vec::new();
    for v in graph.outputs() {
        let fact = graph.fact(*v);
        let n = fact.shape.elements()?;
        outs.push(upload(device, fact, &vec![f64::from(before); n])?);
    }
    let ins: Vec<&Buffer> = ins.iter().collect();
    let mut outs_mut: Vec<&mut Buffer> = outs.iter_mut().collect();
    device.execute(&*executable, &ins, &mut outs_mut)?;
    let mut read = Vec::new();
    for out in &outs {
        let mut data = vec![0.0; out.fact().shape.elements()?];
        device.read(out, &mut data)?;
        read.push(data);
    }
    Ok(read)
}

fn nmse(found: &[f32], exact: &[f64]) -> f64 {
    let (mut error, mut power) = (0.0, 0.0);
    for (a, b) in found.iter().zip(exact) {
        error += (f64::from(*a) - b).powi(2);
        power += b * b;
    }
    if power == 0.0 { error } else { error / power }
}

/// A case's graph as devices are given it, every output made by a node.
fn lowered(graph: &Graph) -> Result<Graph, GraphError> {
    let mut graph = lower(graph)?;
    let mut outputs = graph.outputs().to_vec();
    for v in &mut outputs {
        if graph.producer(*v).is_none() {
            *v = graph.push("copy", Clip::default(), &[*v])?[0];
        }
    }
    graph.set_outputs(&outputs);
    Ok(graph)
}

fn check(device: &CpuDevice, case: &Case) -> Result<(), String> {
    let name = format!("{} {}", device.capabilities().isa, case.name);
    let fail = |e: &dyn std::fmt::Display| format!("{name}: {e}");
    let mut built = case.build().map_err(|e| fail(&e))?;
    built.graph = lowered(&built.graph).map_err(|e| fail(&e))?;
    let exact = reference::run(&built.graph, &built.inputs).map_err(|e| fail(&e))?;
    let found = run(device, &built.graph, &built.inputs, 1e30).map_err(|e| fail(&e))?;
    for (i, (found, exact)) in found.iter().zip(&exact).enumerate() {
        let bits = built.graph.fact(built.graph.outputs()[i]).dtype == DType::Bits;
        let wrong = found
            .iter()
            .zip(&exact.data)
            .filter(|(a, b)| f64::from(**a) != **b)
            .count();
        let whole = exact.data.iter().all(|v| v.fract() == 0.0 && v.abs() < 1e7);
        if (bits || case.is_exact() && whole) && wrong > 0 {
            return Err(format!(
                "{name}: {wrong} of {} differ in output {i}",
                found.len()
            ));
        }
        let error = nmse(found, &exact.data);
        if error.is_nan() || error > 1e-9 {
            return Err(format!("{name}: NMSE {error:e} in output {i}"));
        }
    }
    Ok(())
}

#[test]
fn agrees_with_the_reference() {
    let mut failures = Vec::new();
    for isa in Isa::available() {
        let device = device(isa, 2);
        failures.extend(
            Op::cases()
                .iter()
                .filter_map(|case| check(&device, case).err()),
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Values of many tasks, whose seams the operators' own cases do not have.
#[test]
fn large_values_agree_with_the_reference() {
    let [x, y, z] = [0, 1, 2].map(Expr::input);
    let gate = x * y.sigmoid() + z;
    const IMAGE: &[usize] = &[3, 40, 33, 31];
    const WIDE: &[usize] = &[1, 40, 33, 95];
    let sum = |axes: &[usize]| ReduceSum {
        axes: axes.to_vec(),
    };
    let transpose = |perm: &[usize]| Transpose {
        perm: perm.to_vec(),
    };
    let third = (0..33).map(|i| vec![(i / 3, 0.5), (32 - i, -1.0)]);
    let filter = AxisFilter {
        axis: 2,
        matrix: SparseMatrix::new(33, third),
    };
    let channels = (0..70).map(|i| vec![(i % 40, 0.5), (i / 2, 2.0)]);
    let mixed = AxisFilter {
        axis: 1,
        matrix: SparseMatrix::new(40, channels),
    };
    let pool = MaxPool {
        kernel: [3, 2],
        strides: [2, 1],
        ..MaxPool::default()
    };
    let depthwise = Conv {
        groups: 40,
        padding: Padding::SameUpper,
        ..Conv::default()
    };
    let strided = Conv {
        strides: [2; 2],
        ..depthwise.clone()
    };
    let transposed = ConvTranspose {
        groups: 40,
        strides: [2; 2],
        pads: [1, 1, 0, 0],
        ..ConvTranspose::default()
    };
    let gate = || Elementwise::new(&gate, 3);
    let cases: Vec<(Op, &[&[usize]])> = vec![
        (gate().into(), &[IMAGE, &[3, 40, 1, 1], &[1, 40, 33, 1]]),
        (gate().into(), &[IMAGE, &[40, 1, 1], &[33, 31]]),
        (gate().into(), &[IMAGE, &[3, 1, 33, 31], &[]]),
        (gate().into(), &[&[3, 197, 77], &[77], &[3, 197, 1]]),
        (
            gate().into(),
            &[&[3, 7, 3, 49, 49], &[1, 1, 3, 49, 49], &[3, 7, 1, 49, 1]],
        ),
        (transpose(&[0, 2, 3, 1]).into(), &[IMAGE]),
        (transpose(&[0, 3, 1, 2]).into(), &[IMAGE]),
        (transpose(&[0, 2, 1, 3]).into(), &[IMAGE]),
        (
            Concat { axis: 1 }.into(),
            &[IMAGE, &[1, 23, 33, 1], &[3, 32, 33, 31]],
        ),
        (Concat { axis: 3 }.into(), &[IMAGE, &[3, 40, 1, 7]]),
        (Concat { axis: 1 }.into(), &[&[1, 1, 193], &[3, 197, 193]]),
        (filter.into(), &[IMAGE]),
        (mixed.into(), &[IMAGE]),
        (pool.into(), &[IMAGE]),
        (depthwise.into(), &[WIDE, &[40, 1, 5, 5]]),
        (strided.into(), &[WIDE, &[40, 1, 3, 3]]),
        (transposed.into(), &[WIDE, &[40, 1, 3, 3]]),
        (sum(&[0]).into(), &[IMAGE]),
        (sum(&[1]).into(), &[IMAGE]),
        (sum(&[1, 3]).into(), &[IMAGE]),
        (sum(&[2]).into(), &[IMAGE]),
        (sum(&[0, 2]).into(), &[&[70, 9, 33, 11, 2]]),
        (sum(&[1, 3]).into(), &[&[7, 90, 3, 110]]),
        (Softmax { axis: 2 }.into(), &[&[5, 64, 197]]),
        (Normalize { epsilon: 1e-5 }.into(), &[&[5, 64, 197]]),
        (
            MatMul::default().into(),
            &[&[1, 2, 300, 70], &[1, 2, 70, 33]],
        ),
        (MatMul::default().into(), &[&[2, 300, 130], &[2, 130, 48]]),
        (Gemm::default().into(), &[&[600, 100], &[100, 33]]),
        (Gemm::default().into(), &[&[600, 100], &[100, 64]]),
        (Gemm::default().into(), &[&[3, 200, 260], &[260, 41]]),
        (Gemm::default().into(), &[&[3, 200, 130], &[130, 208]]),
    ];
    for isa in Isa::available() {
        for (op, shapes) in &cases {
            let inputs = shapes.iter().map(|s| CaseInput::variable(s)).collect();
            let case = Case::new(format!("{} of {shapes:?}", op.name()), op.clone(), inputs);
            if let Err(e) = check(&device(isa, 2), &case) {
                panic!("{e}");
            }
        }
    }
}

/// Weights of a normal distribution, different for each `stream`.
fn weights(shape: &[usize], stream: u32) -> Arc<Tensor> {
    let n: usize = shape.iter().product();
    let fan: usize = shape[1..].iter().product();
    let scale = (2.0 / fan as f64).sqrt();
    let data = (0..n).map(|i| {
        let v = philox::normal4([3, 0], stream, [0; 2], (i / 4) as u32)[i % 4];
        (v * scale) as f32
    });
    Arc::new(Tensor::new(shape.to_vec(), data.collect()).expect("the data fits"))
}

/// A small network with its gradient, fused: a strided stem, an inverted
/// residual, a strided depthwise convolution, a grouped one, a classifier.
fn network(batch: usize) -> Result<Graph, Failure> {
    let mut g = Graph::new();
    let x = g.input("x", Fact::f32([batch, 3, 37, 29]));
    let relu6 = Clip {
        min: Some(0.0),
        max: Some(6.0),
    };
    let mut stream = 0;
    let mut conv =
        |g: &mut Graph, x, shape: [usize; 4], stride: usize, groups: usize, act: bool| {
            stream += 1;
            let w = g.constant("weight", weights(&shape, stream));
            let b = g.constant("bias", weights(&shape[..1], 100 + stream));
            let op = Conv {
                strides: [stride; 2],
                groups,
                padding: Padding::SameUpper,
                ..Conv::default()
            };
            let y = g.push("conv", op, &[x, w, b])?[0];
            if act {
                Ok::<_, Failure>(g.push("relu6", relu6, &[y])?[0])
            } else {
                Ok(y)
            }
        };
    let stem = conv(&mut g, x, [24, 3, 3, 3], 2, 1, true)?;
    let a = conv(&mut g, stem, [72, 24, 1, 1], 1, 1, true)?;
    let a = conv(&mut g, a, [72, 1, 3, 3], 1, 72, true)?;
    let a = conv(&mut g, a, [24, 72, 1, 1], 1, 1, false)?;
    let a = g.push("add", Add {}, &[a, stem])?[0];
    let a = conv(&mut g, a, [136, 24, 1, 1], 1, 1, true)?;
    let a = conv(&mut g, a, [136, 1, 5, 5], 2, 136, true)?;
    let a = conv(&mut g, a, [64, 34, 3, 3], 1, 4, true)?;
    let a = g.push("pool", GlobalAveragePool {}, &[a])?[0];
    let a = g.push("flatten", Flatten { axis: 1 }, &[a])?[0];
    let (w, b) = (weights(&[50, 64], 50), weights(&[50], 51));
    let (w, b) = (g.constant("weight", w), g.constant("bias", b));
    let gemm = Gemm {
        trans_b: true,
        ..Gemm::default()
    };
    let y = g.push("logits", gemm, &[a, w, b])?[0];
    g.set_outputs(&[y]);
    Ok(fuse(&vjp(&g, y, &[x], Rule::Standard)?.graph)?)
}

/// Inputs of image `i` and the cotangent of one of its logits.
fn inputs(images: &[usize]) -> Vec<RefTensor> {
    let size = 3 * 37 * 29;
    let x = RefTensor::from_fn([images.len(), 3, 37, 29], |i| {
        let (image, e) = (images[i / size], i % size);
        let v = philox::normal4([7, 0], 9, [image as u32, 0], (e / 4) as u32)[e % 4];
        f64::from(v as f32)
    });
    let hot = |i: usize| f64::from(u8::from(i % 50 == images[i / 50] % 50));
    vec![x, RefTensor::from_fn([images.len(), 50], hot)]
}

#[test]
fn threads_and_batches_change_no_bit() -> Result<(), Failure> {
    for (name, network) in [
        ("images", network as Network),
        ("layouts", layouts::network),
        ("chains", chains::network),
    ] {
        for isa in Isa::available() {
            for precision in PRECISIONS {
                let name = format!("{name}, {isa}, {}", precision.name());
                check_network(&name, network, precision, isa)?;
            }
        }
    }
    Ok(())
}

type Network = fn(usize) -> Result<Graph, Failure>;

fn check_network(
    name: &str,
    network: Network,
    precision: Precision,
    isa: Isa,
) -> Result<(), Failure> {
    let device = |threads| device_in(precision, isa, threads);
    let allowed = match precision {
        // Units near a kink fall to its other side.
        Precision::Bf16 => 3e-2,
        _ => 1e-9,
    };
    let all = network(5)?;
    let whole = run(&device(1), &all, &inputs(&[0, 1, 2, 3, 4]), 0.0)?;
    let exact = reference::run(&all, &inputs(&[0, 1, 2, 3, 4]))?;
    for (found, exact) in whole.iter().zip(&exact) {
        let error = nmse(found, &exact.data);
        assert!(error < allowed, "{name}: NMSE {error:e}");
    }
    let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let threaded = run(&device(2), &all, &inputs(&[0, 1, 2, 3, 4]), 0.0)?;
    for (a, b) in whole.iter().zip(&threaded) {
        assert_eq!(bits(a), bits(b), "{name}: threads");
    }
    for split in [&[0][..], &[1, 2], &[2, 3, 4]] {
        let part = run(&device(2), &network(split.len())?, &inputs(split), 0.0)?;
        for (whole, part) in whole.iter().zip(&part) {
            let size = part.len() / split.len();
            let own = &whole[split[0] * size..][..part.len()];
            assert_eq!(bits(own), bits(part), "{name}: images {split:?}");
        }
    }
    Ok(())
}

#[test]
fn one_executable_serves_many_threads() -> Result<(), Failure> {
    let device = device(Isa::available()[0], 2);
    let graph = network(1)?;
    let expected = run(&device, &graph, &inputs(&[3]), 0.0)?;
    std::thread::scope(|scope| {
        let work = || {
            for _ in 0..4 {
                let found = run(&device, &graph, &inputs(&[3]), 0.0).map_err(|e| e.to_string());
                assert_eq!(found.as_ref(), Ok(&expected));
            }
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .for_each(|t| t.join().expect("no thread panics"));
    });
    Ok(())
}

#[test]
fn wrong_use_is_an_error() -> Result<(), Failure> {
    let device = device(Isa::Scalar, 1);
    let graph = network(1)?;
    let executable = device.prepare(device.plan(Arc::new(graph))?)?;
    let fact = Fact::f32([1, 3]);
    let mut buffer = device.alloc(&fact)?;
    let error = device.execute(&*executable, &[], &mut []).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the graph's inputs is 2 buffers, the buffer given is 0 buffers"
    );
    assert!(device.write(&mut buffer, HostData::F32(&[1.0])).is_err());
    assert!(
        device
            .write(&mut buffer, HostData::U32(&[1, 2, 3]))
            .is_err()
    );
    assert!(device.read(&buffer, &mut [0.0; 4]).is_err());
    assert!(device.alloc(&Fact::f32([usize::MAX / 64, 1])).is_err());
    let none = CpuOptions {
        threads: Some(0),
        ..CpuOptions::default()
    };
    assert!(CpuDevice::with(none).is_err());
    if let Some(isa) = Isa::ALL.iter().find(|i| !Isa::available().contains(i)) {
        let options = CpuOptions {
            threads: Some(1),
            isa: Some(*isa),
            ..CpuOptions::default()
        };
        assert!(CpuDevice::with(options).is_err());
    }
    Ok(())
}

/// What is not a number passes through an activation, alone or fused, so that
/// an overflow is not mistaken for a black pixel.
#[test]
fn nan_passes_through_an_activation() -> Result<(), Failure> {
    let mut graph = Graph::new();
    let x = graph.input("x", Fact::f32([1, 17, 3, 3]));
    let weight = Tensor::new([17, 17, 1, 1], vec![1.0; 17 * 17])?;
    let weight = graph.constant("weight", Arc::new(weight));
    let alone = graph.push("alone", Clip::relu(), &[x])?[0];
    let conv = graph.push("conv", Conv::default(), &[x, weight])?[0];
    let fused = graph.push("fused", Clip::relu(), &[conv])?[0];
    graph.set_outputs(&[alone, fused]);
    let graph = fuse(&graph)?;
    let mut values = RefTensor::from_fn([1, 17, 3, 3], |i| i as f64 - 70.0);
    values.data[4] = f64::NAN;
    let expected = reference::run(&graph, std::slice::from_ref(&values))?;
    for isa in Isa::available() {
        let found = run(&device(isa, 1), &graph, std::slice::from_ref(&values), 0.0)?;
        for (found, expected) in found.iter().zip(&expected) {
            let pairs = found.iter().zip(&expected.data);
            assert!(expected.data.iter().any(|v| v.is_nan()));
            for (a, b) in pairs {
                assert!(a.is_nan() == b.is_nan(), "{isa}: {a} instead of {b}");
            }
        }
    }
    Ok(())
}
