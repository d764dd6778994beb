// Elements where a mask is set, zeros elsewhere.

#include "shared/grid.wgsl"
#variant X = f32 | f16
#variant Y = f32 | f16

struct Params {
    base: u32,
    end: u32,
    elements: u32,
    lines: u32,
    positions: u32,
    line_words: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<${X}>;
@group(0) @binding(2) var<storage, read_write> mask: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<${Y}>;

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
    let plane = at / p.positions;
    let bit = plane / p.lines * p.positions + at % p.positions;
    let word = mask[plane % p.lines * p.line_words + bit / 32u];
    y[at] = ${Y}(select(0.0, f32(x[at]), (word >> (bit % 32u) & 1u) == 1u));
}
