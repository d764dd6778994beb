// Standard normal numbers times a factor, added to pictures. Philox 4x32-10
// (Salmon et al., SC 2011) counts by four elements of a picture and by the
// sample; its integers are those of every other device. Box and Muller's
// transform is within 4 units in the last place of what f64 gives.
//
// An invocation makes the four elements of one count.

#include "shared/grid.wgsl"

struct Params {
    base: u32,
    end: u32,
    // Counts of all pictures, and of one; elements of one.
    counts: u32,
    per_image: u32,
    size: u32,
    // The distance of two pictures in x.
    step: u32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> samples: array<u32>;
@group(0) @binding(3) var<storage, read_write> key: array<u32>;
@group(0) @binding(4) var<storage, read_write> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

override INVOCATIONS: u32 = 256u;
// Stores the integers instead, for tests.
override INTEGERS: bool = false;

// The upper word of a product, from products of 16 bits.
fn upper(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let first = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let second = (a & 0xffffu) * (b >> 16u) + (first & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (first >> 16u) + (second >> 16u);
}

fn philox(counter: vec4<u32>, first_key: vec2<u32>) -> vec4<u32> {
    var words = counter;
    var k = first_key;
    for (var round = 0u; round < 10u; round++) {
        words = vec4<u32>(
            upper(words.z, 0xcd9e8d57u) ^ words.y ^ k.x,
            words.z * 0xcd9e8d57u,
            upper(words.x, 0xd2511f53u) ^ words.w ^ k.y,
            words.x * 0xd2511f53u,
        );
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
    return n * 0.69314718 - 2.0 * (s + s * z * q);
}

// Cosine and sine of the middle of part `r` of a turn.
fn direction(r: u32) -> vec2<f32> {
    let quarter = (r + 0x20000000u) >> 30u;
    let a = (f32(i32(r - (quarter << 30u))) + 0.5) * (PART * 6.2831853);
    let z = a * a;
    let sine = a + a * z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0))));
    let cosine = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0))));
    let turned = select(vec2<f32>(cosine, sine), vec2<f32>(-sine, cosine), (quarter & 1u) == 1u);
    return select(turned, -turned, (quarter & 2u) == 2u);
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) tid: u32,
) {
    let group = workgroup_number(id, count, p.base);
    let at = group * INVOCATIONS + tid;
    if group >= p.end || at >= p.counts {
        return;
    }
    let image = at / p.per_image;
    let quad = at % p.per_image;
    let counter = vec4<u32>(quad, samples[2u * image], samples[2u * image + 1u], p.stream);
    let words = philox(counter, vec2<u32>(key[0], key[1]));
    let first = sqrt(2.0 * minus_log(words.x)) * direction(words.y);
    let second = sqrt(2.0 * minus_log(words.z)) * direction(words.w);
    let normals = vec4<f32>(first, second);
    for (var j = 0u; j < 4u; j++) {
        let element = 4u * quad + j;
        if element < p.size {
            var v = x[image * p.step + element] + scale[0] * normals[j];
            if INTEGERS {
                v = bitcast<f32>(words[j]);
            }
            y[image * p.size + element] = v;
        }
    }
}
