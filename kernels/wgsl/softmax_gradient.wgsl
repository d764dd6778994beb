// y * (g - sum(g * y)), line by line.

#include "shared/reduce.wgsl"
#variant X = f32 | f16
#variant G = f32 | f16
#variant Y = f32 | f16

struct Params {
    base: u32,
    end: u32,
    lines: u32,
    length: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
// The softmax, and its cotangent.
@group(0) @binding(1) var<storage, read_write> x: array<${X}>;
@group(0) @binding(2) var<storage, read_write> g: array<${G}>;
@group(0) @binding(3) var<storage, read_write> y: array<${Y}>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) tid: u32,
) {
    let group = workgroup_number(id, count, p.base);
    if group >= p.end {
        return;
    }
    invocation = tid;
    let line = group * lines() + own_line();
    let first = line * p.length + own_lane();
    let behind = select(0u, (line + 1u) * p.length, line < p.lines);
    var along = 0.0;
    for (var i = first; i < behind; i += LANES) {
        along = fma(f32(g[i]), f32(x[i]), along);
    }
    along = sum_of_lanes(along);
    for (var i = first; i < behind; i += LANES) {
        y[i] = ${Y}(f32(x[i]) * (f32(g[i]) - along));
    }
}
