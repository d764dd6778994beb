//! The time that ResNet-50 and windows of 3 x 3 should take on three graphics
//! adapters by their makers' rates: the tables of `docs/gpu.md`.
//!
//! `cargo run --release -p limpid-wgpu --example roofline`; no adapter is opened.
#![allow(clippy::print_stdout, reason = "an example prints its tables")]

use anyhow::{Context, Result};
use limpid_graph::ops::{Conv, Padding};
use limpid_graph::passes::{
    Rule, eliminate_dead_code, fold_batch_norm, fold_constants, fuse, fuse_elementwise,
    keep_slopes, lower, vjp,
};
use limpid_graph::{Constant, Fact, Graph, Node, Op};
use limpid_model::Description;
use limpid_tensor::Tensor;
use limpid_wgpu::{AdapterClass, LaunchCost, Tuning, Winograd, costs};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An adapter by its maker's rates.
struct Gpu {
    name: &'static str,
    class: AdapterClass,
    /// f32 operations a second.
    operations: f64,
    /// Bytes of memory a second.
    bytes: f64,
    /// Multiprocessors, compute units or cores, each of which runs whole workgroups.
    units: u64,
    /// Seconds between the last workgroup of a launch and the first of the next.
    gap: f64,
}

const GPUS: [Gpu; 3] = [
    Gpu {
        name: "RTX 4090",
        class: AdapterClass::Discrete,
        operations: 82.6e12,
        bytes: 1008e9,
        units: 128,
        gap: 4e-6,
    },
    Gpu {
        name: "M3 Max",
        class: AdapterClass::Integrated,
        operations: 14e12,
        bytes: 400e9,
        units: 40,
        gap: 6e-6,
    },
    Gpu {
        name: "Radeon 780M",
        class: AdapterClass::Integrated,
        operations: 4.15e12,
        bytes: 120e9,
        units: 12,
        gap: 6e-6,
    },
];

/// The shares of the rates that good kernels reach.
const ARITHMETIC: f64 = 0.6;
const MEMORY: f64 = 0.8;

/// What bounds a kernel.
const BOUNDS: [&str; 3] = ["arithmetic", "memory", "launches"];

/// Seconds by what they are waited for.
#[derive(Clone, Copy, Default)]
struct Time([f64; 3]);

impl Time {
    /// Of a launch: whichever takes longer, its operations, in rounds of one
    /// workgroup on each unit, or its bytes; and the gap.
    fn of(launch: &LaunchCost, gpu: &Gpu) -> Self {
        let rounds = launch.groups.max(1).next_multiple_of(gpu.units);
        let full = launch.groups.max(1) as f64 / rounds as f64;
        let arithmetic = launch.operations as f64 / (gpu.operations * ARITHMETIC * full);
        let memory = launch.bytes as f64 / (gpu.bytes * MEMORY);
        match arithmetic > memory {
            true => Self([arithmetic, 0.0, gpu.gap]),
            false => Self([0.0, memory, gpu.gap]),
        }
    }

    fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    /// What the largest part of it is waited for.
    fn bound(&self) -> &'static str {
        let parts = self.0.iter().zip(BOUNDS);
        let largest = parts.max_by(|a, b| a.0.total_cmp(b.0));
        largest.map_or("", |(_, name)| name)
    }
}

/// Launches that are told in one line.
#[derive(Default)]
struct Line {
    steps: usize,
    launches: u64,
    operations: u64,
    bytes: u64,
    times: [Time; 3],
}

impl Line {
    fn add(&mut self, launch: &LaunchCost, gpu: usize) {
        if gpu == 0 {
            self.launches += 1;
            self.operations += launch.operations;
            self.bytes += launch.bytes;
        }
        let time = Time::of(launch, &GPUS[gpu]);
        for (sum, part) in self.times[gpu].0.iter_mut().zip(time.0) {
            *sum += part;
        }
    }

    fn print(&self, name: &str, kernel: &str) {
        let ms = |t: &Time| format!("{:.2} ({})", 1e3 * t.sum(), &t.bound()[..1]);
        let times: Vec<String> = self.times.iter().map(ms).collect();
        println!(
            "| {name} | {kernel} | {} | {} | {:.2} | {:.0} | {:.0} | {} |",
            self.steps,
            self.launches,
            1e-9 * self.operations as f64,
            1e-6 * self.bytes as f64,
            self.operations as f64 / self.bytes.max(1) as f64,
            times.join(" | ")
        );
    }
}

/// The shape of a weight of ResNet-50 with this name.
fn shape(name: &str) -> Option<Vec<usize>> {
    let parts: Vec<&str> = name.split('.').collect();
    Some(match parts[..] {
        ["conv1", "weight"] => vec![64, 3, 7, 7],
        ["fc", "weight"] => vec![1000, 2048],
        ["fc", _] => vec![1000],
        ["bn1", _] => vec![64],
        [layer, block, ref rest @ ..] => {
            let stage: usize = layer.strip_prefix("layer")?.parse().ok()?;
            let width = 32 << stage;
            let wide = 4 * width;
            let before = match (block, stage) {
                ("0", 1) => 64,
                ("0", _) => wide / 2,
                _ => wide,
            };
            match rest {
                ["conv1", _] => vec![width, before, 1, 1],
                ["conv2", _] => vec![width, width, 3, 3],
                ["conv3", _] => vec![wide, width, 1, 1],
                ["downsample", "0", _] => vec![wide, before, 1, 1],
                ["bn3", _] | ["downsample", _, _] => vec![wide],
                _ => vec![width],
            }
        }
        _ => return None,
    })
}

/// ResNet-50 and the gradient of its pictures, as sessions run it. What it
/// costs does not depend on its weights, which are all the same here.
fn resnet50(batch: usize) -> Result<Graph> {
    let network = Description::built_in("resnet50")?.context("resnet50 is built in")?;
    let mut tensors: BTreeMap<String, Constant> = BTreeMap::new();
    for name in network.tensor_names() {
        let shape = shape(name).with_context(|| format!("the shape of {name}"))?;
        let mut tensor = Tensor::zeros(&shape[..])?;
        tensor.data_mut().fill(0.5);
        tensors.insert(name.to_owned(), tensor.into());
    }
    let network = network.graph(&tensors, [3, 224, 224], batch, "weights")?;
    let network = fold_batch_norm(&fold_constants(&lower(&network)?)?)?;
    gradient(&network)
}

/// A network's gradient of its input, optimised.
fn gradient(network: &Graph) -> Result<Graph> {
    let (x, y) = (network.inputs()[0], network.outputs()[0]);
    let made = vjp(network, y, &[x], Rule::Standard)?;
    let mut graph = made.graph;
    graph.set_outputs(&made.gradients);
    optimise(&graph)
}

fn optimise(graph: &Graph) -> Result<Graph> {
    let fused = fuse_elementwise(&fuse(&eliminate_dead_code(graph)?)?)?;
    Ok(keep_slopes(&fused)?)
}

/// A node in words: direction, window, stride, channels and extents.
fn label(graph: &Graph, node: &Node) -> (bool, String) {
    let dims = |at: usize| &graph.fact(node.inputs[at]).shape;
    let out = &graph.fact(node.outputs[0]).shape;
    let step = |s: usize| match s {
        1 => String::new(),
        s => format!(" by {s}"),
    };
    match &node.op {
        Op::Conv(op) => {
            let (w, s) = (dims(1), step(op.strides[0]));
            let text = format!("{}x{}{s}, to {}x{}", w[2], w[3], out[2], out[3]);
            (false, text)
        }
        Op::ConvTranspose(op) => {
            let (w, s) = (dims(1), step(op.strides[0]));
            let text = format!("{}x{}{s}, to {}x{}", w[2], w[3], out[2], out[3]);
            (true, text)
        }
        op => (false, op.name().to_owned()),
    }
}

fn table(graph: &Graph) -> Result<()> {
    let graph = Arc::new(graph.clone());
    let mut lines: Vec<((bool, String, &str), Line)> = Vec::new();
    // Behind the first node of the gradient everything belongs to it.
    let nodes = graph.nodes();
    let first = nodes
        .iter()
        .position(|n| n.inputs.iter().any(|v| graph.inputs()[1..].contains(v)));
    for (i, gpu) in GPUS.iter().enumerate() {
        let mut last = usize::MAX;
        for launch in costs(Arc::clone(&graph), Tuning::of(gpu.class), false, 1 << 30)? {
            let (_, name) = label(&graph, &nodes[launch.node]);
            let backward = first.is_some_and(|first| launch.node >= first);
            let key = (backward, name, launch.kernel);
            let at = lines.iter().position(|(k, _)| *k == key);
            let at = at.unwrap_or_else(|| {
                lines.push((key, Line::default()));
                lines.len() - 1
            });
            lines[at].1.steps += usize::from(i == 0 && last != launch.node);
            last = launch.node;
            lines[at].1.add(&launch, i);
        }
    }
    let head = GPUS.map(|g| format!("{}, ms", g.name)).join(" | ");
    println!("| layers | kernel | steps | launches | GFLOP | MB | FLOP/byte | {head} |");
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    let mut both = Line::default();
    for backward in [false, true] {
        let mut total = Line::default();
        for ((_, name, kernel), line) in lines.iter().filter(|(k, _)| k.0 == backward) {
            line.print(name, kernel);
            total = sum(total, line);
        }
        let name = if backward { "gradient" } else { "forward" };
        total.print(&format!("**{name}**"), "");
        both = sum(both, &total);
    }
    both.print("**both**", "");
    Ok(())
}

fn sum(mut total: Line, line: &Line) -> Line {
    total.steps += line.steps;
    total.launches += line.launches;
    total.operations += line.operations;
    total.bytes += line.bytes;
    for (sum, part) in total.times.iter_mut().zip(line.times) {
        for (sum, part) in sum.0.iter_mut().zip(part.0) {
            *sum += part;
        }
    }
    total
}

/// A window of 3 x 3 alone.
fn window(channels: usize, side: usize, batch: usize) -> Result<Graph> {
    let mut graph = Graph::new();
    let x = graph.input("x", Fact::f32([batch, channels, side, side]));
    let weight = graph.constant("weight", Tensor::zeros([channels, channels, 3, 3])?);
    let conv = Conv {
        padding: Padding::Explicit([1; 4]),
        ..Conv::default()
    };
    let y = graph.push("conv", conv, &[x, weight])?[0];
    graph.set_outputs(&[y]);
    Ok(graph)
}

/// How many times as fast Winograd's transforms should be as direct sums.
fn windows() -> Result<()> {
    let head = GPUS.map(|g| g.name).join(" | ");
    println!("| channels | image | batch | {head} |");
    println!("|--:|--:|--:|--:|--:|--:|");
    let always = Winograd {
        channels: 1,
        tiles: 1,
    };
    for (channels, side) in [
        (32, 112),
        (64, 112),
        (64, 56),
        (96, 56),
        (128, 28),
        (256, 14),
        (512, 14),
        (512, 7),
    ] {
        for batch in [1, 8, 32] {
            let graph = Arc::new(window(channels, side, batch)?);
            let time = |gpu: &Gpu, winograd| -> Result<f64> {
                let tuning = Tuning {
                    winograd,
                    ..Tuning::of(gpu.class)
                };
                let launches = costs(Arc::clone(&graph), tuning, false, 1 << 30)?;
                Ok(launches.iter().map(|l| Time::of(l, gpu).sum()).sum())
            };
            let mut ratios = Vec::new();
            for gpu in &GPUS {
                let ratio = time(gpu, None)? / time(gpu, Some(always))?;
                ratios.push(format!("{ratio:.2}"));
            }
            println!(
                "| {channels} | {side}x{side} | {batch} | {} |",
                ratios.join(" | ")
            );
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    println!("ResNet-50, forward and gradient, batch 32\n");
    table(&resnet50(32)?)?;
    println!("\nDirect sums' time over that of Winograd's transforms\n");
    windows()
}
