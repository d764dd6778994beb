// Standard normal numbers times a factor, added to pictures. An invocation makes
// the four elements of one count of a picture.

#include "shared/grid.wgsl"
#include "shared/philox.wgsl"

struct Params {
    base: u32,
    end: u32,
    // Counts of all pictures, and of one; elements of one.
    counts: u32,
    per_image: u32,
    size: u32,
    // The distance of two pictures in x.
    step: u32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> samples: array<u32>;
@group(0) @binding(3) var<storage, read_write> key: array<u32>;
@group(0) @binding(4) var<storage, read_write> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

override INVOCATIONS: u32 = 256u;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) tid: u32,
) {
    let group = workgroup_number(id, count, p.base);
    let at = group * INVOCATIONS + tid;
    if group >= p.end || at >= p.counts {
        return;
    }
    let image = at / p.per_image;
    let quad = at % p.per_image;
    let counter = vec4<u32>(quad, samples[2u * image], samples[2u * image + 1u], p.stream);
    let normals = box_muller(philox(counter, vec2<u32>(key[0], key[1])));
    for (var j = 0u; j < 4u; j++) {
        let element = 4u * quad + j;
        if element < p.size {
            let noise = scale[0] * normals[j];
            y[image * p.size + element] = x[image * p.step + element] + noise;
        }
    }
}
