// A linear map along one axis, whose matrix has few entries: `starts` tells where
// each row's entries begin, an entry is a column and the bits of its weight. An
// invocation computes one element; neighbours share a row where the axis is not
// the innermost.

#variant X = f32 | f16
#variant Y = f32 | f16
#include "shared/grid.wgsl"

struct Params {
    base: u32,
    end: u32,
    elements: u32,
    rows: u32,
    columns: u32,
    // Elements behind the axis.
    inner: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> starts: array<u32>;
@group(0) @binding(2) var<storage, read> entries: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> x: array<${X}>;
@group(0) @binding(4) var<storage, read_write> y: array<${Y}>;

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
    let row = at / p.inner % p.rows;
    let from_ = at / p.inner / p.rows * p.columns * p.inner + at % p.inner;
    var sum = 0.0;
    for (var i = starts[row]; i < starts[row + 1u]; i++) {
        let entry = entries[i];
        sum += bitcast<f32>(entry.y) * f32(x[from_ + entry.x * p.inner]);
    }
    y[at] = ${Y}(sum);
}
