//! Elementary functions in plain additions, multiplications and divisions, so
//! that the compiler can put them into vectors and an instruction set gives the
//! same numbers on every machine. (A system's `expf` differs between C
//! libraries.) None of them branches. `FUSED` says whether the set multiplies
//! and adds in one instruction.

use std::f32::consts::{LN_2, LOG2_E, SQRT_2};

/// a * b + c.
#[inline(always)]
fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// The polynomial with these coefficients, the highest power's first.
#[inline(always)]
fn polynomial<const FUSED: bool, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    for c in &coefficients[1..] {
        sum = fma::<FUSED>(sum, x, *c);
    }
    sum
}

/// e^x within 2 units in the last place, rounded once where the result is
/// infinite or below the normal numbers.
#[inline(always)]
pub(super) fn exp<const FUSED: bool>(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first of
    // which is exact when multiplied by n. The shift rounds to a whole number,
    // which then stands in the lowest bits.
    const SHIFT: f32 = 12_582_912.0;
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let shifted = fma::<FUSED>(x, LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = fma::<FUSED>(-n, LOW, fma::<FUSED>(-n, HIGH, x));
    let p = [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ];
    let p = polynomial::<FUSED, 6>(r, p);
    let p = 1.0 + fma::<FUSED>(r * r, p, r);
    // 2^n is beyond the normal numbers where e^x is not: it comes in two parts.
    let n = (shifted.to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    p * power(half) * power(n.wrapping_sub(half))
}

/// The natural logarithm, within 1 unit in the last place.
#[inline(always)]
pub(super) fn ln<const FUSED: bool>(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    const HIGH: f32 = 0.693_138_1;
    const LOW: f32 = 9.058_001e-6;
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    // x = 2^n m with m from sqrt(1/2) to sqrt(2).
    let n = (scaled.to_bits().wrapping_sub(SQRT_HALF) as i32) >> 23;
    let m = f32::from_bits(scaled.to_bits().wrapping_sub((n << 23) as u32));
    let n = n as f32 - if tiny { 23.0 } else { 0.0 };
    // ln(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + R)), s = f / (2 + f), where R is
    // a minimax polynomial of s^2.
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let (z, half) = (s * s, 0.5 * f * f);
    let r = [0.242_790_79, 0.284_987_87, 0.400_009_72, 0.666_666_6];
    let r = z * polynomial::<FUSED, 4>(z, r);
    let finite = fma::<FUSED>(s, half + r, n * LOW) - half + f;
    let finite = fma::<FUSED>(n, HIGH, finite);
    let y = if x == f32::INFINITY { x } else { finite };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    // Neither below 0 nor for what is not a number.
    if x >= 0.0 { y } else { f32::NAN }
}

/// ln(1 + e) for e in [0, 1], within 2 units in the last place.
#[inline(always)]
fn ln_1p_unit<const FUSED: bool>(e: f32) -> f32 {
    // ln u = 2 artanh((u - 1) / (u + 1)), for u or u / 2, whichever is near 1.
    let above = 1.0 + e > SQRT_2;
    let (numerator, denominator) = if above {
        (e - 1.0, e + 3.0)
    } else {
        (e, 2.0 + e)
    };
    let s = numerator / denominator;
    let z = s * s;
    let p = [1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0];
    let p = polynomial::<FUSED, 5>(z, p);
    let ln = fma::<FUSED>(2.0 * s, z * p, 2.0 * s);
    if above { LN_2 + ln } else { ln }
}

/// ln(1 + e^x).
#[inline(always)]
pub(super) fn softplus<const FUSED: bool>(x: f32) -> f32 {
    let positive = if x < 0.0 { 0.0 } else { x };
    positive + ln_1p_unit::<FUSED>(exp::<FUSED>(-x.abs()))
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(super) fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    let e = exp::<FUSED>(-x.abs());
    let above = 1.0 / (1.0 + e);
    if x < 0.0 { e * above } else { above }
}

/// The hyperbolic tangent, within 2 units in the last place.
#[inline(always)]
pub(super) fn tanh<const FUSED: bool>(x: f32) -> f32 {
    // Near 0 a minimax polynomial (Cephes), elsewhere 1 - 2 / (e^2x + 1).
    let (a, z) = (x.abs(), x * x);
    let p = [
        -5.704_988_7e-3,
        2.063_909e-2,
        -5.373_971_6e-2,
        1.333_144_2e-1,
        -0.333_332_8,
    ];
    let near = fma::<FUSED>(polynomial::<FUSED, 5>(z, p) * z, x, x);
    let far = (1.0 - 2.0 / (exp::<FUSED>(2.0 * a) + 1.0)).copysign(x);
    if a > 0.625 { far } else { near }
}

/// The error function, within 6 units in the last place.
#[inline(always)]
pub(super) fn erf<const FUSED: bool>(x: f32) -> f32 {
    // erf(x) / x as a Chebyshev series in x^2, which is taken to between -1 and
    // 1: there its powers lose nothing. Beyond 3.9 erf rounds to 1.
    const END: f32 = 3.9;
    let t = fma::<FUSED>(x * x, 2.0 / (END * END), -1.0);
    let t = if t > 1.0 { 1.0 } else { t };
    let p = [
        -8.173_37e-4,
        1.944_994_3e-3,
        -1.153_882_5e-3,
        1.828_000_4e-3,
        -7.548_485e-3,
        1.368_475_7e-2,
        -1.924_535_4e-2,
        2.906_646_8e-2,
        -0.042_892,
        5.792_884_5e-2,
        -7.378_227e-2,
        9.066_637e-2,
        -0.109_534_08,
        0.134_691_28,
        -0.181_011_05,
        0.362_583_97,
    ];
    let y = x * polynomial::<FUSED, 16>(t, p);
    if x.abs() > END { 1f32.copysign(x) } else { y }
}

/// The sine, within 1 unit in the last place, of angles up to 2^26.
#[inline(always)]
pub(super) fn sin(x: f32) -> f32 {
    sin_of_turn(x, 0)
}

/// The cosine; as [`sin`].
#[inline(always)]
pub(super) fn cos(x: f32) -> f32 {
    sin_of_turn(x, 1)
}

/// sin(x + quarters pi / 2), in f64: products of the reduction are exact as
/// long as the whole quarters have 26 bits.
#[inline(always)]
fn sin_of_turn(x: f32, quarters: u32) -> f32 {
    use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, FRAC_PI_4};
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    const HIGH: f64 = f64::from_bits(FRAC_PI_2.to_bits() & !((1 << 27) - 1));
    const MIDDLE: f64 = FRAC_PI_2 - HIGH;
    const LOW: f64 = 6.123_233_995_736_766e-17;
    let x = f64::from(x);
    let shifted = x * FRAC_2_PI + SHIFT;
    let n = shifted - SHIFT;
    let r = ((x - n * HIGH) - n * MIDDLE) - n * LOW;
    // Of larger angles nothing is promised but a result from -1 to 1.
    let r = if r > FRAC_PI_4 { FRAC_PI_4 } else { r };
    let r = if r < -FRAC_PI_4 { -FRAC_PI_4 } else { r };
    let z = r * r;
    let sin = 1.0 / 120.0 + z * (-1.0 / 5_040.0 + z * (1.0 / 362_880.0));
    let sin = r + r * z * (-1.0 / 6.0 + z * sin);
    let cos = -1.0 / 720.0 + z * (1.0 / 40_320.0 + z * (-1.0 / 3_628_800.0));
    let cos = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * cos));
    let quarter = (shifted.to_bits() as u32).wrapping_add(quarters);
    let y = if quarter & 1 == 1 { cos } else { sin };
    let y = if quarter & 2 == 2 { -y } else { y };
    y as f32
}

/// The logarithm to base 2 of a positive number, relative to 1e-12.
#[inline(always)]
fn log2(x: f64) -> f64 {
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const MANTISSA: u64 = (1 << 52) - 1;
    let t = x.to_bits().wrapping_add(ONE - SQRT_HALF);
    let n = ((t >> 52) as i32).wrapping_sub(0x3ff);
    let m = f64::from_bits((t & MANTISSA).wrapping_add(SQRT_HALF));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let p = 1.0 / 9.0 + z * (1.0 / 11.0 + z * (1.0 / 13.0));
    let p = 1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * p));
    f64::from(n) + (s + s * z * p) * (2.0 * std::f64::consts::LOG2_E)
}

/// 2^y relative to 1e-11; 0 and infinity in f32 where it is beyond.
#[inline(always)]
fn exp2(y: f64) -> f64 {
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let y = if y > 300.0 { 300.0 } else { y };
    let y = if y < -300.0 { -300.0 } else { y };
    let shifted = y + SHIFT;
    let r = (y - (shifted - SHIFT)) * std::f64::consts::LN_2;
    let p = 1.0 / 40_320.0 + r * (1.0 / 362_880.0);
    let p = 1.0 / 720.0 + r * (1.0 / 5_040.0 + r * p);
    let p = 1.0 / 24.0 + r * (1.0 / 120.0 + r * p);
    let p = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * p)));
    p * f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52)
}

/// a to the power of b, with the special values of IEEE 754.
#[inline(always)]
pub(super) fn pow(a: f32, b: f32) -> f32 {
    let x = a.abs();
    let log = log2(f64::from(x));
    let log = if x == 0.0 { f64::NEG_INFINITY } else { log };
    let log = if x == f32::INFINITY {
        f64::INFINITY
    } else {
        log
    };
    let size = exp2(f64::from(b) * log) as f32;
    let whole = b.floor() == b;
    let half = b * 0.5;
    let odd = whole & (half.floor() != half);
    let y = if odd { size.copysign(a) } else { size };
    let real = (a >= 0.0) | whole | (x == f32::INFINITY);
    let y = if real { y } else { f32::NAN };
    let y = if a.is_nan() | b.is_nan() { f32::NAN } else { y };
    let one = (b == 0.0) | (a == 1.0) | ((a == -1.0) & b.is_infinite());
    if one { 1.0 } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error in units in the last place of the exact value.
    fn ulps(found: f32, exact: f64) -> f64 {
        let unit = f64::from(f32::EPSILON) * 2f64.powi(exact.abs().log2().floor() as i32);
        (f64::from(found) - exact).abs() / unit.max(f64::from(f32::from_bits(1)))
    }

    /// The largest error over evenly spaced numbers.
    fn worst(range: [f32; 2], f: fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let steps = 200_001;
        let x = |i: usize| range[0] + (range[1] - range[0]) * (i as f32 / (steps - 1) as f32);
        let error = |i| match exact(f64::from(x(i))) {
            0.0 => f64::from(f(x(i))).abs() * 1e45,
            exact => ulps(f(x(i)), exact),
        };
        (0..steps).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn close_to_the_exact_functions() {
        close::<false>();
        close::<true>();
        assert!(worst([-9.0, 9.0], sin, f64::sin) <= 1.0);
        assert!(worst([-6e7, 6e7], cos, f64::cos) <= 1.0);
    }

    fn close<const F: bool>() {
        assert!(worst([-103.0, 88.7], exp::<F>, f64::exp) <= 2.0);
        assert!(worst([-1.0, 1.0], exp::<F>, f64::exp) <= 2.0);
        assert!(worst([0.0001, 3.0], ln::<F>, f64::ln) <= 1.0);
        assert!(worst([1e-38, 1e30], ln::<F>, f64::ln) <= 1.0);
        assert!(worst([1e-45, 1e-38], ln::<F>, f64::ln) <= 1.0);
        assert!(worst([-20.0, 20.0], tanh::<F>, f64::tanh) <= 2.0);
        assert!(worst([-1.0, 1.0], tanh::<F>, f64::tanh) <= 2.0);
        assert!(worst([0.0, 1.0], ln_1p_unit::<F>, f64::ln_1p) <= 2.0);
        let sigmoid64 = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!(worst([-87.0, 87.0], sigmoid::<F>, sigmoid64) <= 3.0);
        let erf64 = |x: f64| limpid_graph::formula::Unary::Erf.apply(x);
        assert!(worst([-6.0, 6.0], erf::<F>, erf64) <= 6.0);
        assert!(worst([-1.0, 1.0], erf::<F>, erf64) <= 6.0);
    }

    #[test]
    fn powers() {
        for b in [-2.5f32, -1.0, 0.5, 0.75, 1.0, 2.0, 3.0, 7.3] {
            let y = f64::from(b);
            let steps = (1..20_000).map(|i| i as f32 * 0.002);
            for a in steps {
                let exact = f64::from(a).powf(y);
                assert!(ulps(pow(a, b), exact) <= 0.51, "{a}^{b}");
                if b.fract() == 0.0 {
                    assert_eq!(pow(-a, b), (-a).powi(b as i32).signum() * pow(a, b));
                }
            }
        }
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for a in [
            0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, inf, -inf, nan, 1e-40,
        ] {
            for b in [
                0.0, 1.0, -1.0, 2.0, 0.5, -0.5, 3.0, -3.0, 1e9, inf, -inf, nan,
            ] {
                let (found, exact) = (pow(a, b), f64::from(a).powf(f64::from(b)) as f32);
                assert!(
                    found.to_bits() == exact.to_bits() || found.is_nan() && exact.is_nan(),
                    "{a}^{b} = {found}, not {exact}"
                );
            }
        }
    }

    #[test]
    fn ends() {
        ends_of::<false>();
        ends_of::<true>();
    }

    fn ends_of<const F: bool>() {
        let inf = f32::INFINITY;
        assert_eq!(
            (exp::<F>(0.0), exp::<F>(-1e30), exp::<F>(-inf)),
            (1.0, 0.0, 0.0)
        );
        assert_eq!(
            (exp::<F>(88.73), exp::<F>(1e30), exp::<F>(inf)),
            (inf, inf, inf)
        );
        assert_eq!(
            (exp::<F>(-104.0), exp::<F>(-103.9)),
            (0.0, f32::from_bits(1))
        );
        assert_eq!((softplus::<F>(-200.0), softplus::<F>(200.0)), (0.0, 200.0));
        assert_eq!(
            (sigmoid::<F>(-200.0), sigmoid::<F>(0.0), sigmoid::<F>(200.0)),
            (0.0, 0.5, 1.0)
        );
        assert_eq!(
            (
                tanh::<F>(-inf),
                tanh::<F>(40.0),
                erf::<F>(-inf),
                erf::<F>(9.0)
            ),
            (-1.0, 1.0, -1.0, 1.0)
        );
        assert_eq!(
            (ln::<F>(0.0), ln::<F>(-0.0), ln::<F>(1.0), ln::<F>(inf)),
            (-inf, -inf, 0.0, inf)
        );
        let all = [
            exp::<F>,
            ln::<F>,
            softplus::<F>,
            sigmoid::<F>,
            tanh::<F>,
            erf::<F>,
            sin,
            cos,
        ];
        for f in all {
            assert!(f(f32::NAN).is_nan());
        }
        assert!(ln::<F>(-1.0).is_nan() && sin(inf).is_nan());
        assert!(sin(1e30).abs() <= 1.0);
    }
}
