// Sums and largest elements over lanes: LANES invocations that share a line,
// STEP invocations apart. In each turn a lane takes the value of the one whose
// number differs in one bit, so that all end with the same result. Its order
// follows from LANES alone, which the host derives from the operator's shape:
// neither the workgroup's nor the subgroup's size changes a bit.
//
// Lanes nearer than WIDTH, the fewest invocations that an adapter's subgroup
// has, exchange by a shuffle, others through workgroup memory. Subgroups of a
// one-dimensional workgroup are runs of neighbours.

#include "shared/grid.wgsl"
#variant NEAR = far | subgroupShuffleXor

// Powers of two, the product of LANES and STEP at most INVOCATIONS.
override INVOCATIONS: u32 = 256u;
override LANES: u32 = 1u;
override STEP: u32 = 1u;
override WIDTH: u32 = 1u;

// Two halves of INVOCATIONS, used in turn: what one turn reads the next does not
// overwrite. (naga 30 panics on lengths that are computed from overrides.)
var<workgroup> passed: array<f32, 512>;
var<private> turn: u32;
// The kernel sets it to the invocation's number.
var<private> invocation: u32;

// The lane of an invocation, and which of the workgroup's lines it has.
fn own_lane() -> u32 {
    return invocation / STEP % LANES;
}

fn own_line() -> u32 {
    return invocation / (STEP * LANES) * STEP + invocation % STEP;
}

// Lines of a workgroup.
fn lines() -> u32 {
    return INVOCATIONS / LANES;
}

// The value of the invocation whose number differs in `bit`.
fn far(v: f32, bit: u32) -> f32 {
    passed[turn + invocation] = v;
    workgroupBarrier();
    let other = passed[turn + (invocation ^ bit)];
    turn = INVOCATIONS - turn;
    return other;
}

fn sum_of_lanes(v: f32) -> f32 {
    var sum = v;
    for (var bit = STEP; bit < LANES * STEP; bit *= 2u) {
        if bit < WIDTH {
            sum += ${NEAR}(sum, bit);
        } else {
            sum += far(sum, bit);
        }
    }
    return sum;
}

// The larger; what is no number where one is none.
fn larger(a: f32, b: f32) -> f32 {
    // By bits: compilers may take numbers for granted.
    let not_a_number = (bitcast<u32>(a) & 0x7fffffffu) > 0x7f800000u;
    return select(b, a, a >= b || not_a_number);
}

fn largest_of_lanes(v: f32) -> f32 {
    var largest = v;
    for (var bit = STEP; bit < LANES * STEP; bit *= 2u) {
        if bit < WIDTH {
            largest = larger(largest, ${NEAR}(largest, bit));
        } else {
            largest = larger(largest, far(largest, bit));
        }
    }
    return largest;
}
