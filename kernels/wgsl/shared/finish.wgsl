// What is done to an output of a product before it is stored: addition,
// clipping, multiplication by a mask.
//
// The kernel declares `p` with the bounds and the mask's words of a line, and
// the buffers `added` and `mask`.

override ADD: bool = false;
override CLIP: bool = false;
override MASK_MUL: bool = false;

// The output at `at`, which is bit `bit` of line `line`, from its sum.
fn finish(sum: f32, at: u32, line: u32, bit: u32) -> f32 {
    var v = sum;
    if ADD {
        v += f32(added[at]);
    }
    if CLIP {
        // What is not a number stays; by bits, as compilers may take numbers for granted.
        let number = (bitcast<u32>(v) & 0x7fffffffu) <= 0x7f800000u;
        v = select(v, p.clip_low, number && v < p.clip_low);
        v = select(v, p.clip_high, number && v > p.clip_high);
    }
    if MASK_MUL {
        v = select(0.0, v, (mask[line * p.line_words + bit / 32u] >> (bit % 32u) & 1u) == 1u);
    }
    return v;
}
