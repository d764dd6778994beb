//! Noise is the same on every device: its integers bit for bit, and its normal
//! numbers within what f32 rounds away.

#![allow(clippy::print_stdout, reason = "a test that is left out says why")]

mod common;

use limpid_graph::ops::GaussianNoise;
use limpid_graph::reference::RefTensor;
use limpid_graph::{Fact, Graph};
use limpid_tensor::{DType, philox};
use limpid_wgpu::WgpuOptions;
use std::f64::consts::TAU;
use std::sync::Arc;

/// The kernels' own functions on integers of the test's choice.
const KERNEL: &str = concat!(
    include_str!("../../../kernels/wgsl/shared/philox.wgsl"),
    r"
@group(0) @binding(0) var<storage, read_write> counters: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> keys: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> words: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> normals: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&counters) {
        words[id.x] = philox(counters[id.x], keys[id.x]);
        normals[id.x] = box_muller(counters[id.x]);
    }
}
"
);

/// The error in units in the last place of the exact value.
fn ulps(found: f32, exact: f64) -> f64 {
    let unit = f64::from(f32::EPSILON) * 2f64.powi(exact.abs().log2().floor() as i32);
    (f64::from(found) - exact).abs() / unit
}

/// What [`KERNEL`] stores.
fn launch(counters: &[[u32; 4]], keys: &[[u32; 2]]) -> (Vec<[u32; 4]>, Vec<[f32; 4]>) {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    let instance = wgpu::Instance::new(descriptor);
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    }));
    let opened = pollster::block_on(adapter.unwrap().request_device(&Default::default()));
    let (device, queue) = opened.unwrap();
    let wide = include_str!("../../../kernels/wgsl/shared/wide.wgsl");
    let text = KERNEL.replace("#include \"shared/wide.wgsl\"", wide);
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(text.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let buffer = |size: usize, usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: size as u64,
            usage,
            mapped_at_creation: false,
        })
    };
    let count = counters.len();
    let buffers = [16, 8, 16, 16].map(|bytes| {
        let copies = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        buffer(count * bytes, wgpu::BufferUsages::STORAGE | copies)
    });
    queue.write_buffer(&buffers[0], 0, bytemuck::cast_slice(counters));
    queue.write_buffer(&buffers[1], 0, bytemuck::cast_slice(keys));
    let entries = [0, 1, 2, 3].map(|i| wgpu::BindGroupEntry {
        binding: i as u32,
        resource: buffers[i].as_entire_binding(),
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    let stored = [&buffers[2], &buffers[3]];
    let reads = stored.map(|b| {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        buffer(b.size() as usize, usage)
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(count.div_ceil(64) as u32, 1, 1);
    }
    for (from, to) in stored.iter().zip(&reads) {
        encoder.copy_buffer_to_buffer(from, 0, to, 0, from.size());
    }
    queue.submit([encoder.finish()]);
    for read in &reads {
        read.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
    }
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let [words, normals] = reads.map(|r| r.get_mapped_range(..).unwrap().to_vec());
    let words = bytemuck::pod_collect_to_vec(&words);
    (words, bytemuck::pod_collect_to_vec(&normals))
}

/// Box and Muller's transform, the angle reduced before it is rounded.
fn normal2(r0: u32, r1: u32) -> [f64; 2] {
    let unit = |r: u32| (f64::from(r) + 0.5) / 4_294_967_296.0;
    let radius = (-2.0 * unit(r0).ln()).sqrt();
    let quarter = (4.0 * unit(r1)).round();
    let (sin, cos) = ((unit(r1) - quarter / 4.0) * TAU).sin_cos();
    let [x, y] = match quarter as u32 % 4 {
        0 => [cos, sin],
        1 => [-sin, cos],
        2 => [-cos, -sin],
        _ => [sin, -cos],
    };
    [radius * x, radius * y]
}

#[test]
fn integers_are_the_processor_s_bit_for_bit() {
    if common::device(WgpuOptions::default()).is_none() {
        return;
    }
    // All pairs of numbers around those where the carries of a product, the
    // logarithm's halves or the quarters of a turn change, and many others.
    let around = |v: u32| (0..4u32).map(move |d| v.wrapping_add(d).wrapping_sub(2));
    let eighths = (0..8u32).map(|i| i << 29);
    let edges: Vec<u32> = eighths.chain([0xffff, 1 << 16]).flat_map(around).collect();
    let mut counters = Vec::new();
    for a in &edges {
        counters.extend(edges.iter().map(|b| [*a, *b, *b, *a]));
    }
    counters.extend((0..100_000).map(|i| philox::philox4x32([i, 1, 2, 3], [4, 5])));
    let key = |i: usize| match i % 3 {
        0 => [edges[i / 3 % edges.len()], edges[i / 7 % edges.len()]],
        _ => philox::key(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(i as u64)),
    };
    let keys: Vec<[u32; 2]> = (0..counters.len()).map(key).collect();
    let (words, normals) = launch(&counters, &keys);
    let mut worst = 0f64;
    for (i, counter) in counters.iter().enumerate() {
        let expected = philox::philox4x32(*counter, keys[i]);
        assert_eq!(words[i], expected, "{counter:x?} under {:x?}", keys[i]);
        let [a, b, c, d] = *counter;
        let exact = [normal2(a, b), normal2(c, d)];
        for (found, exact) in normals[i].iter().zip(exact.as_flattened()) {
            let error = ulps(*found, *exact);
            assert!(error <= 4.0, "{counter:x?}: {found} is not {exact}");
            worst = worst.max(error);
        }
    }
    println!("normal numbers are within {worst:.2} units in the last place");
}

#[test]
fn noise_is_that_of_the_counter() {
    let Some(device) = common::device(WgpuOptions::default()) else {
        return;
    };
    // A last count of less than four elements.
    let (samples, size) = ([[0, 0], [1, 0], [u32::MAX, 7]], 3 * 83 * 85);
    for (seed, stream) in [(0, 0), (1, 5), (u64::MAX, u32::MAX), (0x1234_5678_9abc, 2)] {
        let mut graph = Graph::new();
        let facts = [
            Fact::f32([1, 3, 83, 85]),
            Fact::new(DType::U32, [samples.len(), 2]),
            Fact::new(DType::U32, [2]),
            Fact::f32([1]),
        ];
        let ids: Vec<_> = facts.iter().map(|f| graph.input("x", f.clone())).collect();
        let noise = graph.push("noise", GaussianNoise { stream }, &ids);
        graph.set_outputs(&noise.unwrap());
        let key = philox::key(seed);
        let words = |w: &[u32]| w.iter().map(|v| f64::from(*v)).collect();
        let inputs = [
            RefTensor::from_fn([1, 3, 83, 85], |_| 0.0),
            RefTensor::new([samples.len(), 2], words(samples.as_flattened())),
            RefTensor::new([2], words(&key)),
            RefTensor::new([1], vec![1.0]),
        ];
        let found = common::run(&device, &Arc::new(graph), &inputs).unwrap();
        for (sample, found) in samples.iter().zip(found[0].chunks(size)) {
            for (quad, found) in found.chunks(4).enumerate() {
                let exact = philox::normal4(key, stream, *sample, quad as u32);
                for (found, exact) in found.iter().zip(exact) {
                    let close = ulps(*found, exact) <= 4.0;
                    assert!(
                        close,
                        "seed {seed}, {sample:?}, {quad}: {found}, not {exact}"
                    );
                }
            }
        }
    }
}
