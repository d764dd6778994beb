// Welford's update of means and sums of squared deviations by some samples, in
// their order; an invocation treats one element.

#include "shared/grid.wgsl"

struct Params {
    base: u32,
    end: u32,
    elements: u32,
    samples: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> means: array<f32>;
@group(0) @binding(2) var<storage, read_write> deviations: array<f32>;
@group(0) @binding(3) var<storage, read_write> before: array<f32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;
@group(0) @binding(5) var<storage, read_write> mean_out: array<f32>;
@group(0) @binding(6) var<storage, read_write> deviation_out: array<f32>;

override INVOCATIONS: u32 = 256u;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) tid: u32,
) {
    let group = workgroup_number(id, count, p.base);
    let at = group * INVOCATIONS + tid;
    if group >= p.end || at >= p.elements {
        return;
    }
    var mean = means[at];
    var deviation = deviations[at];
    for (var n = 0u; n < p.samples; n++) {
        let v = x[n * p.elements + at];
        let distance = v - mean;
        mean += distance / (before[0] + f32(n) + 1.0);
        deviation += distance * (v - mean);
    }
    mean_out[at] = mean;
    deviation_out[at] = deviation;
}
