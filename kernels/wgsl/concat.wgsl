// One of the inputs of a concatenation, put into its place: it is lines of
// neighbours, which lie in longer lines of the output. It may be stretched along
// other axes.

#variant X = f32 | f16
#variant Y = f32 | f16
#include "shared/grid.wgsl"

struct Params {
    base: u32,
    end: u32,
    elements: u32,
    // The length of a line here and in the output, and where it begins there.
    length: u32,
    whole: u32,
    offset: u32,
    // For each axis, from the innermost on, its extent and its distance in x.
    axes: array<vec4<u32>, 6>,
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
    if group >= p.end || at >= p.elements {
        return;
    }
    var from_ = 0u;
    var rest = at;
    for (var r = 0u; r < 6u; r++) {
        from_ += rest % p.axes[r].x * p.axes[r].y;
        rest /= p.axes[r].x;
    }
    y[at / p.length * p.whole + p.offset + at % p.length] = ${Y}(x[from_]);
}
