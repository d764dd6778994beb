// e^x over its sum, line by line. A line is read three times, from the cache
// after the first.

#include "shared/reduce.wgsl"
#include "shared/exp.wgsl"
#variant X = f32 | f16
#variant Y = f32 | f16

struct Params {
    base: u32,
    end: u32,
    lines: u32,
    length: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<${X}>;
@group(0) @binding(2) var<storage, read_write> y: array<${Y}>;

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
    // Invocations without a line have nothing in their loops, but barriers.
    let behind = select(0u, (line + 1u) * p.length, line < p.lines);
    // Each lane has an element, for there are no more of them.
    var largest = 0.0;
    if first < behind {
        largest = f32(x[first]);
    }
    for (var i = first + LANES; i < behind; i += LANES) {
        largest = larger(largest, f32(x[i]));
    }
    largest = largest_of_lanes(largest);
    var sum = 0.0;
    for (var i = first; i < behind; i += LANES) {
        sum += exp_(f32(x[i]) - largest);
    }
    sum = sum_of_lanes(sum);
    for (var i = first; i < behind; i += LANES) {
        y[i] = ${Y}(exp_(f32(x[i]) - largest) / sum);
    }
}
