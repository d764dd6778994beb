// The hardware's matrices.

alias Left = coop_mat${MATRIX}x${MATRIX}<${TILE}, A>;
alias Right = coop_mat${MATRIX}x${MATRIX}<${TILE}, B>;
alias Result = coop_mat${MATRIX}x${MATRIX}<f32, C>;

// The hardware knows.
fn set_lane(tid: u32) {}

// The matrix of the left operand at `at`, whose depths are `stride` apart.
fn left(at: u32, stride: u32) -> Left {
    return coopLoad<Left>(&tile_a[at], stride);
}

fn right(at: u32, stride: u32) -> Right {
    return coopLoadT<Right>(&tile_b[at], stride);
}

fn multiply_add(a: Left, b: Right, c: Result) -> Result {
    return coopMultiplyAdd(a, b, c);
}

// Stores a matrix of sums in the strip.
fn keep(c: Result, at: u32, stride: u32) {
    coopStoreT(c, &staged[at], stride);
}
