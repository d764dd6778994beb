// The same matrices where there are no units for them, to test what uses them.
// A matrix of sums is spread over the subgroup; an operand is where it lies.

alias Left = vec2<u32>;
alias Right = vec2<u32>;
alias Result = array<f32, ${MATRIX} * ${MATRIX} / 32>;

const EACH: u32 = SIZE * SIZE / 32u;

// This invocation's place in its subgroup.
var<private> lane: u32;

fn set_lane(tid: u32) {
    lane = tid % 32u;
}

// The matrix of the left operand at `at`, whose depths are `stride` apart.
fn left(at: u32, stride: u32) -> Left {
    return vec2<u32>(at, stride);
}

fn right(at: u32, stride: u32) -> Right {
    return vec2<u32>(at, stride);
}

fn multiply_add(a: Left, b: Right, c_: Result) -> Result {
    var c = c_;
    for (var i = 0u; i < EACH; i++) {
        let row = (lane * EACH + i) / SIZE;
        let column = (lane * EACH + i) % SIZE;
        for (var k = 0u; k < SIZE; k++) {
            c[i] += f32(tile_a[a.x + k * a.y + row]) * f32(tile_b[b.x + k * b.y + column]);
        }
    }
    return c;
}

// Stores a matrix of sums in the strip.
fn keep(c_: Result, at: u32, stride: u32) {
    var c = c_;
    for (var i = 0u; i < EACH; i++) {
        let element = lane * EACH + i;
        staged[at + element / SIZE * stride + element % SIZE] = c[i];
    }
}
