// Convolution as a product (implicit GEMM): rows are output channels, columns
// output pixels of all images, the depth runs over input channels and taps of
// the window. A table gives each depth its distance in the input, so that
// nothing is divided in the loop.
//
// An output pixel q of a phase reads the input at q * step + tap and is stored
// at q * out_step + out_offset. That serves both directions: a convolution has
// one phase; its input gradient (a transposed convolution) has one for each
// position between strides, whose taps are a part of the window.
//
// Weights: [group][block of rows][depth][BM], zeros behind rows and depth.

#variant X = f32 | f16
#variant Y = f32 | f16
#variant ADDED = f32 | f16
// Weights that a launch packs lie in the arena.
#variant WEIGHTS = read | read_write
// How the input is read.
#variant FETCH = pixels | vectors
// What multiplies: invocations, or units for small matrices.
#variant MULTIPLY = registers | matrices
#include "shared/multiply_${MULTIPLY}.wgsl"

struct Params {
    base: u32,
    end: u32,
    // Output channels of a group, blocks of them, and blocks of columns.
    rows: u32,
    row_blocks: u32,
    column_blocks: u32,
    // Columns in all, and of an image, and of a row of an image.
    columns: u32,
    positions: u32,
    width: u32,
    depth: u32,
    // The input: channels in all and of a group, extents.
    in_channels: u32,
    group_channels: u32,
    in_height: u32,
    in_width: u32,
    step_y: u32,
    step_x: u32,
    // The output: channels in all, pixels, width.
    out_channels: u32,
    out_pixels: u32,
    out_width: u32,
    out_step_y: u32,
    out_step_x: u32,
    out_offset: u32,
    // Blocks of rows before this launch's first.
    first_block: u32,
    line_words: u32,
    clip_low: f32,
    clip_high: f32,
    mask_low: f32,
    mask_high: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, ${WEIGHTS}> weights: array<vec4<${TILE}>>;
// For each depth: its distance in the input, and that of rows and of columns.
@group(0) @binding(2) var<storage, read> taps: array<vec4<i32>>;
@group(0) @binding(3) var<storage, read_write> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> factor: array<f32>;
#include "shared/fetch_${FETCH}.wgsl"
@group(0) @binding(6) var<storage, read_write> added: array<${ADDED}>;
@group(0) @binding(7) var<storage, read_write> mask: array<u32>;
@group(0) @binding(8) var<storage, read_write> y: array<${Y}>;

override BIAS: bool = false;
override FACTOR: bool = false;

#include "shared/epilogue.wgsl"

const A_BY_DEPTH: bool = false;
const B_BY_DEPTH: bool = false;

// The block's first output channel within its group, the group's first, and
// where the block's weights begin.
var<private> first_row: u32;
var<private> first_channel: u32;
var<private> block_weights: u32;
// Where the four columns that this invocation fetches lie in the input.
var<private> column_at: vec4<i32>;
var<private> column_y: vec4<i32>;
var<private> column_x: vec4<i32>;

// The columns that this invocation puts: the first, where they lie in the
// output's first channel, and their bits.
var<private> put_first: u32;
var<private> put_at: vec4<u32>;
var<private> put_bit: vec4<u32>;
var<private> put_valid: vec4<bool>;

// Far outside of every image, but not so far that a tap overflows.
const OUTSIDE: i32 = -0x40000000;

fn fetch_a(row: u32, k: u32) -> mat4x4<f32> {
    let at = block_weights + k * (BM / 4u) + row / 4u;
    return mat4x4<f32>(
        vec4<f32>(weights[at]),
        vec4<f32>(weights[at + BM / 4u]),
        vec4<f32>(weights[at + 2u * (BM / 4u)]),
        vec4<f32>(weights[at + 3u * (BM / 4u)]),
    );
}

fn put(row: u32, sum: vec4<f32>) {
    if first_row + row >= p.rows {
        return;
    }
    let channel = first_channel + first_row + row;
    var v = sum;
    if FACTOR {
        v *= factor[channel];
    }
    if BIAS {
        v += bias[channel];
    }
    for (var j = 0u; j < 4u; j++) {
        if put_valid[j] {
            let at = channel * p.out_pixels + put_at[j];
            let out = finish(v[j], at, channel, put_bit[j]);
            y[at] = ${Y}(out);
            note_mask(row, put_first + j * (BN / 4u), out);
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
    // Blocks of the same pixels are neighbours, so that they share them in the cache.
    let row_block = block % p.row_blocks;
    let column_block = block / p.row_blocks % p.column_blocks;
    let group = block / p.row_blocks / p.column_blocks;
    first_row = (p.first_block + row_block) * BM;
    first_channel = group * p.rows;
    block_weights = (group * p.row_blocks + row_block) * p.depth * (BM / 4u);
    let fetched = column_block * BN + fetched_column(tid);
    for (var j = 0u; j < 4u; j++) {
        let column = fetched + j;
        let image = column / p.positions;
        let position = column % p.positions;
        let in_y = i32(position / p.width * p.step_y);
        let in_x = i32(position % p.width * p.step_x);
        let plane = (image * p.in_channels + group * p.group_channels) * p.in_height;
        column_at[j] = i32(plane * p.in_width) + in_y * i32(p.in_width) + in_x;
        column_y[j] = select(OUTSIDE, in_y, column < p.columns);
        column_x[j] = in_x;
    }
    put_first = put_column(tid, 0u);
    for (var j = 0u; j < 4u; j++) {
        let column = column_block * BN + put_column(tid, j);
        let image = column / p.positions;
        let position = column % p.positions;
        let pixel = p.out_offset + position / p.width * p.out_step_y * p.out_width
            + position % p.width * p.out_step_x;
        put_at[j] = image * p.out_channels * p.out_pixels + pixel;
        put_bit[j] = image * p.out_pixels + pixel;
        put_valid[j] = column < p.columns;
    }
    clear_mask(tid);
    product(tid, p.depth);
    store_mask(tid, first_channel + first_row, p.rows - first_row, column_block * BN);
}
