//! Where the time goes in the embedded network's forward pass and gradient.
//!
//! `cargo run --release -p limpid-cpu --example layers -- [batch] [threads] [isa] [all]`
#![allow(clippy::print_stdout)]

use limpid_cpu::{CpuDevice, CpuOptions};
use limpid_device::{Buffer, Device, HostData, Timing};
use limpid_graph::Graph;
use limpid_graph::passes::{Rule, fold_batch_norm, fuse, vjp};
use limpid_model::Model;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments.get(i).map(|a| a.parse::<usize>()).transpose();
    let batch = number(0)?.unwrap_or(8);
    let isa = arguments
        .get(2)
        .filter(|a| *a != "best")
        .map(|a| a.parse())
        .transpose()?;
    let device = CpuDevice::with(CpuOptions {
        threads: number(1)?,
        isa,
    })?;
    let c = device.capabilities();
    println!(
        "{} {} x {} threads, batch {batch}",
        c.name, c.isa, c.threads
    );

    let model = Model::embedded()?;
    let forward = fold_batch_norm(&model.graph(batch)?)?;
    let (x, y) = (forward.inputs()[0], forward.outputs()[0]);
    let gradient = fuse(&vjp(&forward, y, &[x], Rule::Standard)?.graph)?;
    let forward = fuse(&forward)?;
    measure(&device, "forward", &forward, batch, false)?;
    measure(
        &device,
        "forward and gradient",
        &gradient,
        batch,
        arguments.len() > 3,
    )
}

fn measure(
    device: &CpuDevice,
    name: &str,
    graph: &Graph,
    batch: usize,
    all: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let plan = device.plan(Arc::new(graph.clone()))?;
    let arena = plan.arena_bytes();
    let start = Instant::now();
    let executable = device.prepare(plan)?;
    let prepared = start.elapsed();
    let mut inputs = Vec::new();
    for v in graph.inputs() {
        let mut buffer = device.alloc(graph.fact(*v))?;
        let n = graph.fact(*v).shape.elements()?;
        let values: Vec<f32> = (0..n)
            .map(|i| (i * 7919 % 1013) as f32 / 507.0 - 1.0)
            .collect();
        device.write(&mut buffer, HostData::F32(&values))?;
        inputs.push(buffer);
    }
    let outputs = graph.outputs().iter().map(|v| device.alloc(graph.fact(*v)));
    let mut outputs = outputs.collect::<Result<Vec<_>, _>>()?;
    let inputs: Vec<&Buffer> = inputs.iter().collect();
    let mut outputs: Vec<&mut Buffer> = outputs.iter_mut().collect();
    device.execute(&*executable, &inputs, &mut outputs)?;
    let mut times = Vec::new();
    let mut steps: Vec<Vec<Timing>> = Vec::new();
    for _ in 0..9 {
        let start = Instant::now();
        device.execute(&*executable, &inputs, &mut outputs)?;
        times.push(start.elapsed().as_secs_f64() * 1e3 / batch as f64);
        steps.push(device.timings(&*executable, &inputs, &mut outputs)?);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{name}: {:.2} ms an image (from {:.2}), arena {:.1} MB, prepared in {prepared:.0?}",
        times[times.len() / 2],
        times[0],
        arena as f64 / 1e6,
    );
    let mut kinds: BTreeMap<(&str, &str), (f64, u64)> = BTreeMap::new();
    for (i, node) in graph.nodes().iter().enumerate() {
        let mut times: Vec<f64> = steps.iter().map(|s| s[i].duration.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        let seconds = times[times.len() / 2];
        let facts = |ids: &[limpid_graph::ValueId]| -> Vec<_> {
            ids.iter().map(|v| graph.fact(*v)).collect()
        };
        let (ins, outs) = (facts(&node.inputs), facts(&node.outputs));
        let work = node.op.cost(&ins, &outs).multiply_adds;
        let kernel = steps[0][i].kernel;
        let kind = kinds.entry((node.op.name(), kernel)).or_default();
        kind.0 += seconds;
        kind.1 += work;
        if all {
            println!(
                "  {:8.3} ms {:6.1} GFLOP/s  {kernel} {} -> {}",
                seconds * 1e3 / batch as f64,
                2e-9 * work as f64 / seconds,
                ins[0].shape,
                outs[0].shape,
            );
        }
    }
    for ((op, kernel), (seconds, work)) in kinds {
        let rate = 2e-9 * work as f64 / seconds;
        let ms = seconds * 1e3 / batch as f64;
        println!("  {ms:8.3} ms an image {rate:7.1} GFLOP/s  {op}, {kernel}");
    }
    Ok(())
}
