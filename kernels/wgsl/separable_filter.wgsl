// A step of filters of rows and columns: the product of each image's matrix
// with lines of its planes, along the last axis, which it transposes; or the
// sum of two of them, which the derivative is.

#variant A_BY_DEPTH = true | false
#include "shared/parts.wgsl"
#variant X = f32 | f16
#variant Y = f32 | f16

struct Params {
    base: u32,
    end: u32,
    // Points of a line, lines of a plane, planes of an image.
    points: u32,
    lines: u32,
    planes: u32,
    row_blocks: u32,
    column_blocks: u32,
    // Images of x: 1, or as many as there are.
    images: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> first_matrix: array<f32>;
@group(0) @binding(2) var<storage, read_write> first_x: array<${X}>;
@group(0) @binding(3) var<storage, read_write> second_matrix: array<f32>;
@group(0) @binding(4) var<storage, read_write> second_x: array<${X}>;
@group(0) @binding(5) var<storage, read_write> y: array<${Y}>;

override TWO: bool = false;

const A_BY_DEPTH: bool = ${A_BY_DEPTH};
const B_BY_DEPTH: bool = true;

var<private> second: bool;
var<private> image: u32;
var<private> first_row: u32;
var<private> first_column: u32;
// The first of the columns that this invocation puts.
var<private> first_put: u32;

fn entry_a(row: u32, k: u32) -> f32 {
    let line = first_row + row;
    let depth = depth_at(k);
    if line >= p.points || depth >= p.points {
        return 0.0;
    }
    let place = select(depth * p.points + line, line * p.points + depth, A_BY_DEPTH);
    let at = image * p.points * p.points + place;
    if second {
        return second_matrix[at];
    }
    return first_matrix[at];
}

fn entry_b(column: u32, k: u32) -> f32 {
    let line = first_column + column;
    let depth = depth_at(k);
    if line >= p.lines * p.planes || depth >= p.points {
        return 0.0;
    }
    let at = (image % p.images * p.planes * p.lines + line) * p.points + depth;
    if second {
        return f32(second_x[at]);
    }
    return f32(first_x[at]);
}

fn rows(row: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(entry_a(row, k), entry_a(row + 1u, k), entry_a(row + 2u, k), entry_a(row + 3u, k));
}

fn columns(column: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(
        entry_b(column, k), entry_b(column + 1u, k), entry_b(column + 2u, k), entry_b(column + 3u, k));
}

fn fetch_a(row: u32, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(rows(row, k), rows(row, k + 1u), rows(row, k + 2u), rows(row, k + 3u));
}

fn fetch_b(column: u32, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(columns(column, k), columns(column, k + 1u), columns(column, k + 2u), columns(column, k + 3u));
}

fn put(row: u32, v: vec4<f32>) {
    let to = first_row + row;
    for (var j = 0u; j < 4u; j++) {
        let column = first_put + j * (BN / 4u);
        if to < p.points && column < p.lines * p.planes {
            let plane = image * p.planes + column / p.lines;
            y[(plane * p.points + to) * p.lines + column % p.lines] = ${Y}(v[j]);
        }
    }
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) tid: u32,
) {
    let block = workgroup_number(id, count, p.base);
    if block >= p.end {
        return;
    }
    first_row = block % p.row_blocks * BM;
    first_column = block / p.row_blocks % p.column_blocks * BN;
    first_put = first_column + put_column(tid, 0u);
    image = block / p.row_blocks / p.column_blocks;
    var sums: Sums;
    add_product(tid, p.points, &sums);
    if TWO {
        second = true;
        add_product(tid, p.points, &sums);
    }
    put_all(tid, &sums);
}
