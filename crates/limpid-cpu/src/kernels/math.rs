//! Elementary functions in plain additions, multiplications and divisions, so
//! that they are the same on every machine and instruction set and the
//! compiler can put them into vectors. (A system's `expf` differs between C
//! libraries.)

use std::f32::consts::{LN_2, LOG2_E, SQRT_2};

/// e^x for x <= 0, within 2 units in the last place; 0 below -87.
#[inline(always)]
pub(crate) fn exp_negative(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first of
    // which is exact when multiplied by n. The shift rounds to a whole number.
    const SHIFT: f32 = 12_582_912.0;
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    let clamped = if x < -87.0 { -87.0 } else { x };
    let n = (clamped * LOG2_E + SHIFT) - SHIFT;
    let r = (clamped - n * HIGH) - n * LOW;
    let p = 1.0 / 720.0 + r * (1.0 / 5040.0);
    let p = 1.0 / 24.0 + r * (1.0 / 120.0 + r * p);
    let p = 0.5 + r * (1.0 / 6.0 + r * p);
    let p = 1.0 + (r + r * r * p);
    let power = f32::from_bits(((n as i32 + 127) << 23) as u32);
    if x < -87.0 { 0.0 } else { p * power }
}

/// ln(1 + e) for e in [0, 1], within 2 units in the last place.
#[inline(always)]
pub(crate) fn ln_1p_unit(e: f32) -> f32 {
    // ln u = 2 artanh((u - 1) / (u + 1)), for u or u / 2, whichever is near 1.
    let above = 1.0 + e > SQRT_2;
    let s = if above {
        (e - 1.0) / (e + 3.0)
    } else {
        e / (2.0 + e)
    };
    let z = s * s;
    let p = 1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * (1.0 / 9.0 + z * (1.0 / 11.0))));
    let ln = 2.0 * s + 2.0 * s * (z * p);
    if above { LN_2 + ln } else { ln }
}

/// ln(1 + e^x).
#[inline(always)]
pub(crate) fn softplus(x: f32) -> f32 {
    let positive = if x < 0.0 { 0.0 } else { x };
    positive + ln_1p_unit(exp_negative(-x.abs()))
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let e = exp_negative(-x.abs());
    let above = 1.0 / (1.0 + e);
    if x < 0.0 { e * above } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error in units in the last place of the exact value.
    fn ulps(found: f32, exact: f64) -> f64 {
        let unit = f64::from(f32::EPSILON) * 2f64.powi(exact.abs().log2().floor() as i32);
        (f64::from(found) - exact).abs() / unit
    }

    #[test]
    fn close_to_the_exact_functions() {
        for i in 0..=200_000u32 {
            let x = -(i as f32) * (86.9 / 200_000.0);
            assert!(ulps(exp_negative(x), f64::from(x).exp()) <= 2.0, "exp {x}");
            let e = (i + 1) as f32 / 200_001.0;
            assert!(
                ulps(ln_1p_unit(e), f64::from(e).ln_1p()) <= 2.0,
                "ln_1p {e}"
            );
        }
    }

    #[test]
    fn ends() {
        assert_eq!((exp_negative(0.0), exp_negative(-1e30)), (1.0, 0.0));
        assert_eq!((softplus(-200.0), softplus(200.0)), (0.0, 200.0));
        assert_eq!(
            (sigmoid(-200.0), sigmoid(0.0), sigmoid(200.0)),
            (0.0, 0.5, 1.0)
        );
        assert!(softplus(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }
}
