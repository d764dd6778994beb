// A matrix product by blocks: a workgroup computes BM x BN outputs, BK
// products at a time. Both operands' parts lie in workgroup memory, depth by
// depth, so that an invocation reads its rows and columns as vectors; it keeps
// TM x TN sums in registers. Each output is one sum in the order of the depth,
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

alias Tile = vec4<${TILE}>;
// The sums of an invocation: for each row its groups of four columns.
alias Sums = array<vec4<f32>, TM * GROUPS_N>;

var<workgroup> tile_a: array<Tile, BK * BM / 4u>;
var<workgroup> tile_b: array<Tile, BK * BN / 4u>;

// Row `r` of every invocation.
var<workgroup> staged: array<vec4<f32>, BM / TM * BN / 4u>;

// The columns that an invocation puts: neighbours put neighbours.
fn put_column(tid: u32, j: u32) -> u32 {
    return tid % (BN / 4u) + j * (BN / 4u);
}

// The first of the columns that an invocation fetches.
fn fetched_column(tid: u32) -> u32 {
    return select(tid % (BN / 4u), tid / (BK / 4u), B_BY_DEPTH) * 4u;
}

fn multiply(tid: u32, depth: u32) -> Sums {
    var sums: Sums;
    let tx = tid % ACROSS;
    let ty = tid / ACROSS;
    for (var k0 = 0u; k0 < depth; k0 += BK) {
        for (var i = tid; i < BM / 4u * (BK / 4u); i += INVOCATIONS) {
            let row = select(i % (BM / 4u), i / (BK / 4u), A_BY_DEPTH);
            let k = select(i / (BM / 4u), i % (BK / 4u), A_BY_DEPTH) * 4u;
            let part = fetch_a(row * 4u, k0 + k);
            tile_a[k * (BM / 4u) + row] = Tile(part[0]);
            tile_a[(k + 1u) * (BM / 4u) + row] = Tile(part[1]);
            tile_a[(k + 2u) * (BM / 4u) + row] = Tile(part[2]);
            tile_a[(k + 3u) * (BM / 4u) + row] = Tile(part[3]);
        }
        for (var i = tid; i < BN / 4u * (BK / 4u); i += INVOCATIONS) {
            let column = select(i % (BN / 4u), i / (BK / 4u), B_BY_DEPTH);
            let k = select(i / (BN / 4u), i % (BK / 4u), B_BY_DEPTH) * 4u;
            let part = fetch_b(column * 4u, k0 + k);
            tile_b[k * (BN / 4u) + column] = Tile(part[0]);
            tile_b[(k + 1u) * (BN / 4u) + column] = Tile(part[1]);
            tile_b[(k + 2u) * (BN / 4u) + column] = Tile(part[2]);
            tile_b[(k + 3u) * (BN / 4u) + column] = Tile(part[3]);
        }
        workgroupBarrier();
        for (var k = 0u; k < BK; k++) {
            var a: array<vec4<f32>, GROUPS_M>;
            for (var g = 0u; g < GROUPS_M; g++) {
                a[g] = vec4<f32>(tile_a[k * (BM / 4u) + g * (BM / 4u / GROUPS_M) + ty]);
            }
            var b: array<vec4<f32>, GROUPS_N>;
            for (var g = 0u; g < GROUPS_N; g++) {
                b[g] = vec4<f32>(tile_b[k * (BN / 4u) + g * (BN / 4u / GROUPS_N) + tx]);
            }
            for (var r = 0u; r < TM; r++) {
                let v = vec4<f32>(a[r / 4u][r % 4u]);
                for (var g = 0u; g < GROUPS_N; g++) {
                    sums[r * GROUPS_N + g] = fma(v, b[g], sums[r * GROUPS_N + g]);
                }
            }
        }
        workgroupBarrier();
    }
    return sums;
}

// Puts a block's sums.
fn put_all(tid: u32, sums: ptr<function, Sums>) {
    let tx = tid % ACROSS;
    let ty = tid / ACROSS;
    for (var r = 0u; r < TM; r++) {
        // Registers have no index that is computed.
        for (var q = 0u; q < TM; q++) {
            if q == r {
                for (var g = 0u; g < GROUPS_N; g++) {
                    staged[ty * (BN / 4u) + g * (BN / 4u / GROUPS_N) + tx] = (*sums)[q * GROUPS_N + g];
                }
            }
        }
        workgroupBarrier();
        for (var i = tid; i < BM / TM * (BN / 4u); i += INVOCATIONS) {
            let row = r / 4u * (BM / GROUPS_M) + i / (BN / 4u) * 4u + r % 4u;
            let at = i / (BN / 4u) * BN;
            var v: vec4<f32>;
            for (var j = 0u; j < 4u; j++) {
                let place = at + put_column(tid, j);
                v[j] = staged[place / 4u][place % 4u];
            }
            put(row, v);
        }
        workgroupBarrier();
    }
}
