// The product of matrices that are both computed; stacks of them are broadcast.
// An entry's place is given by distances, so that either may be transposed.

#variant A_BY_DEPTH = true | false
#variant B_BY_DEPTH = false | true
// What multiplies: invocations, or units for small matrices.
#variant MULTIPLY = registers | matrices
#include "shared/multiply_${MULTIPLY}.wgsl"

struct Params {
    base: u32,
    end: u32,
    rows: u32,
    columns: u32,
    row_blocks: u32,
    column_blocks: u32,
    depth: u32,
    // Distances of rows, columns and depths.
    a_row: u32,
    a_depth: u32,
    b_column: u32,
    b_depth: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
// Where the matrices of a product begin in a and in b.
@group(0) @binding(1) var<storage, read> starts: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> a: array<f32>;
@group(0) @binding(3) var<storage, read_write> b: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

const A_BY_DEPTH: bool = ${A_BY_DEPTH};
const B_BY_DEPTH: bool = ${B_BY_DEPTH};

var<private> start: vec2<u32>;
var<private> first_row: u32;
var<private> first_column: u32;
// The product, and the first of the columns that this invocation puts.
var<private> product_at: u32;
var<private> first_put: u32;

fn entry_a(row: u32, k: u32) -> f32 {
    if row < p.rows && k < p.depth {
        return a[start.x + row * p.a_row + k * p.a_depth];
    }
    return 0.0;
}

fn entry_b(column: u32, k: u32) -> f32 {
    if column < p.columns && k < p.depth {
        return b[start.y + column * p.b_column + k * p.b_depth];
    }
    return 0.0;
}

fn rows_a(row: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(entry_a(row, k), entry_a(row + 1u, k), entry_a(row + 2u, k), entry_a(row + 3u, k));
}

fn columns_b(column: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(
        entry_b(column, k), entry_b(column + 1u, k), entry_b(column + 2u, k), entry_b(column + 3u, k));
}

fn fetch_a(row: u32, k: u32) -> mat4x4<f32> {
    let at = first_row + row;
    return mat4x4<f32>(rows_a(at, k), rows_a(at, k + 1u), rows_a(at, k + 2u), rows_a(at, k + 3u));
}

fn fetch_b(column: u32, k: u32) -> mat4x4<f32> {
    let at = first_column + column;
    return mat4x4<f32>(columns_b(at, k), columns_b(at, k + 1u), columns_b(at, k + 2u), columns_b(at, k + 3u));
}

fn put(row: u32, sum: vec4<f32>) {
    let line = first_row + row;
    for (var j = 0u; j < 4u; j++) {
        let column = first_put + j * (BN / 4u);
        if line < p.rows && column < p.columns {
            y[(product_at * p.rows + line) * p.columns + column] = sum[j];
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
    product_at = block / p.row_blocks / p.column_blocks;
    first_put = first_column + put_column(tid, 0u);
    start = starts[product_at];
    product(tid, p.depth);
}
