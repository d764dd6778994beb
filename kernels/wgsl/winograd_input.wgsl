// The input tiles of a convolution by Winograd's F(4 x 4, 3 x 3), evaluated at
// the points 0, 3/4, -3/4, 3/2, -3/2 and infinity of either axis (A. Lavin and
// S. Gray, 2015; these points have half the rounding error of 1 and 2). Each
// invocation treats one tile of one channel: [point][channel][tile].

#include "shared/grid.wgsl"
#variant X = f32 | f16

struct Params {
    base: u32,
    end: u32,
    channels: u32,
    tiles: u32,
    // Tiles of a row, and of an image; the first image.
    across: u32,
    per_image: u32,
    first_image: u32,
    height: u32,
    width: u32,
    // The first tap's place.
    tap_y: i32,
    tap_x: i32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<${X}>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

override INVOCATIONS: u32 = 64u;

alias Line = array<f32, 6>;

fn evaluate(x: Line) -> Line {
    // x(x ± P)(x² - Q²) and x(x ± Q)(x² - P²), even and odd parts apart.
    let even_p = x[4] - 2.25 * x[2];
    let even_q = x[4] - 0.5625 * x[2];
    let odd_p = 0.75 * (x[3] - 2.25 * x[1]);
    let odd_q = 1.5 * (x[3] - 0.5625 * x[1]);
    return Line(
        1.265625 * x[0] + (x[4] - 2.8125 * x[2]),
        even_p + odd_p,
        even_p - odd_p,
        even_q + odd_q,
        even_q - odd_q,
        1.265625 * x[1] + (x[5] - 2.8125 * x[3]),
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
    let row = i32(in_image / p.across * 4u) + p.tap_y;
    let column = i32(in_image % p.across * 4u) + p.tap_x;
    let plane = (image * p.channels + channel) * p.height * p.width;
    var rows: array<Line, 6>;
    for (var i = 0; i < 6; i++) {
        var line: Line;
        for (var j = 0; j < 6; j++) {
            if u32(row + i) < p.height && u32(column + j) < p.width {
                line[j] = f32(x[plane + u32(row + i) * p.width + u32(column + j)]);
            }
        }
        rows[i] = evaluate(line);
    }
    for (var j = 0u; j < 6u; j++) {
        let down = evaluate(Line(rows[0][j], rows[1][j], rows[2][j], rows[3][j], rows[4][j], rows[5][j]));
        for (var i = 0u; i < 6u; i++) {
            y[(i * 6u + j) * p.channels * p.tiles + at] = down[i];
        }
    }
}
