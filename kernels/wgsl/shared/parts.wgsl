// A product whose sums are made in parts: the rounding error of one long sum
// grows with its length. The greatest depths come first, so that modes are added
// up from the small ones to the large. Where a part begins does not depend on the
// depth of the block.
//
// Fetches are given a place in a part: `depth_at` has its depth, which is
// `NONE` where there is none.

#include "shared/multiply_registers.wgsl"

const PART: u32 = 16u;
const NONE: u32 = 0xffffffffu;

var<private> part_start: u32;

fn depth_at(k: u32) -> u32 {
    return select(NONE, part_start + PART - 1u - k, k < PART);
}

fn add_product(tid: u32, depth: u32, sums: ptr<function, Sums>) {
    for (var parts = (depth + PART - 1u) / PART; parts > 0u; parts--) {
        part_start = (parts - 1u) * PART;
        let part = multiply(tid, PART);
        for (var i = 0u; i < TM * GROUPS_N; i++) {
            (*sums)[i] += part[i];
        }
    }
}
