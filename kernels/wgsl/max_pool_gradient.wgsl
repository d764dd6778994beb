// Each pixel gathers what the windows that reach it hand back: those whose
// byte names the pixel's tap. So nothing is added by two invocations.

#include "shared/grid.wgsl"
#variant G = f32 | f16
#variant Y = f32 | f16

struct Params {
    base: u32,
    end: u32,
    // Pixels of the result; extents of the planes of windows.
    elements: u32,
    out_height: u32,
    out_width: u32,
    height: u32,
    width: u32,
    kernel_y: u32,
    kernel_x: u32,
    stride_y: u32,
    stride_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    pad_y: u32,
    pad_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> g: array<${G}>;
@group(0) @binding(2) var<storage, read_write> bytes: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<${Y}>;

override INVOCATIONS: u32 = 256u;

// The windows whose first and last tap enclose a place of the padded image:
// the first, and the one behind the last.
fn windows(place: u32, stride: u32, span: u32, count: u32) -> vec2<u32> {
    let first = (max(place, span) - span + stride - 1u) / stride;
    return vec2<u32>(first, min(place / stride + 1u, count));
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
    let plane = at / p.width / p.height * p.out_height;
    let place_y = at / p.width % p.height + p.pad_y;
    let place_x = at % p.width + p.pad_x;
    let rows = windows(place_y, p.stride_y, (p.kernel_y - 1u) * p.dilation_y, p.out_height);
    let columns = windows(place_x, p.stride_x, (p.kernel_x - 1u) * p.dilation_x, p.out_width);
    var sum = 0.0;
    for (var row = rows.x; row < rows.y; row++) {
        let down = place_y - row * p.stride_y;
        if down % p.dilation_y == 0u {
            for (var column = columns.x; column < columns.y; column++) {
                let across = place_x - column * p.stride_x;
                let tap = down / p.dilation_y * p.kernel_x + across / p.dilation_x;
                let window = (plane + row) * p.out_width + column;
                let byte = bytes[window / 4u] >> (8u * (window % 4u)) & 255u;
                if across % p.dilation_x == 0u && byte == tap {
                    sum += f32(g[window]);
                }
            }
        }
    }
    y[at] = ${Y}(sum);
}
