//! The functions that steps apply.

use serde::{Deserialize, Serialize};

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Unary {
    Neg,
    Abs,
    /// -1, 0 or 1; 0 for what is not a number.
    Sign,
    Floor,
    Ceil,
    /// To the nearest integer, halves to the even one.
    Round,
    Sqrt,
    Exp,
    /// The natural logarithm.
    Log,
    Sin,
    Cos,
    Tanh,
    Erf,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// ln(1 + e^x).
    Softplus,
}

impl Unary {
    /// Whether computing it takes many times as long as arithmetic does.
    #[must_use]
    pub fn is_transcendental(self) -> bool {
        use Unary::{Cos, Erf, Exp, Log, Sigmoid, Sin, Softplus, Tanh};
        matches!(
            self,
            Exp | Log | Sin | Cos | Tanh | Erf | Sigmoid | Softplus
        )
    }

    /// The function in f64.
    #[must_use]
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Sign => f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Round => x.round_ties_even(),
            Self::Sqrt => x.sqrt(),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tanh => x.tanh(),
            Self::Erf => erf(x),
            Self::Sigmoid => {
                let e = (-x.abs()).exp();
                if x < 0.0 {
                    e / (1.0 + e)
                } else {
                    1.0 / (1.0 + e)
                }
            }
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }
}

/// A function of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    /// The smaller; not a number where one of them is not.
    Min,
    /// The larger; not a number where one of them is not.
    Max,
    Pow,
    /// 1 where a < b, else 0.
    Less,
    /// 1 where a <= b, else 0.
    LessOrEqual,
    /// 1 where a = b, else 0.
    Equal,
}

impl Binary {
    /// The function in f64.
    #[must_use]
    pub fn apply(self, a: f64, b: f64) -> f64 {
        let truth = |t: bool| f64::from(u8::from(t));
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Min if a.is_nan() || b.is_nan() => f64::NAN,
            Self::Min => a.min(b),
            Self::Max if a.is_nan() || b.is_nan() => f64::NAN,
            Self::Max => a.max(b),
            Self::Pow => a.powf(b),
            Self::Less => truth(a < b),
            Self::LessOrEqual => truth(a <= b),
            Self::Equal => truth(a == b),
        }
    }
}

/// The error function to about 1e-16: its series near 0, its continued
/// fraction elsewhere (Abramowitz and Stegun 7.1.6 and 7.1.14).
fn erf(x: f64) -> f64 {
    let a = x.abs();
    if x.is_nan() {
        return x;
    }
    if a < 3.0 {
        let (mut term, mut sum) = (a, a);
        for n in 1..120 {
            term *= 2.0 * a * a / f64::from(2 * n + 1);
            sum += term;
        }
        return (std::f64::consts::FRAC_2_SQRT_PI * (-a * a).exp() * sum).copysign(x);
    }
    let fraction = (1..=60).rev().fold(a, |f, n| a + f64::from(n) / 2.0 / f);
    let tail = (-a * a).exp() / fraction / std::f64::consts::PI.sqrt();
    (1.0 - tail).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_matches_tables() {
        // From the C library's erf.
        for (x, y) in [
            (0.0, 0.0),
            (0.5, 0.5204998778130465),
            (1.0, 0.8427007929497149),
            (2.0, 0.9953222650189527),
            (2.99, 0.9999764743969194),
            (3.5, 0.9999992569016276),
        ] {
            assert!((erf(x) - y).abs() < 1e-14, "{x}: {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        assert_eq!(erf(30.0), 1.0);
    }
}
