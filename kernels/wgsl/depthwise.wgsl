// Convolution of each channel with a window of its own, in either direction:
// an invocation computes four outputs that follow each other. Where they lie in
// one row of the picture, a row of inputs is read once for all four.
//
// An output pixel q of a phase reads the input at q * step + tap, taps being
// evenly spaced, and is stored at q * out_step + out_offset (as in conv.wgsl).
// A workgroup has BM channels and BN columns of all images' pixels.

#variant X = f32 | f16
#variant Y = f32 | f16
#variant ADDED = f32 | f16
// Whether four outputs lie in one row, and taps are neighbours in it.
#variant ROW = true | false
#parameter BM = 1
#parameter BN = 1024
#parameter TAPS_X = 3
#parameter STEP_X = 1
#include "shared/grid.wgsl"

const BM: u32 = ${BM}u;
const BN: u32 = ${BN}u;
const INVOCATIONS: u32 = BM * BN / 4u;
const TAPS_X: u32 = ${TAPS_X}u;
const STEP_X: u32 = ${STEP_X}u;

struct Params {
    base: u32,
    end: u32,
    channels: u32,
    channel_blocks: u32,
    // Output channels of an input channel.
    multiplier: u32,
    columns: u32,
    positions: u32,
    width: u32,
    in_channels: u32,
    in_height: u32,
    in_width: u32,
    step_y: u32,
    taps_y: u32,
    // The first tap's place and the distance of two.
    tap_y: i32,
    tap_step_y: i32,
    tap_x: i32,
    tap_step_x: i32,
    // The weights of a channel, the first tap's, and the distances of two.
    window: u32,
    weight: i32,
    weight_y: i32,
    weight_x: i32,
    out_pixels: u32,
    out_width: u32,
    out_step_y: u32,
    out_step_x: u32,
    out_offset: u32,
    line_words: u32,
    clip_low: f32,
    clip_high: f32,
    mask_low: f32,
    mask_high: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> factor: array<f32>;
@group(0) @binding(4) var<storage, read_write> x: array<${X}>;
@group(0) @binding(5) var<storage, read_write> added: array<${ADDED}>;
@group(0) @binding(6) var<storage, read_write> mask: array<u32>;
@group(0) @binding(7) var<storage, read_write> y: array<${Y}>;

override BIAS: bool = false;
override FACTOR: bool = false;

#include "shared/epilogue.wgsl"

// The input at a row and a column of the plane that begins at `plane`.
fn pixel(plane: u32, row: i32, column: i32) -> f32 {
    if u32(row) >= p.in_height || u32(column) >= p.in_width {
        return 0.0;
    }
    return f32(x[plane + u32(row) * p.in_width + u32(column)]);
}

// The inputs of a row that four neighbouring outputs read.
const SPAN: u32 = 3u * STEP_X + TAPS_X;

fn row_of_four(plane: u32, row: i32, column: i32, weight: i32) -> vec4<f32> {
    var inputs: array<f32, SPAN>;
    for (var i = 0u; i < SPAN; i++) {
        inputs[i] = pixel(plane, row, column + i32(i));
    }
    var sum = vec4<f32>();
    for (var t = 0u; t < TAPS_X; t++) {
        let w = weights[u32(weight + i32(t) * p.weight_x)];
        sum += w * vec4<f32>(inputs[t], inputs[t + STEP_X], inputs[t + 2u * STEP_X], inputs[t + 3u * STEP_X]);
    }
    return sum;
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
    let first_channel = block % p.channel_blocks * BM;
    let first_column = block / p.channel_blocks * BN;
    clear_mask(tid);
    let line = tid / (BN / 4u);
    let channel = first_channel + line;
    let in_block = tid % (BN / 4u) * 4u;
    let first = first_column + in_block;
    if channel < p.channels && first < p.columns {
        var image: vec4<u32>;
        var row: vec4<u32>;
        var column: vec4<u32>;
        for (var j = 0u; j < 4u; j++) {
            image[j] = (first + j) / p.positions;
            let position = (first + j) % p.positions;
            row[j] = position / p.width;
            column[j] = position % p.width;
        }
        let planes = (image * p.in_channels + channel / p.multiplier) * p.in_height * p.in_width;
        let own = i32(channel * p.window) + p.weight;
        var sum = vec4<f32>();
        for (var t = 0u; t < p.taps_y; t++) {
            let weight = own + i32(t) * p.weight_y;
            let dy = p.tap_y + i32(t) * p.tap_step_y;
            if ${ROW} {
                let in_row = i32(row.x * p.step_y) + dy;
                sum += row_of_four(planes.x, in_row, i32(column.x * STEP_X) + p.tap_x, weight);
            } else {
                for (var u = 0u; u < TAPS_X; u++) {
                    let w = weights[u32(weight + i32(u) * p.weight_x)];
                    let dx = p.tap_x + i32(u) * p.tap_step_x;
                    for (var j = 0u; j < 4u; j++) {
                        if first + j < p.columns {
                            let in_column = i32(column[j] * STEP_X) + dx;
                            sum[j] += w * pixel(planes[j], i32(row[j] * p.step_y) + dy, in_column);
                        }
                    }
                }
            }
        }
        if FACTOR {
            sum *= factor[channel];
        }
        if BIAS {
            sum += bias[channel];
        }
        for (var j = 0u; j < 4u; j++) {
            if first + j < p.columns {
                let pixel = p.out_offset + row[j] * p.out_step_y * p.out_width + column[j] * p.out_step_x;
                let at = (image[j] * p.channels + channel) * p.out_pixels + pixel;
                let out = finish(sum[j], at, channel, image[j] * p.out_pixels + pixel);
                y[at] = ${Y}(out);
                note_mask(line, in_block + j, out);
            }
        }
    }
    store_mask(tid, first_channel, p.channels - min(p.channels, first_channel), first_column);
}
