// (x - mean) / sqrt(variance + epsilon), line by line, and the reciprocal of
// the root. The variance is that of the differences from the mean: the mean of
// squares less the square of the mean would lose all digits of a line far from 0.

#include "shared/reduce.wgsl"
#variant X = f32 | f16
#variant Y = f32 | f16
#variant ROOT = f32 | f16

struct Params {
    base: u32,
    end: u32,
    lines: u32,
    length: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<${X}>;
@group(0) @binding(2) var<storage, read_write> y: array<${Y}>;
@group(0) @binding(3) var<storage, read_write> roots: array<${ROOT}>;

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
    var sum = 0.0;
    for (var i = first; i < behind; i += LANES) {
        sum += f32(x[i]);
    }
    let mean = sum_of_lanes(sum) / f32(p.length);
    var squares = 0.0;
    for (var i = first; i < behind; i += LANES) {
        let difference = f32(x[i]) - mean;
        squares = fma(difference, difference, squares);
    }
    let variance = sum_of_lanes(squares) / f32(p.length);
    let root = inverseSqrt(variance + p.epsilon);
    for (var i = first; i < behind; i += LANES) {
        y[i] = ${Y}((f32(x[i]) - mean) * root);
    }
    if line < p.lines && own_lane() == 0u {
        roots[line] = ${ROOT}(root);
    }
}
