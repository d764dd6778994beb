// A function of operands whose shapes are broadcast: its text is generated from
// the formula, and reads the operands it needs at the places that are computed
// here. Also what only copies: another type, another order, another shape.
//
// Axes that all operands cross evenly are merged on the host; most often one is
// left. An invocation computes one element, neighbours neighbours.

#variant Y = f32 | f16
#parameter X0 = f32
#parameter X1 = f32
#parameter X2 = f32
#parameter X3 = f32
#parameter X4 = f32
#parameter X5 = f32
#parameter X6 = f32
// Axes, from 1 to 6.
#parameter RANK = 1
// Statements whose last returns the element.
#parameter FORMULA = return f32(x0[a.y]) + f32(x6[b.w]) * exp_(f32(x1[a.z]));
#include "shared/grid.wgsl"
#include "shared/math.wgsl"

const RANK: u32 = ${RANK}u;

struct Params {
    base: u32,
    end: u32,
    elements: u32,
    // What numbers that have no literal, such as infinity, are made with.
    zero: u32,
    // For each axis, from the innermost on, its extent and seven distances.
    axes: array<vec4<u32>, 12>,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x0: array<${X0}>;
@group(0) @binding(2) var<storage, read_write> x1: array<${X1}>;
@group(0) @binding(3) var<storage, read_write> x2: array<${X2}>;
@group(0) @binding(4) var<storage, read_write> x3: array<${X3}>;
@group(0) @binding(5) var<storage, read_write> x4: array<${X4}>;
@group(0) @binding(6) var<storage, read_write> x5: array<${X5}>;
@group(0) @binding(7) var<storage, read_write> x6: array<${X6}>;
@group(0) @binding(8) var<storage, read_write> y: array<${Y}>;

override INVOCATIONS: u32 = 256u;

fn element(a: vec4<u32>, b: vec4<u32>) -> f32 {
    ${FORMULA}
}

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
    var a = vec4<u32>();
    var b = vec4<u32>();
    var rest = at;
    for (var r = 0u; r < RANK; r++) {
        let extent = p.axes[2u * r].x;
        // The outermost axis takes what is left.
        let position = select(rest % extent, rest, r + 1u == RANK);
        rest /= extent;
        a += position * p.axes[2u * r];
        b += position * p.axes[2u * r + 1u];
    }
    y[at] = ${Y}(element(a, b));
}
