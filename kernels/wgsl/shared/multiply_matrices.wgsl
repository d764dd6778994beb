// The products of a block by units that multiply small matrices (simdgroup
// matrices, tensor cores). A subgroup of 32 has all rows of its part of the
// columns; a strip of rows after the other goes through workgroup memory to be
// put. Sums are f32.

#include "shared/tile.wgsl"
#variant MATRIX = 8 | 16
#variant UNITS = cooperative | emulated
#include "shared/units_${UNITS}.wgsl"

const SIZE: u32 = ${MATRIX}u;
const SUBGROUPS: u32 = INVOCATIONS / 32u;
const STRIPS: u32 = BM / SIZE;
const PER_STRIP: u32 = BN / SIZE / SUBGROUPS;

var<workgroup> tile_a: array<${TILE}, BK * BM>;
var<workgroup> tile_b: array<${TILE}, BK * BN>;
// A strip of rows.
var<workgroup> staged: array<f32, SIZE * BN>;

fn store_a(at: u32, v: vec4<f32>) {
    tile_a[4u * at] = ${TILE}(v.x);
    tile_a[4u * at + 1u] = ${TILE}(v.y);
    tile_a[4u * at + 2u] = ${TILE}(v.z);
    tile_a[4u * at + 3u] = ${TILE}(v.w);
}

fn store_b(at: u32, v: vec4<f32>) {
    tile_b[4u * at] = ${TILE}(v.x);
    tile_b[4u * at + 1u] = ${TILE}(v.y);
    tile_b[4u * at + 2u] = ${TILE}(v.z);
    tile_b[4u * at + 3u] = ${TILE}(v.w);
}

fn product(tid: u32, depth: u32) {
    set_lane(tid);
    var sums: array<Result, STRIPS * PER_STRIP>;
    let first = tid / 32u * PER_STRIP * SIZE;
    for (var k0 = 0u; k0 < depth; k0 += BK) {
        fetch(tid, k0);
        workgroupBarrier();
        for (var k = 0u; k < BK; k += SIZE) {
            for (var c = 0u; c < PER_STRIP; c++) {
                let b = right(k * BN + first + c * SIZE, BN);
                for (var r = 0u; r < STRIPS; r++) {
                    let a = left(k * BM + r * SIZE, BM);
                    sums[r * PER_STRIP + c] = multiply_add(a, b, sums[r * PER_STRIP + c]);
                }
            }
        }
        workgroupBarrier();
    }
    for (var r = 0u; r < STRIPS; r++) {
        for (var c = 0u; c < PER_STRIP; c++) {
            keep(sums[r * PER_STRIP + c], first + c * SIZE, BN);
        }
        workgroupBarrier();
        for (var i = tid; i < SIZE * (BN / 4u); i += INVOCATIONS) {
            let row = i / (BN / 4u);
            var v: vec4<f32>;
            for (var j = 0u; j < 4u; j++) {
                v[j] = staged[row * BN + put_column(tid, j)];
            }
            put(r * SIZE + row, v);
        }
        workgroupBarrier();
    }
}
