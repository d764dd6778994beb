// A product whose sums are made in parts: the rounding error of one long sum
// grows with its length. The parts follow from the depth alone.
//
// The kernel's fetches are given depths within a part: they add `part_start`,
// and return zeros at `part_end` and behind it.

#include "shared/tile.wgsl"

const PART: u32 = 32u;

var<private> part_start: u32;
var<private> part_end: u32;

fn add_product(tid: u32, depth: u32, sums: ptr<function, Sums>) {
    for (part_start = 0u; part_start < depth; part_start += PART) {
        part_end = min(part_start + PART, depth);
        let part = multiply(tid, part_end - part_start);
        for (var i = 0u; i < TM * GROUPS_N; i++) {
            (*sums)[i] += part[i];
        }
    }
}
