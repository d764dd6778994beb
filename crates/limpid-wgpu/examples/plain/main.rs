//! The kernels against plain ones with an invocation for each output, and
//! attention against its parts, in turn on the same adapter: `cargo xtask bench gpu`. Prints the seconds of each round.
#![allow(clippy::print_stdout, reason = "an example prints its samples")]

use anyhow::{Context, Result, ensure};
use limpid_device::{Buffer, Device, Executable, HostData};
use limpid_graph::ops::{Attention, Conv, HeatKernel, MatMul, Padding};
use limpid_graph::passes::lower;
use limpid_graph::{Fact, Graph};
use limpid_tensor::{Tensor, philox};
use limpid_wgpu::{Adapter, WgpuDevice, WgpuOptions};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use wgpu::util::DeviceExt;

/// How far apart the two may be, relative to the result.
const SAME: f64 = 1e-4;

/// Workgroups of plain kernels have so many invocations.
const INVOCATIONS: usize = 64;

/// What both compute.
struct Case {
    name: String,
    graph: Graph,
    /// The graph's inputs.
    inputs: Vec<Vec<f32>>,
    outputs: usize,
    against: Against,
}

/// With what a case is compared.
enum Against {
    /// Plain kernels.
    Plain(Vec<Launch>),
    /// The crate's kernels for a graph of simpler operators.
    Parts(Graph),
}

/// A launch of a plain kernel: it reads two buffers and writes one. The second
/// launch reads what the first has written.
struct Launch {
    text: &'static str,
    params: Vec<u32>,
    /// Taken from the launch before, if `None`.
    first: Option<Vec<f32>>,
    second: Vec<f32>,
}

/// Standard normal numbers.
fn normals(stream: u32, count: usize) -> Vec<f32> {
    let key = philox::key(0);
    let quads = 0..count.div_ceil(4) as u32;
    let quads = quads.flat_map(|q| philox::normal4(key, stream, [0, 0], q));
    quads.take(count).map(|v| v as f32).collect()
}

fn conv(channels: usize, filters: usize, side: usize, window: usize) -> Result<Case> {
    let pixels = side * side;
    let (x, w) = (
        normals(0, channels * pixels),
        normals(1, filters * channels * window * window),
    );
    let mut graph = Graph::new();
    let input = graph.input("x", Fact::f32([1, channels, side, side]));
    let mut weight = Tensor::zeros([filters, channels, window, window])?;
    weight.data_mut().copy_from_slice(&w);
    let weight = graph.constant("weight", weight);
    let op = Conv {
        padding: Padding::Explicit([window / 2; 4]),
        ..Conv::default()
    };
    let y = graph.push("conv", op, &[input, weight])?;
    graph.set_outputs(&y);
    let outputs = filters * pixels;
    let params = [channels, side, side, filters, window, outputs];
    Ok(Case {
        name: format!("convolution {window}x{window}, {channels} to {filters} at {side}x{side}"),
        graph,
        inputs: vec![x.clone()],
        outputs,
        against: Against::Plain(vec![Launch {
            text: include_str!("conv.wgsl"),
            params: words(&params),
            first: Some(x),
            second: w,
        }]),
    })
}

fn mat_mul(products: usize, [rows, depth, columns]: [usize; 3]) -> Result<Case> {
    let (a, b) = (
        normals(0, products * rows * depth),
        normals(1, products * depth * columns),
    );
    let mut graph = Graph::new();
    let inputs = [
        graph.input("a", Fact::f32([products, rows, depth])),
        graph.input("b", Fact::f32([products, depth, columns])),
    ];
    let y = graph.push("product", MatMul::default(), &inputs)?;
    graph.set_outputs(&y);
    let outputs = products * rows * columns;
    Ok(Case {
        name: format!("{products} products of {rows}x{depth} and {depth}x{columns}"),
        graph,
        inputs: vec![a.clone(), b.clone()],
        outputs,
        against: Against::Plain(vec![Launch {
            text: include_str!("mat_mul.wgsl"),
            params: words(&[rows, columns, depth, outputs]),
            first: Some(a),
            second: b,
        }]),
    })
}

/// Blurs of one picture, with standard deviations from 0 to 50 pixels.
fn blur(count: usize, planes: usize, side: usize) -> Result<Case> {
    let x = normals(0, planes * side * side);
    let sigmas = (0..count).map(|i| 50.0 * i as f32 / (count - 1) as f32);
    let sigmas: Vec<f32> = sigmas.collect();
    let mut graph = Graph::new();
    let inputs = [
        graph.input("x", Fact::f32([1, planes, side, side])),
        graph.input("sigmas", Fact::f32([count])),
    ];
    let y = graph.push("blur", HeatKernel {}, &inputs)?[0];
    graph.set_outputs(&[y]);
    let matrices: Vec<f32> = sigmas.iter().flat_map(|s| matrix(side, *s)).collect();
    let outputs = count * planes * side * side;
    let along = |images, stride, first| Launch {
        text: include_str!("blur.wgsl"),
        params: words(&[images, planes, side, side, stride, side, outputs]),
        first,
        second: matrices.clone(),
    };
    let launches = vec![along(1, 1, Some(x.clone())), along(count, side, None)];
    Ok(Case {
        name: format!("{count} blurs of {planes}x{side}x{side}, sigma 0 to 50"),
        graph,
        inputs: vec![x, sigmas],
        outputs,
        against: Against::Plain(launches),
    })
}

/// Attention of some heads, whose parts are two products and a softmax.
fn attention(heads: usize, tokens: usize, length: usize) -> Result<Case> {
    let shape = [1, heads, tokens, length];
    let outputs = heads * tokens * length;
    let mut graph = Graph::new();
    let inputs = ["q", "k", "v"].map(|name| graph.input(name, Fact::f32(shape)));
    let y = graph.push("attention", Attention::default(), &inputs)?;
    graph.set_outputs(&y);
    Ok(Case {
        name: format!("attention of {heads} heads, {tokens} tokens of {length}"),
        against: Against::Parts(lower(&graph)?),
        graph,
        inputs: (0..3).map(|stream| normals(stream, outputs)).collect(),
        outputs,
    })
}

/// The blur of a line of so many points.
fn matrix(points: usize, sigma: f32) -> Vec<f32> {
    let (basis, frequencies) = (HeatKernel::basis(points), HeatKernel::frequencies(points));
    let time = 0.5 * f64::from(sigma).powi(2);
    let decays: Vec<f64> = frequencies.iter().map(|f| (-time * f).exp()).collect();
    let entry = |at: usize| {
        let modes = (0..points)
            .map(|k| decays[k] * basis[k * points + at / points] * basis[k * points + at % points]);
        modes.sum::<f64>() as f32
    };
    (0..points * points).map(entry).collect()
}

fn words(values: &[usize]) -> Vec<u32> {
    values.iter().map(|v| *v as u32).collect()
}

/// The same adapter without the crate's kernels.
struct Plain {
    device: wgpu::Device,
    queue: wgpu::Queue,
}

/// What can be timed and compared.
trait Contestant {
    fn run(&mut self) -> Result<()>;
    fn read(&self) -> Result<Vec<f32>>;
}

/// A case's plain launches and what they write in the end.
struct Prepared<'a> {
    plain: &'a Plain,
    launches: Vec<(wgpu::ComputePipeline, wgpu::BindGroup, u32)>,
    result: wgpu::Buffer,
}

impl Plain {
    fn open(name: &str) -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let all = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
        let adapter = all.into_iter().find(|a| a.get_info().name == name);
        let adapter = adapter.context("the adapter is gone")?;
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: adapter.limits(),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;
        Ok(Self { device, queue })
    }

    fn buffer(&self, contents: &[u8], usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let descriptor = wgpu::util::BufferInitDescriptor {
            label: None,
            contents,
            usage,
        };
        self.device.create_buffer_init(&descriptor)
    }

    fn prepare(&self, plain: &[Launch], outputs: usize) -> Result<Prepared<'_>> {
        let storage = wgpu::BufferUsages::STORAGE;
        let mut launches = Vec::new();
        let mut before: Option<wgpu::Buffer> = None;
        for launch in plain {
            let params = bytemuck::cast_slice(&launch.params);
            let params = self.buffer(params, wgpu::BufferUsages::UNIFORM);
            let first = match &launch.first {
                Some(values) => self.buffer(bytemuck::cast_slice(values), storage),
                None => before.take().context("a launch before")?,
            };
            let second = self.buffer(bytemuck::cast_slice(&launch.second), storage);
            let result = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 4 * outputs as u64,
                usage: storage | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            let module = wgpu::ShaderModuleDescriptor {
                label: None,
                source: wgpu::ShaderSource::Wgsl(launch.text.into()),
            };
            let module = self.device.create_shader_module(module);
            let pipeline = self
                .device
                .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: None,
                    layout: None,
                    module: &module,
                    entry_point: Some("main"),
                    compilation_options: wgpu::PipelineCompilationOptions::default(),
                    cache: None,
                });
            let buffers = [&params, &first, &second, &result];
            let entries = buffers.iter().enumerate();
            let entries: Vec<_> = entries
                .map(|(i, buffer)| wgpu::BindGroupEntry {
                    binding: i as u32,
                    resource: buffer.as_entire_binding(),
                })
                .collect();
            let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            launches.push((pipeline, group, outputs.div_ceil(INVOCATIONS) as u32));
            before = Some(result);
        }
        let result = before.context("a case has launches")?;
        Ok(Prepared {
            plain: self,
            launches,
            result,
        })
    }
}

impl Contestant for Prepared<'_> {
    fn run(&mut self) -> Result<()> {
        let Plain { device, queue } = self.plain;
        let mut encoder = device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for (pipeline, group, count) in &self.launches {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, group, &[]);
                pass.dispatch_workgroups(*count, 1, 1);
            }
        }
        queue.submit([encoder.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(())
    }

    fn read(&self) -> Result<Vec<f32>> {
        let (Plain { device, queue }, buffer) = (self.plain, &self.result);
        let staging = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        queue.submit([encoder.finish()]);
        // Reading the range fails where this has.
        staging.map_async(wgpu::MapMode::Read, .., |_| ());
        device.poll(wgpu::PollType::wait_indefinitely())?;
        let bytes = staging.get_mapped_range(..).context("the result")?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}

/// A case on the crate's device.
struct Ours<'a> {
    device: &'a WgpuDevice,
    executable: Arc<dyn Executable>,
    inputs: Vec<Buffer>,
    output: Buffer,
}

impl<'a> Ours<'a> {
    fn prepare(device: &'a WgpuDevice, graph: Graph, values: &[Vec<f32>]) -> Result<Self> {
        let graph = Arc::new(graph);
        let mut inputs = Vec::new();
        for (v, values) in graph.inputs().iter().zip(values) {
            let mut buffer = device.alloc(graph.fact(*v))?;
            device.write(&mut buffer, HostData::F32(values))?;
            inputs.push(buffer);
        }
        Ok(Self {
            device,
            output: device.alloc(graph.fact(graph.outputs()[0]))?,
            executable: device.prepare(device.plan(graph)?)?,
            inputs,
        })
    }
}

impl Contestant for Ours<'_> {
    fn run(&mut self) -> Result<()> {
        let inputs: Vec<&Buffer> = self.inputs.iter().collect();
        let (device, executable) = (self.device, &*self.executable);
        device.execute(executable, &inputs, &mut [&mut self.output])?;
        Ok(device.synchronize()?)
    }

    fn read(&self) -> Result<Vec<f32>> {
        let mut data = vec![0.0; self.output.fact().shape.elements()?];
        self.device.read(&self.output, &mut data)?;
        Ok(data)
    }
}

/// The norm of the difference over that of `expected`.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let square = |v: f64| v * v;
    let pairs = found.iter().zip(expected);
    let difference: f64 = pairs
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    let norm: f64 = expected.iter().map(|b| square(f64::from(*b))).sum();
    (difference / norm).sqrt()
}

fn seconds(run: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64())
}

fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).unwrap_or_else(|| "5".to_owned());
    let rounds: u32 = rounds.parse().context("the number of rounds")?;
    let adapter = Adapter::best()?;
    let about = adapter.info().clone();
    let device = WgpuDevice::new(WgpuOptions {
        adapter: Some(adapter),
        ..WgpuOptions::default()
    })?;
    let plain = Plain::open(&about.name)?;
    let cases = [
        conv(64, 64, 56, 3)?,
        conv(256, 64, 56, 1)?,
        conv(128, 128, 28, 3)?,
        mat_mul(12, [197, 64, 197])?,
        mat_mul(1, [512, 512, 512])?,
        attention(12, 197, 64)?,
        blur(8, 3, 224)?,
    ];
    let mut groups = Vec::new();
    for case in cases {
        let mut ours = Ours::prepare(&device, case.graph, &case.inputs)?;
        let mut theirs: Box<dyn Contestant> = match case.against {
            Against::Plain(launches) => Box::new(plain.prepare(&launches, case.outputs)?),
            Against::Parts(graph) => Box::new(Ours::prepare(&device, graph, &case.inputs)?),
        };
        ours.run()?;
        theirs.run()?;
        let apart = distance(&ours.read()?, &theirs.read()?);
        ensure!(
            apart < SAME,
            "{}: the results are {apart:.1e} apart",
            case.name
        );
        let (mut limpid, mut other) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            for turn in 0..2 {
                match (round + turn) % 2 {
                    0 => limpid.push(seconds(|| ours.run())?),
                    _ => other.push(seconds(|| theirs.run())?),
                }
            }
        }
        groups.push(json!({
            "work": case.name,
            "limpid": limpid,
            "other": other,
            "distance": apart,
        }));
    }
    let document = json!({
        "adapter": about.name,
        "driver": about.driver,
        "groups": groups,
    });
    println!("{}", serde_json::to_string_pretty(&document)?);
    Ok(())
}
