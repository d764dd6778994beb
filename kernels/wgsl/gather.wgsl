// Numbers in another order: up to six axes of the result, each a distance in
// the source. Positions at or behind an axis's valid ones are zeros; an axis
// may continue an outer one, so that a long axis lies in blocks.

#include "shared/grid.wgsl"

struct Params {
    base: u32,
    end: u32,
    elements: u32,
    offset: u32,
    // Source numbers that share a factor.
    line: u32,
    // Extent, distance, valid positions, and one more than the axis that is
    // continued, from the innermost axis on. (Arrays of scalars have another layout in uniforms.)
    e0: u32, s0: u32, v0: u32, c0: u32,
    e1: u32, s1: u32, v1: u32, c1: u32,
    e2: u32, s2: u32, v2: u32, c2: u32,
    e3: u32, s3: u32, v3: u32, c3: u32,
    e4: u32, s4: u32, v4: u32, c4: u32,
    e5: u32, s5: u32, v5: u32, c5: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> factor: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

override INVOCATIONS: u32 = 256u;
override FACTOR: bool = false;

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
    var index: array<u32, 6>;
    var rest = at;
    index[0] = rest % p.e0; rest /= p.e0;
    index[1] = rest % p.e1; rest /= p.e1;
    index[2] = rest % p.e2; rest /= p.e2;
    index[3] = rest % p.e3; rest /= p.e3;
    index[4] = rest % p.e4; rest /= p.e4;
    index[5] = rest;
    var valid = true;
    var from_ = p.offset;
    let axes = array<vec4<u32>, 6>(
        vec4<u32>(p.e0, p.s0, p.v0, p.c0), vec4<u32>(p.e1, p.s1, p.v1, p.c1),
        vec4<u32>(p.e2, p.s2, p.v2, p.c2), vec4<u32>(p.e3, p.s3, p.v3, p.c3),
        vec4<u32>(p.e4, p.s4, p.v4, p.c4), vec4<u32>(p.e5, p.s5, p.v5, p.c5));
    for (var i = 0u; i < 6u; i++) {
        let axis = axes[i];
        var position = index[i];
        if axis.w > 0u {
            position += index[axis.w - 1u] * axis.x;
        }
        valid = valid && position < axis.z;
        from_ += index[i] * axis.y;
    }
    var v = 0.0;
    if valid {
        v = x[from_];
        if FACTOR {
            v *= factor[from_ / p.line];
        }
    }
    y[at] = v;
}
