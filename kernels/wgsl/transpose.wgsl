// Two axes change places: the one along which the input's elements are
// neighbours, and the one along which the output's are. A workgroup carries a
// block of 32 x 32 through its memory, so that both are read and written in
// rows. Up to four other axes only move.

#variant X = f32 | f16
#variant Y = f32 | f16
#include "shared/grid.wgsl"

const SIDE: u32 = 32u;
override INVOCATIONS: u32 = 256u;

struct Params {
    base: u32,
    end: u32,
    // The axis of the input's neighbours: its extent and its distance in the output.
    from_extent: u32,
    from_out: u32,
    // That of the output's neighbours, and its distance in the input.
    to_extent: u32,
    to_in: u32,
    from_blocks: u32,
    to_blocks: u32,
    // The other axes: extent, distance in the input and in the output.
    e0: u32, i0: u32, o0: u32,
    e1: u32, i1: u32, o1: u32,
    e2: u32, i2: u32, o2: u32,
    e3: u32, i3: u32, o3: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<${X}>;
@group(0) @binding(2) var<storage, read_write> y: array<${Y}>;

// A word more in a row, so that a column lies in different banks.
var<workgroup> block: array<f32, SIDE * (SIDE + 1u)>;

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
    let from_first = group % p.from_blocks * SIDE;
    let to_first = group / p.from_blocks % p.to_blocks * SIDE;
    var rest = group / p.from_blocks / p.to_blocks;
    var x_at = rest % p.e0 * p.i0;
    var y_at = rest % p.e0 * p.o0;
    rest /= p.e0;
    x_at += rest % p.e1 * p.i1;
    y_at += rest % p.e1 * p.o1;
    rest /= p.e1;
    x_at += rest % p.e2 * p.i2 + rest / p.e2 * p.i3;
    y_at += rest % p.e2 * p.o2 + rest / p.e2 * p.o3;
    for (var i = tid; i < SIDE * SIDE; i += INVOCATIONS) {
        let from_ = from_first + i % SIDE;
        let to = to_first + i / SIDE;
        if from_ < p.from_extent && to < p.to_extent {
            block[i / SIDE * (SIDE + 1u) + i % SIDE] = f32(x[x_at + from_ + to * p.to_in]);
        }
    }
    workgroupBarrier();
    for (var i = tid; i < SIDE * SIDE; i += INVOCATIONS) {
        let to = to_first + i % SIDE;
        let from_ = from_first + i / SIDE;
        if from_ < p.from_extent && to < p.to_extent {
            y[y_at + to + from_ * p.from_out] = ${Y}(block[i % SIDE * (SIDE + 1u) + i / SIDE]);
        }
    }
}
