// Elementary functions in additions, multiplications and divisions, as the CPU
// computes them (crates/limpid-cpu/src/kernels/math.rs): built-in ones are only a
// few digits good on some adapters. Comparisons and bits decide on what is not
// finite. The kernel declares `p.zero`, which is 0.

#include "shared/exp.wgsl"

fn infinite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u;
}

fn no_number(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// The sign of one number on another.
fn signed(size: f32, sign_of: f32) -> f32 {
    let bits = (bitcast<u32>(size) & 0x7fffffffu) | (bitcast<u32>(sign_of) & 0x80000000u);
    return bitcast<f32>(bits);
}

// A constant that no compiler folds: WGSL has no literal for it.
fn special(bits: u32) -> f32 {
    return bitcast<f32>(bits + p.zero);
}

// The natural logarithm.
fn log_(x: f32) -> f32 {
    let tiny = x < 1.1754944e-38;
    let scaled = bitcast<i32>(select(x, x * 8388608.0, tiny));
    // x = 2^n m with m from sqrt(1/2) to sqrt(2).
    let whole = (scaled - 0x3f3504f3) >> 23u;
    let m = bitcast<f32>(scaled - (whole << 23u));
    let n = f32(whole) - select(0.0, 23.0, tiny);
    // ln(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + R)), s = f / (2 + f), where R is a
    // minimax polynomial of s^2.
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let half = 0.5 * f * f;
    let r = z * (0.6666666 + z * (0.40000972 + z * (0.28498787 + z * 0.24279079)));
    var y = n * 0.6931381 + (s * (half + r) + n * 9.058001e-6 - half + f);
    y = select(y, x, infinite(x));
    y = select(y, special(0xff800000u), x == 0.0);
    // Neither below 0 nor for what is not a number.
    return select(special(0x7fc00000u), y, x >= 0.0);
}

// ln(1 + e) for e from 0 to 1.
fn log_1p_unit(e: f32) -> f32 {
    // ln u = 2 artanh((u - 1) / (u + 1)), for u or u / 2, whichever is near 1.
    let above = 1.0 + e > 1.41421356;
    let s = select(e, e - 1.0, above) / select(2.0 + e, e + 3.0, above);
    let z = s * s;
    let q = 1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * (1.0 / 9.0 + z * (1.0 / 11.0))));
    let y = 2.0 * s + 2.0 * s * (z * q);
    return select(y, 0.69314718 + y, above);
}

// ln(1 + e^x).
fn softplus_(x: f32) -> f32 {
    return select(x, 0.0, x < 0.0) + log_1p_unit(exp_(-abs(x)));
}

// 1 / (1 + e^-x).
fn sigmoid_(x: f32) -> f32 {
    let e = exp_(-abs(x));
    let above = 1.0 / (1.0 + e);
    return select(above, e * above, x < 0.0);
}

fn tanh_(x: f32) -> f32 {
    // Near 0 a minimax polynomial (Cephes), elsewhere 1 - 2 / (e^2x + 1).
    let z = x * x;
    let q = -0.3333328 + z * (0.13331442 + z * (-0.053739716 + z * (0.02063909 + z * -0.0057049887)));
    let near = x + x * z * q;
    let far = signed(1.0 - 2.0 / (exp_(2.0 * abs(x)) + 1.0), x);
    return select(near, far, abs(x) > 0.625);
}

fn erf_(x: f32) -> f32 {
    // erf(x) / x as a Chebyshev series in x^2, which is taken to between -1 and 1:
    // there its powers lose nothing. Beyond 3.9 erf rounds to 1.
    var t = x * x * (2.0 / 15.21) - 1.0;
    t = select(t, 1.0, t > 1.0);
    var q = -8.17337e-4;
    q = q * t + 1.9449943e-3;
    q = q * t - 1.1538825e-3;
    q = q * t + 1.8280004e-3;
    q = q * t - 7.548485e-3;
    q = q * t + 1.3684757e-2;
    q = q * t - 1.9245354e-2;
    q = q * t + 2.9066468e-2;
    q = q * t - 0.042892;
    q = q * t + 5.7928845e-2;
    q = q * t - 7.378227e-2;
    q = q * t + 9.066637e-2;
    q = q * t - 0.10953408;
    q = q * t + 0.13469128;
    q = q * t - 0.18101105;
    q = q * t + 0.36258397;
    return select(x * q, signed(1.0, x), abs(x) > 3.9);
}

// sin(x + quarters pi / 2), of angles up to 2^15: pi / 2 in four parts, of which
// the first three are exact when multiplied by so many quarters.
fn sin_of_turn(x: f32, quarters: u32) -> f32 {
    let n = round(x * 0.63661977);
    var r = x - n * 1.5703125;
    r -= n * 4.8351288e-4;
    r -= n * 3.1385571e-7;
    r -= n * 6.0771005e-11;
    // Of larger angles nothing is promised but a result from -1 to 1.
    r = select(r, 0.78539816, r > 0.78539816);
    r = select(r, -0.78539816, r < -0.78539816);
    let z = r * r;
    let sine = r + r * z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0))));
    let cosine = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0))));
    let quarter = u32(i32(select(n, 0.0, abs(n) > 1e9))) + quarters;
    let y = select(sine, cosine, (quarter & 1u) == 1u);
    return select(y, -y, (quarter & 2u) == 2u);
}

fn sin_(x: f32) -> f32 {
    return sin_of_turn(x, 0u);
}

fn cos_(x: f32) -> f32 {
    return sin_of_turn(x, 1u);
}

// A number as the sum of two, of which the second is what the first has lost. A
// driver may simplify these and lose it again: they narrow errors, and nothing
// relies on them.
fn fast_two_sum(a: f32, b: f32) -> vec2<f32> {
    let s = a + b;
    return vec2<f32>(s, b - (s - a));
}

fn two_sum(a: f32, b: f32) -> vec2<f32> {
    let s = a + b;
    let t = s - a;
    return vec2<f32>(s, (a - (s - t)) + (b - t));
}

// The exact product of two numbers, from halves of twelve bits.
fn two_product(a: f32, b: f32) -> vec2<f32> {
    let a_high = bitcast<f32>(bitcast<u32>(a) & 0xfffff000u);
    let b_high = bitcast<f32>(bitcast<u32>(b) & 0xfffff000u);
    let a_low = a - a_high;
    let b_low = b - b_high;
    let product = a * b;
    let lost = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
    return vec2<f32>(product, lost);
}

// log2 of a positive finite number, as a sum of two.
fn log2_(x: f32) -> vec2<f32> {
    let tiny = x < 1.1754944e-38;
    let scaled = bitcast<i32>(select(x, x * 8388608.0, tiny));
    let whole = (scaled - 0x3f3504f3) >> 23u;
    let m = bitcast<f32>(scaled - (whole << 23u));
    let n = f32(whole) - select(0.0, 23.0, tiny);
    // ln m = 2 artanh(s), s = f / (2 + f), f being exact; s as a sum of two.
    let f = m - 1.0;
    let below = two_sum(2.0, f);
    let s = f / below.x;
    let back = two_product(s, below.x);
    let s_low = (f - back.x - back.y - s * below.y) / below.x;
    let z = s * s;
    let q = z * (1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * (1.0 / 9.0 + z * (1.0 / 11.0)))));
    // 2 / ln 2 in two parts, times s (1 + q).
    let head = two_product(s, 2.8853900);
    let tail = head.y + s * 3.8519074e-8 + 2.8853900 * (s_low + s * q);
    let sum = two_sum(n, head.x);
    return fast_two_sum(sum.x, sum.y + tail);
}

// a to the power of b, with the special values of IEEE 754.
fn pow_(a: f32, b: f32) -> f32 {
    let x = abs(a);
    var size: f32;
    if x == 0.0 || infinite(x) || infinite(b) {
        // Whether the power grows without bound.
        let grows = (x > 1.0) == (b > 0.0);
        size = select(0.0, special(0x7f800000u), grows && x != 1.0);
    } else if abs(b) <= 64.0 && floor(b) == b {
        // Whole numbers have whole powers.
        size = 1.0;
        var factor = x;
        for (var left = u32(abs(b)); left > 0u; left >>= 1u) {
            size *= select(1.0, factor, (left & 1u) == 1u);
            factor *= factor;
        }
        size = select(size, 1.0 / size, b < 0.0);
    } else {
        let log = log2_(x);
        let head = two_product(b, log.x);
        var y = fast_two_sum(head.x, head.y + b * log.y);
        y = select(y, vec2<f32>(300.0, 0.0), y.x > 300.0);
        y = select(y, vec2<f32>(-300.0, 0.0), y.x < -300.0);
        let n = round(y.x);
        let r = ((y.x - n) + y.y) * 0.69314718;
        var q = 1.0 / 5040.0;
        q = q * r + 1.0 / 720.0;
        q = q * r + 1.0 / 120.0;
        q = q * r + 1.0 / 24.0;
        q = q * r + 1.0 / 6.0;
        q = q * r + 0.5;
        q = 1.0 + (r + r * r * q);
        // 2^n in three parts, none of which is beyond the normal numbers.
        let third = i32(n) / 3;
        let power = bitcast<f32>((third + 127) << 23u);
        size = q * power * power * bitcast<f32>((i32(n) - 2 * third + 127) << 23u);
    }
    let whole = floor(b) == b;
    let odd = whole && floor(b * 0.5) != b * 0.5;
    var y = select(size, signed(size, a), odd);
    y = select(special(0x7fc00000u), y, a >= 0.0 || whole || infinite(x));
    y = select(y, special(0x7fc00000u), no_number(a) || no_number(b));
    return select(y, 1.0, b == 0.0 || a == 1.0 || (a == -1.0 && infinite(b)));
}
