// The output tiles of a convolution by Winograd's F(4 x 4, 3 x 3), interpolated
// from the products at the points of winograd_input.wgsl, [point][channel][tile].

#include "shared/grid.wgsl"
#variant Y = f32 | f16
#variant ADDED = f32 | f16

struct Params {
    base: u32,
    end: u32,
    channels: u32,
    tiles: u32,
    across: u32,
    per_image: u32,
    first_image: u32,
    height: u32,
    width: u32,
    line_words: u32,
    clip_low: f32,
    clip_high: f32,
    mask_low: f32,
    mask_high: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> factor: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> added: array<${ADDED}>;
@group(0) @binding(5) var<storage, read_write> mask: array<u32>;
@group(0) @binding(6) var<storage, read_write> y: array<${Y}>;

override INVOCATIONS: u32 = 64u;
override BIAS: bool = false;
override FACTOR: bool = false;

#include "shared/finish.wgsl"

fn interpolate(y: array<f32, 6>) -> vec4<f32> {
    let sum_p = y[1] + y[2];
    let odd_p = y[1] - y[2];
    let sum_q = y[3] + y[4];
    let odd_q = y[3] - y[4];
    return vec4<f32>(
        y[0] + (sum_p + sum_q),
        0.75 * odd_p + 1.5 * odd_q,
        0.5625 * sum_p + 2.25 * sum_q,
        y[5] + (0.421875 * odd_p + 3.375 * odd_q),
    );
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) tid: u32,
) {
    let group = workgroup_number(id, count, p.base);
    let at = group * INVOCATIONS + tid;
    if group >= p.end || at >= p.channels * p.tiles {
        return;
    }
    let channel = at / p.tiles;
    let tile = at % p.tiles;
    let image = p.first_image + tile / p.per_image;
    let in_image = tile % p.per_image;
    let row = in_image / p.across * 4u;
    let column = in_image % p.across * 4u;
    let point = p.channels * p.tiles;
    var columns: array<vec4<f32>, 6>;
    for (var j = 0u; j < 6u; j++) {
        var line: array<f32, 6>;
        for (var i = 0u; i < 6u; i++) {
            line[i] = x[(i * 6u + j) * point + at];
        }
        columns[j] = interpolate(line);
    }
    let plane = (image * p.channels + channel) * p.height * p.width;
    for (var i = 0u; i < 4u; i++) {
        var v = interpolate(array<f32, 6>(
            columns[0][i], columns[1][i], columns[2][i], columns[3][i], columns[4][i], columns[5][i]));
        if FACTOR {
            v *= factor[channel];
        }
        if BIAS {
            v += bias[channel];
        }
        for (var j = 0u; j < 4u; j++) {
            if row + i < p.height && column + j < p.width {
                let pixel = (row + i) * p.width + column + j;
                let bit = image * p.height * p.width + pixel;
                y[plane + pixel] = ${Y}(finish(v[j], plane + pixel, channel, bit));
            }
        }
    }
}
