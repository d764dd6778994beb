// Standard normal numbers by counter, as crates/limpid-tensor/src/philox.rs has
// them: Philox 4x32-10 (Salmon et al., SC 2011), whose integers are those of every
// other device, and Box and Muller's transform, within 4 units in the last place
// of what f64 gives.

#include "shared/wide.wgsl"

fn philox(counter: vec4<u32>, first_key: vec2<u32>) -> vec4<u32> {
    var words = counter;
    var k = first_key;
    for (var round = 0u; round < 10u; round++) {
        let z = multiply_wide(words.z, 0xcd9e8d57u);
        let x = multiply_wide(words.x, 0xd2511f53u);
        words = vec4<u32>(z.x ^ words.y ^ k.x, z.y, x.x ^ words.w ^ k.y, x.y);
        k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return words;
}

// One of 2^32 parts of 1, r being its number.
const PART: f32 = 2.3283064e-10;

// -ln(u) of the middle of part `r` of (0, 1).
fn minus_log(r: u32) -> f32 {
    // 1 + v is u times a power of two between 1/2 and 1, or u itself: near 1 its
    // distance from 1 is what is known exactly.
    var v: f32;
    var n = 0.0;
    if r >= 0x80000000u {
        v = -(f32(~r) + 0.5) * PART;
    } else {
        // From the mantissa of r + 1/2.
        let u = f32(r) + 0.5;
        let bits = bitcast<u32>(u);
        n = 32.0 - f32(bits >> 23u) + 126.0;
        v = bitcast<f32>((bits & 0x7fffffu) | 0x3f000000u) - 1.0;
    }
    // ln(1 + v) = 2 artanh(s), |s| <= 1/3.
    let s = v / (2.0 + v);
    let z = s * s;
    var q = 1.0 / 17.0;
    q = q * z + 1.0 / 15.0;
    q = q * z + 1.0 / 13.0;
    q = q * z + 1.0 / 11.0;
    q = q * z + 1.0 / 9.0;
    q = q * z + 1.0 / 7.0;
    q = q * z + 1.0 / 5.0;
    q = q * z + 1.0 / 3.0;
    // That is v - s (v - 2 z q): v enters once, with no error of s.
    return n * 0.69314718 - (v - s * (v - 2.0 * z * q));
}

// Cosine and sine of the middle of part `r` of a turn.
fn direction(r: u32) -> vec2<f32> {
    let quarter = (r + 0x20000000u) >> 30u;
    // The angle is head + rest, of parts that f32 has exactly: sixteen bits of the
    // number, and 2 pi as 6.28125, eight bits, and what is left.
    let number = i32(r - (quarter << 30u));
    let upper_part = (number + 8192) >> 14u;
    let high = f32(upper_part) * 16384.0;
    let low = f32(number - upper_part * 16384) + 0.5;
    let head = high * (PART * 6.28125);
    let rest = high * (PART * 1.9353072e-3) + low * (PART * 6.2831853);
    let a = head + rest;
    let lost = rest - (a - head);
    let z = a * a;
    let sine = a + (lost + a * z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0)))));
    let cosine = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0))));
    let turned = select(vec2<f32>(cosine, sine), vec2<f32>(-sine, cosine), (quarter & 1u) == 1u);
    return select(turned, -turned, (quarter & 2u) == 2u);
}

// The normal numbers of four integers.
fn box_muller(words: vec4<u32>) -> vec4<f32> {
    let first = sqrt(2.0 * minus_log(words.x)) * direction(words.y);
    let second = sqrt(2.0 * minus_log(words.z)) * direction(words.w);
    return vec4<f32>(first, second);
}
