// The same elements, perhaps of another type. What stays as it is goes as words.

#include "shared/grid.wgsl"
#variant X = u32 | f32 | f16
#variant Y = u32 | f32 | f16

struct Params {
    base: u32,
    end: u32,
    elements: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<${X}>;
@group(0) @binding(2) var<storage, read_write> y: array<${Y}>;

override INVOCATIONS: u32 = 256u;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) tid: u32,
) {
    let group = workgroup_number(id, count, p.base);
    let at = group * INVOCATIONS + tid;
    if group < p.end && at < p.elements {
        y[at] = ${Y}(x[at]);
    }
}
