// The products of a block in registers: an invocation has TM x TN sums, in
// groups of four rows and columns.

#include "shared/tile.wgsl"

alias Tile = vec4<${TILE}>;
// The sums of an invocation: for each row its groups of four columns.
alias Sums = array<vec4<f32>, TM * GROUPS_N>;

var<workgroup> tile_a: array<Tile, BK * BM / 4u>;
var<workgroup> tile_b: array<Tile, BK * BN / 4u>;
// Row `r` of every invocation.
var<workgroup> staged: array<vec4<f32>, BM / TM * BN / 4u>;

fn store_a(at: u32, v: vec4<f32>) {
    tile_a[at] = Tile(v);
}

fn store_b(at: u32, v: vec4<f32>) {
    tile_b[at] = Tile(v);
}

// Adds the products at one depth.
fn add_depth(tx: u32, ty: u32, k: u32, sums: ptr<function, Sums>) {
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
            (*sums)[r * GROUPS_N + g] = fma(v, b[g], (*sums)[r * GROUPS_N + g]);
        }
    }
}

fn multiply(tid: u32, depth: u32) -> Sums {
    var sums: Sums;
    let tx = tid % ACROSS;
    let ty = tid / ACROSS;
    for (var k0 = 0u; k0 < depth; k0 += BK) {
        fetch(tid, k0);
        workgroupBarrier();
        // Four at a time: Mesa's software Vulkan ends all loops of an invocation after
        // 65,536 rounds in all.
        for (var k = 0u; k < BK; k += 4u) {
            add_depth(tx, ty, k, &sums);
            add_depth(tx, ty, k + 1u, &sums);
            add_depth(tx, ty, k + 2u, &sums);
            add_depth(tx, ty, k + 3u, &sums);
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

fn product(tid: u32, depth: u32) {
    var sums = multiply(tid, depth);
    put_all(tid, &sums);
}
