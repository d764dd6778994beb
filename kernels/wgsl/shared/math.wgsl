// Elementary functions in additions, multiplications and divisions. Products
// that must be exact have factors of few bits, so that nothing depends on
// whether a product and a sum are rounded together. Infinities and what is no
// number are told by their bits, since compilers may take numbers for granted.

#include "shared/exp.wgsl"
#include "shared/wide.wgsl"
#include "shared/angle.wgsl"

const INFINITE: u32 = 0x7f800000u;

fn size_bits(x: f32) -> u32 {
    return bitcast<u32>(x) & 0x7fffffffu;
}

fn is_nan(x: f32) -> bool {
    return size_bits(x) > INFINITE;
}

// x with another sign: that of the word's highest bit.
fn with_sign(x: f32, sign: u32) -> f32 {
    return bitcast<f32>(size_bits(x) | (sign & 0x80000000u));
}

// An infinity of a sign; `bits` keep the compiler from knowing it.
fn infinity(bits: u32) -> f32 {
    return bitcast<f32>((bits & 0x80000000u) | INFINITE);
}

fn not_a_number(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) | 0x7fc00000u);
}

// The first twelve bits of a number: products of two such are exact.
fn leading(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u);
}

fn truth(t: bool) -> f32 {
    return select(0.0, 1.0, t);
}

fn sign_(x: f32) -> f32 {
    return truth(x > 0.0) - truth(x < 0.0);
}

// The smaller and the larger; what is no number where one is none.
fn min_(a: f32, b: f32) -> f32 {
    return select(b, a, is_nan(a) || (a < b && !is_nan(b)));
}

fn max_(a: f32, b: f32) -> f32 {
    return select(b, a, is_nan(a) || (a > b && !is_nan(b)));
}

// a where c is not 0, else b.
fn select_(c: f32, a: f32, b: f32) -> f32 {
    return select(a, b, size_bits(c) == 0u);
}

// The natural logarithm, within 1 unit in the last place.
fn log_(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    if bits << 1u == 0u {
        return infinity(bits | 0x80000000u);
    }
    if bits >= INFINITE {
        return select(not_a_number(x), x, bits == INFINITE);
    }
    // Below the normal numbers x is its bits times 2^-149.
    let tiny = bits < 0x00800000u;
    let scaled = select(bits, bitcast<u32>(f32(bits)), tiny);
    // x = 2^n m with m from sqrt(1/2) to sqrt(2).
    let exponent = i32(scaled - 0x3f3504f3u) >> 23u;
    let m = bitcast<f32>(scaled - u32(exponent << 23u));
    let n = f32(exponent - select(0, 149, tiny));
    // ln(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + R)), s = f / (2 + f), where R is
    // a minimax polynomial of s^2.
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let half = 0.5 * f * f;
    let r = z * (0.66666660 + z * (0.40000972 + z * (0.28498787 + z * 0.24279079)));
    // ln 2 in two parts, the first of which is exact when multiplied by n.
    return n * 0.6931381 + (s * (half + r) + n * 9.058001e-6 - half + f);
}

// ln(1 + e) for e from 0 to 1, within 2 units in the last place.
fn log_1p_unit(e: f32) -> f32 {
    // ln u = 2 artanh((u - 1) / (u + 1)), for u or u / 2, whichever is near 1.
    let above = 1.0 + e > 1.41421356;
    let s = select(e, e - 1.0, above) / select(2.0 + e, e + 3.0, above);
    let z = s * s;
    let p = 1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * (1.0 / 9.0 + z * (1.0 / 11.0))));
    return select(0.0, 0.69314718, above) + (2.0 * s * (z * p) + 2.0 * s);
}

// ln(1 + e^x).
fn softplus_(x: f32) -> f32 {
    return select(x, 0.0, x < 0.0) + log_1p_unit(exp_(-abs(x)));
}

// 1 / (1 + e^-x).
fn sigmoid_(x: f32) -> f32 {
    let e = exp_(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}

// The hyperbolic tangent, within 2 units in the last place.
fn tanh_(x: f32) -> f32 {
    // Near 0 a minimax polynomial (Cephes), elsewhere 1 - 2 / (e^2x + 1).
    let a = abs(x);
    if a > 0.625 {
        return with_sign(1.0 - 2.0 / (exp_(2.0 * a) + 1.0), bitcast<u32>(x));
    }
    let z = x * x;
    var p = -5.7049887e-3;
    p = p * z + 2.063909e-2;
    p = p * z - 5.3739716e-2;
    p = p * z + 1.3331443e-1;
    p = p * z - 0.3333328;
    return p * z * x + x;
}

// The error function, within 6 units in the last place.
fn erf_(x: f32) -> f32 {
    // erf(x) / x as a Chebyshev series in x^2, which is taken to between -1 and
    // 1: there its powers lose nothing. Beyond 3.9 erf rounds to 1.
    if abs(x) > 3.9 {
        return with_sign(1.0, bitcast<u32>(x));
    }
    let t = x * x * (2.0 / 15.21) - 1.0;
    var p = -8.17337e-4;
    p = p * t + 1.9449943e-3;
    p = p * t - 1.1538825e-3;
    p = p * t + 1.8280004e-3;
    p = p * t - 7.548485e-3;
    p = p * t + 1.3684757e-2;
    p = p * t - 1.9245354e-2;
    p = p * t + 2.9066468e-2;
    p = p * t - 0.042892;
    p = p * t + 5.7928845e-2;
    p = p * t - 7.378227e-2;
    p = p * t + 9.066637e-2;
    p = p * t - 0.10953408;
    p = p * t + 0.13469128;
    p = p * t - 0.18101105;
    p = p * t + 0.36258397;
    return x * p;
}

// The size of x as an angle, reduced exactly (Payne and Hanek, 1983): x is a
// whole number times a power of 2, so of 2 / pi only 96 bits count.
fn angle(x: f32) -> Angle {
    let bits = size_bits(x);
    if bits < 0x3f490fdbu {
        return Angle(0u, abs(x), 0.0);
    }
    // 2^-32 * 2 / pi.
    var digits = array<u32, 8>(
        0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu);
    let m = (bits & 0x007fffffu) | 0x00800000u;
    // A turn has four quarters; whole turns fall away in front.
    let first = bits / 0x00800000u - 120u;
    let word = first / 32u;
    let shift = first % 32u;
    let a = bits_from(digits[word], digits[word + 1u], shift);
    let b = bits_from(digits[word + 1u], digits[word + 2u], shift);
    let c = bits_from(digits[word + 2u], digits[word + 3u], shift);
    let low = multiply_wide(m, c).x;
    return angle_of_turn(add_wide(vec2<u32>(m * a, 0u), add_wide(multiply_wide(m, b), vec2<u32>(0u, low))));
}

// The sine, within 1 unit in the last place.
fn sin_(x: f32) -> f32 {
    if size_bits(x) >= INFINITE {
        return not_a_number(x);
    }
    let y = sin_of_quarters(angle(x), 0u);
    return select(y, -y, bitcast<u32>(x) >> 31u == 1u);
}

// The cosine, within 1 unit in the last place.
fn cos_(x: f32) -> f32 {
    if size_bits(x) >= INFINITE {
        return not_a_number(x);
    }
    return sin_of_quarters(angle(x), 1u);
}

// The logarithm to base 2 of a positive number, as a number of twelve bits and
// a rest (after FreeBSD's e_powf.c, by Sun Microsystems).
fn log2_parts(x: f32) -> vec2<f32> {
    var bits = bitcast<u32>(x);
    var n = -127;
    if bits < 0x00800000u {
        bits = bitcast<u32>(f32(bits));
        n -= 149;
    }
    n += i32(bits >> 23u);
    // m from sqrt(3) / 2 to sqrt(3), beside 1 or 3/2.
    let fraction = bits & 0x007fffffu;
    let near = fraction > 0x1cc471u && fraction < 0x5db3d7u;
    let above = fraction >= 0x5db3d7u;
    n += select(0, 1, above);
    let m = bitcast<f32>((fraction | 0x3f800000u) - select(0u, 0x00800000u, above));
    let base = select(1.0, 1.5, near);
    // s = (m - base) / (m + base), its first bits and the rest.
    let u = m - base;
    let sum = m + base;
    let sum_high = leading(sum);
    let sum_low = m - (sum_high - base);
    let s = u / sum;
    let s_high = leading(s);
    let s_low = (u - s_high * sum_high - s_high * sum_low) / sum;
    // ln m / 2 = s + s^3 / 3 + ..., as s (3 + s^2 + ...) / 3.
    let z = s * s;
    var r = z * z * (0.6 + z * (0.42857143 + z * (0.33333334 + z * (0.27272812 + z * (0.23066075 + z * 0.20697501)))));
    r += s_low * (s_high + s);
    let square = s_high * s_high;
    let t_high = leading(3.0 + square + r);
    let t_low = r - (t_high - 3.0 - square);
    let v_high = s_high * t_high;
    let v_low = s_low * t_high + t_low * s;
    let p_high = leading(v_high + v_low);
    let p_low = v_low - (p_high - v_high);
    // 2 / (3 ln 2) in two parts; log2(1.5) in two parts.
    let l_high = 0.961914062 * p_high;
    let l_low = -1.1736857e-4 * p_high + p_low * 0.96179670 + select(0.0, 1.56322085e-6, near);
    let of_base = select(0.0, 0.584960938, near);
    let high = leading(l_high + l_low + of_base + f32(n));
    return vec2<f32>(high, l_low - (high - f32(n) - of_base - l_high));
}

// 2^(high + low), where `low` is small, within 1 unit in the last place; 0 and
// infinity where it is beyond.
fn exp2_parts(high: f32, low: f32) -> f32 {
    if high + low > 130.0 {
        return infinity(0u);
    }
    if high + low < -152.0 {
        return 0.0;
    }
    let n = round(high + low);
    let rest = high - n;
    let t = bitcast<f32>(bitcast<u32>(rest + low) & 0xffff8000u);
    // Times ln 2, in two parts.
    let u = t * 0.693145752;
    let v = (low - (t - rest)) * 0.69314718 + t * 1.42860654e-6;
    let z = u + v;
    let w = v - (z - u);
    var q = 1.0 / 5040.0;
    q = q * z + 1.0 / 720.0;
    q = q * z + 1.0 / 120.0;
    q = q * z + 1.0 / 24.0;
    q = q * z + 1.0 / 6.0;
    q = q * z + 0.5;
    let y = 1.0 + (z + (z * z * q + w));
    let whole = i32(n);
    let half = whole >> 1u;
    return y * bitcast<f32>((half + 127) << 23u) * bitcast<f32>((whole - half + 127) << 23u);
}

// a to the power of b, with the special values of IEEE 754.
fn pow_(a: f32, b: f32) -> f32 {
    let size = size_bits(a);
    let power = size_bits(b);
    if power == 0u || bitcast<u32>(a) == 0x3f800000u || (size == 0x3f800000u && power == INFINITE) {
        return 1.0;
    }
    if size > INFINITE || power > INFINITE {
        return not_a_number(a);
    }
    let rising = bitcast<u32>(b) >> 31u == 0u;
    var y = 0.0;
    if size == 0u || size == INFINITE || power == INFINITE {
        y = select(0.0, infinity(0u), (size > 0x3f800000u) == rising);
    } else if power > 0x4f000000u {
        // Beyond 2^31 the power of what is not 1 is beyond as well.
        y = select(0.0, infinity(0u), (size > 0x3f800000u) == rising);
        y = select(y, 1.0, size == 0x3f800000u);
    } else {
        let log = log2_parts(abs(a));
        let b_high = leading(b);
        y = exp2_parts(b_high * log.x, (b - b_high) * log.x + b * log.y);
    }
    // From 2^24 on all numbers are even, from 2^23 on whole.
    let whole = power >= 0x4b000000u || floor(b) == b;
    let odd = power < 0x4b800000u && whole && floor(0.5 * b) != 0.5 * b;
    if odd {
        y = with_sign(y, bitcast<u32>(a));
    }
    let real = bitcast<u32>(a) >> 31u == 0u || size == 0u || whole || size == INFINITE;
    return select(not_a_number(a), y, real);
}
