// Sums, means and largest elements over any axes. Where the innermost axis is
// reduced, neighbouring lanes read neighbours in it; where it is kept,
// neighbouring lines do. Each lane adds up parts of a bounded length, so that
// the rounding error of a long sum stays small.

#include "shared/reduce.wgsl"
#variant X = f32 | f16
#variant Y = f32 | f16

struct Params {
    base: u32,
    end: u32,
    // Elements of the result, and elements of x for each.
    elements: u32,
    length: u32,
    // The axes that are kept, which come first in the table, and all.
    kept_axes: u32,
    all_axes: u32,
    // What nothing adds up to, and the factor of the result.
    nothing: f32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
// Extents and distances, from the innermost axis on.
@group(0) @binding(1) var<storage, read> axes: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> x: array<${X}>;
@group(0) @binding(3) var<storage, read_write> y: array<${Y}>;

override LARGEST: bool = false;

// Elements of a lane that are added to one part.
const PART: u32 = 64u;

// Where the element `index` of the axes from `first` to before `behind` lies.
fn place(first: u32, behind: u32, index: u32) -> u32 {
    var rest = index;
    var at = 0u;
    for (var i = first; i + 1u < behind; i++) {
        at += rest % axes[i].x * axes[i].y;
        rest /= axes[i].x;
    }
    return at + rest * axes[behind - 1u].y;
}

fn both(a: f32, b: f32) -> f32 {
    if LARGEST {
        return larger(a, b);
    }
    return a + b;
}

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
    invocation = tid;
    let element = group * lines() + own_line();
    let length = select(0u, p.length, element < p.elements);
    let start = place(0u, p.kept_axes, element);
    var all = p.nothing;
    for (var first = own_lane(); first < length; first += PART * LANES) {
        var part = p.nothing;
        let behind = min(length, first + PART * LANES);
        for (var i = first; i < behind; i += LANES) {
            part = both(part, f32(x[start + place(p.kept_axes, p.all_axes, i)]));
        }
        all = both(all, part);
    }
    if LARGEST {
        all = largest_of_lanes(all);
    } else {
        all = sum_of_lanes(all) * p.factor;
    }
    if element < p.elements && own_lane() == 0u {
        y[element] = ${Y}(all);
    }
}
