// The mask of the elements strictly between two bounds: each invocation makes
// one word, of positions that follow each other in one line.

#include "shared/grid.wgsl"
#variant X = f32 | f16

struct Params {
    base: u32,
    end: u32,
    images: u32,
    lines: u32,
    positions: u32,
    line_words: u32,
    low: f32,
    high: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<${X}>;
@group(0) @binding(2) var<storage, read_write> mask: array<u32>;

override INVOCATIONS: u32 = 256u;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) tid: u32,
) {
    let group = workgroup_number(id, count, p.base);
    let word = group * INVOCATIONS + tid;
    if group >= p.end || word >= p.lines * p.line_words {
        return;
    }
    let line = word / p.line_words;
    let first = word % p.line_words * 32u;
    var bits = 0u;
    for (var i = 0u; i < 32u; i++) {
        let bit = first + i;
        if bit < p.images * p.positions {
            let image = bit / p.positions;
            let v = f32(x[(image * p.lines + line) * p.positions + bit % p.positions]);
            bits |= select(0u, 1u, p.low < v && v < p.high) << i;
        }
    }
    mask[word] = bits;
}
