// What is done to a block of outputs whose rows are lines of a mask and whose
// columns are its bits: finish.wgsl, and the mask is stored.
//
// The kernel also declares BM, BN and INVOCATIONS.

#include "shared/finish.wgsl"

override STORE_MASK: bool = false;

// The bits of a block, a row after the other.
var<workgroup> mask_words: array<atomic<u32>, BM * BN / 32u>;

fn clear_mask(tid: u32) {
    if STORE_MASK {
        for (var i = tid; i < BM * BN / 32u; i += INVOCATIONS) {
            atomicStore(&mask_words[i], 0u);
        }
        workgroupBarrier();
    }
}

// Notes the bit of an output at a row and a column of the block.
fn note_mask(row: u32, column: u32, v: f32) {
    if STORE_MASK && p.mask_low < v && v < p.mask_high {
        atomicOr(&mask_words[row * (BN / 32u) + column / 32u], 1u << (column % 32u));
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
