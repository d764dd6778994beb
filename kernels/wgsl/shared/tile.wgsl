// A matrix product by blocks: a workgroup computes BM x BN outputs, BK
// products at a time. Both operands' parts lie in workgroup memory, depth by
// depth, so that an invocation reads its rows and columns as vectors; it keeps
// TM x TN sums in registers, or its subgroup some matrices. Each output is one sum in the order of the depth,
// whatever the block.
//
// The sums go through workgroup memory once more, a row of each invocation at a
// time: so neighbours store neighbours, and what is done to an output before it
// is stored stands once in the compiled code and not once for each register.
//
// The kernel declares
//   const A_BY_DEPTH, B_BY_DEPTH: bool   whether neighbours in memory differ in depth
//   fn fetch_a(row: u32, k: u32) -> mat4x4<f32>       column c: four rows from `row` of
//   fn fetch_b(column: u32, k: u32) -> mat4x4<f32>    the block on, at depth k + c
//   fn put(row: u32, v: vec4<f32>)                    stores four outputs of a row
// and includes multiply_registers.wgsl or multiply_matrices.wgsl, whose
// product(tid, depth) it calls.
// Fetches return zeros where there is nothing. An invocation always fetches the
// same columns, and always puts `put_column(tid, 0)` to `put_column(tid, 3)`.

#include "shared/grid.wgsl"
#parameter BM = 64
#parameter BN = 64
#parameter BK = 16
#parameter TM = 8
#parameter TN = 8
#variant TILE = f32 | f16

const BM: u32 = ${BM}u;
const BN: u32 = ${BN}u;
const BK: u32 = ${BK}u;
const TM: u32 = ${TM}u;
const TN: u32 = ${TN}u;
const GROUPS_M: u32 = TM / 4u;
const GROUPS_N: u32 = TN / 4u;
// Invocations across a block, and in all.
const ACROSS: u32 = BN / TN;
const INVOCATIONS: u32 = (BM / TM) * ACROSS;

// The columns that an invocation puts: neighbours put neighbours.
fn put_column(tid: u32, j: u32) -> u32 {
    return tid % (BN / 4u) + j * (BN / 4u);
}

// The first of the columns that an invocation fetches.
fn fetched_column(tid: u32) -> u32 {
    return select(tid % (BN / 4u), tid / (BK / 4u), B_BY_DEPTH) * 4u;
}

// Brings both operands from depth `k0` on into workgroup memory.
fn fetch(tid: u32, k0: u32) {
    for (var i = tid; i < BM / 4u * (BK / 4u); i += INVOCATIONS) {
        let row = select(i % (BM / 4u), i / (BK / 4u), A_BY_DEPTH);
        let k = select(i / (BM / 4u), i % (BK / 4u), A_BY_DEPTH) * 4u;
        let part = fetch_a(row * 4u, k0 + k);
        store_a(k * (BM / 4u) + row, part[0]);
        store_a((k + 1u) * (BM / 4u) + row, part[1]);
        store_a((k + 2u) * (BM / 4u) + row, part[2]);
        store_a((k + 3u) * (BM / 4u) + row, part[3]);
    }
    for (var i = tid; i < BN / 4u * (BK / 4u); i += INVOCATIONS) {
        let column = select(i % (BN / 4u), i / (BK / 4u), B_BY_DEPTH);
        let k = select(i / (BN / 4u), i % (BK / 4u), B_BY_DEPTH) * 4u;
        let part = fetch_b(column * 4u, k0 + k);
        store_b(k * (BN / 4u) + column, part[0]);
        store_b((k + 1u) * (BN / 4u) + column, part[1]);
        store_b((k + 2u) * (BN / 4u) + column, part[2]);
        store_b((k + 3u) * (BN / 4u) + column, part[3]);
    }
}
