// Whole numbers of 64 bits, high word first.

// The product of two words, from pieces of 16 bits.
fn multiply_wide(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 16u);
    let other = a0 * b1 + (middle & 0xffffu);
    return vec2<u32>(a1 * b1 + (middle >> 16u) + (other >> 16u), a * b);
}

fn add_wide(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.y + b.y;
    return vec2<u32>(a.x + b.x + select(0u, 1u, low < b.y), low);
}

// The bits from `shift` of 0 to 31 on of `high` and what follows it.
fn bits_from(high: u32, low: u32, shift: u32) -> u32 {
    return (high << shift) | (low >> 1u >> (31u - shift));
}
