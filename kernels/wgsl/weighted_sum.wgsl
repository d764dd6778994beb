// Weighted sums of a stack, added to others in the order of the stack: an
// invocation makes one element, so that a sum does not depend on how its terms
// come in batches. A term of weight zero is left out, as it may be no number.

#include "shared/grid.wgsl"

struct Params {
    base: u32,
    end: u32,
    elements: u32,
    // Elements of a sum, and terms.
    size: u32,
    terms: u32,
    // The distance of two terms in b.
    b_step: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> a: array<f32>;
@group(0) @binding(4) var<storage, read_write> b: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

override INVOCATIONS: u32 = 256u;
override PRODUCT: bool = false;

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
    let row = at / p.size;
    let element = at % p.size;
    var sum = sums[at];
    for (var n = 0u; n < p.terms; n++) {
        let weight = weights[row * p.terms + n];
        if weight != 0.0 {
            var term = weight * a[n * p.size + element];
            if PRODUCT {
                term *= b[n * p.b_step + element];
            }
            sum += term;
        }
    }
    y[at] = sum;
}
