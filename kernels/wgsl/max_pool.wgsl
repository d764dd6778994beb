// The largest element of a window, the first in row-major order, and which of
// the window's taps it is: a byte each. With bytes an invocation has four
// neighbours of the result, for it stores whole words.

#include "shared/grid.wgsl"
#variant X = f32 | f16
#variant Y = f32 | f16

struct Params {
    base: u32,
    end: u32,
    // Elements of the result; extents of its planes.
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
    // Minus infinity.
    lowest: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<${X}>;
@group(0) @binding(2) var<storage, read_write> y: array<${Y}>;
@group(0) @binding(3) var<storage, read_write> bytes: array<u32>;

override INVOCATIONS: u32 = 256u;
override VALUES: bool = true;
override BYTES: bool = false;

// By bits: compilers may take numbers for granted.
fn is_nan(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

// The taps of a window that begins at `begin`, less the padding, that lie in
// the image: the first, and the one behind the last.
fn inside(begin: u32, pad: u32, dilation: u32, kernel: u32, extent: u32) -> vec2<u32> {
    // Taps before `at` lie before `end`.
    let end = extent + pad;
    let first = (max(begin, pad) - begin + dilation - 1u) / dilation;
    let behind = (max(begin, end) - begin + dilation - 1u) / dilation;
    return min(vec2<u32>(first, behind), vec2<u32>(kernel));
}

// Pools a window: stores the largest element, returns its tap.
fn pool(at: u32) -> u32 {
    let plane = at / p.out_width / p.out_height;
    let begin_y = at / p.out_width % p.out_height * p.stride_y;
    let begin_x = at % p.out_width * p.stride_x;
    let taps_y = inside(begin_y, p.pad_y, p.dilation_y, p.kernel_y, p.height);
    let taps_x = inside(begin_x, p.pad_x, p.dilation_x, p.kernel_x, p.width);
    var largest = p.lowest;
    // The first tap inside stands for elements of minus infinity.
    var tap = select(0u, taps_y.x * p.kernel_x + taps_x.x, taps_y.x < taps_y.y && taps_x.x < taps_x.y);
    for (var ky = taps_y.x; ky < taps_y.y; ky++) {
        let row = (plane * p.height + begin_y + ky * p.dilation_y - p.pad_y) * p.width;
        for (var kx = taps_x.x; kx < taps_x.y; kx++) {
            let v = f32(x[row + begin_x + kx * p.dilation_x - p.pad_x]);
            if v > largest || (is_nan(v) && !is_nan(largest)) {
                largest = v;
                tap = ky * p.kernel_x + kx;
            }
        }
    }
    if VALUES {
        y[at] = ${Y}(largest);
    }
    return tap;
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) tid: u32,
) {
    let group = workgroup_number(id, count, p.base);
    let own = group * INVOCATIONS + tid;
    if group >= p.end {
        return;
    }
    if !BYTES {
        if own < p.elements {
            pool(own);
        }
    } else if own * 4u < p.elements {
        var word = 0u;
        for (var i = 0u; i < 4u && own * 4u + i < p.elements; i++) {
            word |= pool(own * 4u + i) << (8u * i);
        }
        bytes[own] = word;
    }
}
