//! How fast a device is at each operator, for orientation: the clock is the
//! wall's and nothing is interleaved.

use crate::Problem;
use limpid_device::{Buffer, Device, DeviceError, Executable};
use limpid_graph::Fact;
use limpid_graph::case::{Case, CaseInput};
use limpid_graph::ops::{Clip, Conv, ConvTranspose, Epilogue, HeatKernel, Padding, RangeMask};
use limpid_tensor::DType;
use std::fmt;
use std::time::{Duration, Instant};

/// The speed of a problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measurement {
    /// The shortest run.
    pub duration: Duration,
    /// Arithmetic operations of a run, a multiply-add counting as two.
    pub operations: u64,
    /// Bytes of inputs, weights and outputs, each once.
    pub bytes: u64,
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.duration.as_secs_f64();
        write!(
            f,
            "{:>10.1} us {:>9.2} GFLOP/s {:>9.2} GB/s",
            seconds * 1e6,
            self.operations as f64 / seconds / 1e9,
            self.bytes as f64 / seconds / 1e9
        )
    }
}

/// Layers of the sizes that networks have, and every case.
pub(crate) fn problems() -> Vec<Problem> {
    let relu6 = Clip {
        min: Some(0.0),
        max: Some(6.0),
    };
    let forward = Epilogue {
        clip: Some(relu6),
        store_mask: Some(RangeMask::inside(relu6)),
        ..Epilogue::default()
    };
    let backward = Epilogue {
        mask_mul: true,
        ..Epilogue::default()
    };
    let mut cases = Vec::new();
    for (c, m, size, kernel, stride, depthwise) in [
        (3, 32, 224, 3, 2, false),
        (16, 96, 112, 1, 1, false),
        (96, 96, 112, 3, 2, true),
        (24, 144, 56, 1, 1, false),
        (144, 144, 56, 3, 1, true),
        (112, 672, 14, 1, 1, false),
        (672, 672, 14, 5, 1, true),
        (1152, 320, 7, 1, 1, false),
        (64, 64, 56, 3, 1, false),
    ] {
        let groups = if depthwise { c } else { 1 };
        let out = usize::div_ceil(size, stride);
        let (x, y) = ([1, c, size, size], [1, m, out, out]);
        let weight = CaseInput::constant(&[m, c / groups, kernel, kernel]);
        let conv = Conv {
            strides: [stride; 2],
            groups,
            padding: Padding::SameUpper,
            epilogue: forward,
            ..Conv::default()
        };
        let name = format!("layer {c} to {m} at {size}, {kernel}x{kernel} by {stride}");
        let bias = CaseInput::constant(&[m]);
        let inputs = vec![CaseInput::fixed(&x), weight.clone(), bias];
        let pads = conv.pads(&x, &weight.fact.shape);
        cases.push(Case::new(name.clone(), conv, inputs));
        let transpose = ConvTranspose {
            strides: [stride; 2],
            groups,
            pads,
            output_padding: [0, 1].map(|d| {
                let covered = (out - 1) * stride + kernel;
                (size + pads[d] + pads[d + 2]).saturating_sub(covered)
            }),
            epilogue: backward,
            ..ConvTranspose::default()
        };
        let inputs = vec![CaseInput::fixed(&y), weight, CaseInput::bits(&x)];
        cases.push(Case::new(format!("{name}, gradient"), transpose, inputs));
    }
    let inputs = vec![
        CaseInput::fixed(&[1, 3, 224, 224]),
        CaseInput::positive(&[8]),
    ];
    cases.push(Case::new("eight blurs at 224", HeatKernel {}, inputs));
    cases.extend(limpid_graph::Op::cases());
    let built = cases.into_iter().filter_map(|c| {
        let built = c.build().ok()?;
        Some(Problem::exact(c.name, built.graph, built.inputs))
    });
    built.collect()
}

fn bytes(fact: &Fact) -> u64 {
    let n: u64 = fact.shape.iter().map(|d| *d as u64).product();
    if fact.dtype == DType::Bits {
        n / 8
    } else {
        4 * n
    }
}

pub(crate) fn measure(
    device: &dyn Device,
    problem: &Problem,
    executable: &dyn Executable,
    at_least: Duration,
) -> Result<Measurement, String> {
    let text = |e: DeviceError| e.to_string();
    let graph = &problem.graph;
    let (mut operations, mut moved) = (0, 0);
    for node in graph.nodes() {
        let ins: Vec<&Fact> = node.inputs.iter().map(|v| graph.fact(*v)).collect();
        let outs: Vec<&Fact> = node.outputs.iter().map(|v| graph.fact(*v)).collect();
        let cost = node.op.cost(&ins, &outs);
        operations += 2 * cost.multiply_adds + cost.elementwise;
        moved += ins.into_iter().chain(outs).map(bytes).sum::<u64>();
    }
    let inputs = problem.bind(device).map_err(text)?;
    let mut outputs = Vec::new();
    for v in graph.outputs() {
        outputs.push(device.alloc(graph.fact(*v)).map_err(text)?);
    }
    let bound: Vec<&Buffer> = inputs.iter().collect();
    let mut run = || -> Result<Duration, DeviceError> {
        let mut targets: Vec<&mut Buffer> = outputs.iter_mut().collect();
        let start = Instant::now();
        device.execute(executable, &bound, &mut targets)?;
        device.synchronize()?;
        Ok(start.elapsed())
    };
    let begin = Instant::now();
    let mut shortest = run().map_err(text)?;
    while begin.elapsed() < at_least {
        shortest = shortest.min(run().map_err(text)?);
    }
    Ok(Measurement {
        duration: shortest,
        operations,
        bytes: moved,
    })
}
