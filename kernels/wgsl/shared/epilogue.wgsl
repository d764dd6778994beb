// What is done to a block of outputs whose rows are lines of a mask and whose
// columns are its bits: finish.wgsl, and the mask is stored.
//
// The kernel also declares BM, BN, INVOCATIONS and `put_column(tid)`.

#include "shared/finish.wgsl"

override STORE_MASK: bool = false;

// The bits of a block, a row after the other.
var<workgroup> mask_words: array<atomic<u32>, BM * BN / 32u>;

// The first column that this invocation puts.
var<private> put_first: u32;

fn clear_mask(tid: u32) {
    put_first = put_column(tid);
    if STORE_MASK {
        for (var i = tid; i < BM * BN / 32u; i += INVOCATIONS) {
            atomicStore(&mask_words[i], 0u);
        }
        workgroupBarrier();
    }
}

// Whether the mask of an output is set.
fn inside(v: f32) -> u32 {
    return select(0u, 1u, p.mask_low < v && v < p.mask_high);
}

// Notes the bits of the four columns that this invocation puts of a row.
fn note_mask(row: u32, bits: u32) {
    if STORE_MASK && bits != 0u {
        atomicOr(&mask_words[row * (BN / 32u) + put_first / 32u], bits << (put_first % 32u));
    }
}

// Stores the block's words: its first row is line `line`, its first column bit `bit`.
fn store_mask(tid: u32, line: u32, lines: u32, bit: u32) {
    if STORE_MASK {
        workgroupBarrier();
        for (var i = tid; i < BM * BN / 32u; i += INVOCATIONS) {
            let row = i / (BN / 32u);
            let word = bit / 32u + i % (BN / 32u);
            if row < lines && word < p.line_words {
                mask[(line + row) * p.line_words + word] = atomicLoad(&mask_words[i]);
            }
        }
    }
}
