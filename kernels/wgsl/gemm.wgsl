// The product of rows with a constant matrix: a fully connected layer.
// Weights: [block of columns][depth][BN], zeros behind columns and depth.

#variant X = f32 | f16
#variant Y = f32 | f16
#variant ADDED = f32 | f16
// Weights that a launch packs lie in the arena.
#variant WEIGHTS = read | read_write
// How rows are read.
#variant ROWS = scalars | vectors
// What multiplies: invocations, or units for small matrices.
#variant MULTIPLY = registers | matrices
#include "shared/multiply_${MULTIPLY}.wgsl"

struct Params {
    base: u32,
    end: u32,
    rows: u32,
    row_blocks: u32,
    columns: u32,
    // The columns before this launch's first.
    first_column: u32,
    // The length of a row, and that of a column with its zeros.
    length: u32,
    depth: u32,
    line_words: u32,
    clip_low: f32,
    clip_high: f32,
    mask_low: f32,
    mask_high: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, ${WEIGHTS}> weights: array<vec4<${TILE}>>;
@group(0) @binding(2) var<storage, read_write> bias: array<f32>;
#include "shared/rows_${ROWS}.wgsl"
@group(0) @binding(4) var<storage, read_write> added: array<${ADDED}>;
@group(0) @binding(5) var<storage, read_write> mask: array<u32>;
@group(0) @binding(6) var<storage, read_write> y: array<${Y}>;

override BIAS: bool = false;

#include "shared/epilogue.wgsl"

const A_BY_DEPTH: bool = true;
const B_BY_DEPTH: bool = false;

var<private> first_row: u32;
var<private> block_weights: u32;
// The block's first column, and the first of those that this invocation puts.
var<private> first_column: u32;
var<private> first_put: u32;

fn fetch_a(row: u32, k: u32) -> mat4x4<f32> {
    let at = first_row + row;
    return transpose(mat4x4<f32>(entries(at, k), entries(at + 1u, k), entries(at + 2u, k), entries(at + 3u, k)));
}

fn fetch_b(column: u32, k: u32) -> mat4x4<f32> {
    let at = block_weights + k * (BN / 4u) + column / 4u;
    return mat4x4<f32>(
        vec4<f32>(weights[at]),
        vec4<f32>(weights[at + BN / 4u]),
        vec4<f32>(weights[at + 2u * (BN / 4u)]),
        vec4<f32>(weights[at + 3u * (BN / 4u)]),
    );
}

fn put(row: u32, sum: vec4<f32>) {
    let line = first_row + row;
    if line >= p.rows {
        return;
    }
    for (var j = 0u; j < 4u; j++) {
        let column = first_column + first_put + j * (BN / 4u);
        if column < p.columns {
            var v = sum[j];
            if BIAS {
                v += bias[column];
            }
            let at = line * p.columns + column;
            let out = finish(v, at, line, column);
            y[at] = ${Y}(out);
            note_mask(row, first_put + j * (BN / 4u), out);
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
    let column_block = block / p.row_blocks;
    block_weights = column_block * p.depth * (BN / 4u);
    first_column = p.first_column + column_block * BN;
    first_put = put_column(tid, 0u);
    clear_mask(tid);
    product(tid, p.depth);
    store_mask(tid, first_row, p.rows - first_row, first_column);
}
