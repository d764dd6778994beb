//! Comparing what a device computed with what it should have.

use limpid_graph::reference::RefTensor;

/// The errors that are accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// The largest sum (a - b)^2 / sum b^2.
    pub nmse: f64,
    /// The largest error of an element, relative to the sum of the absolute
    /// values of the terms it is a sum of.
    pub relative: f64,
}

impl Tolerance {
    /// Where numbers are f32.
    pub const F32: Self = Self {
        nmse: 1e-9,
        relative: 1e-6,
    };

    /// Where products are of bf16, and results and what lies between operators
    /// may be rounded to it, each time by up to 2^-9.
    pub const BF16: Self = Self {
        nmse: 1e-4,
        relative: 1.0 / 128.0,
    };
}

/// How one output is compared. In each of them NaN must meet NaN and an
/// infinity the same infinity.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// Equal, as whole numbers and masks must be (0 and -0 are equal).
    Exact,
    /// A tolerance of the whole output, and of each element relative to its
    /// scale: the sum of |a b| where it is a sum of products.
    Close(Vec<f64>, Tolerance),
    /// Equal, but for the elements marked: the mask of a value so near to a
    /// bound that rounding decides on which side it lies.
    Mask(Vec<bool>),
}

impl Check {
    /// Closeness relative to the largest element of what is expected, `slack`
    /// times more of it than of a sum of products.
    #[must_use]
    pub fn close_to_largest(expected: &RefTensor, slack: f64) -> Self {
        let finite = expected.data.iter().filter(|v| v.is_finite());
        let largest = finite.fold(0.0, |m: f64, v| m.max(v.abs()));
        Self::Close(vec![largest * slack; expected.data.len()], Tolerance::F32)
    }

    /// Compares.
    ///
    /// # Errors
    /// What differs most, in words.
    pub fn compare(&self, found: &[f32], expected: &RefTensor) -> Result<(), String> {
        if found.len() != expected.data.len() {
            let (found, expected) = (found.len(), expected.data.len());
            return Err(format!("{found} elements instead of {expected}"));
        }
        let pairs = || {
            found
                .iter()
                .map(|v| f64::from(*v))
                .zip(expected.data.iter().copied())
        };
        for (i, (found, expected)) in pairs().enumerate() {
            let same_kind = if expected.is_finite() {
                found.is_finite()
            } else {
                found == expected || found.is_nan() && expected.is_nan()
            };
            if !same_kind {
                return Err(format!("element {i} is {found} instead of {expected}"));
            }
        }
        let finite = |(_, (_, expected)): &(usize, (f64, f64))| expected.is_finite();
        let finite = || pairs().enumerate().filter(finite);
        match self {
            Self::Exact | Self::Mask(_) => {
                let excused = |i: usize| matches!(self, Self::Mask(unsure) if unsure[i]);
                for (i, (found, expected)) in finite() {
                    if found != expected && !excused(i) {
                        return Err(format!(
                            "element {i} is {found} instead of {expected}, exactly"
                        ));
                    }
                }
            }
            Self::Close(scale, tolerance) => {
                let Tolerance { nmse, relative } = tolerance;
                for (i, (found, expected)) in finite() {
                    let (error, scale) = ((found - expected).abs(), scale[i]);
                    // Below the normal numbers of f32 there is no relative precision.
                    if error > relative * scale + f64::from(f32::MIN_POSITIVE) {
                        let error = error / scale;
                        return Err(format!(
                            "element {i} is {found} instead of {expected}: an error of {error:.1e} of its terms, {relative:.0e} is allowed"
                        ));
                    }
                }
                let error: f64 = finite().map(|(_, (a, b))| (a - b).powi(2)).sum();
                let size: f64 = finite().map(|(_, (_, b))| b * b).sum();
                if error > nmse * size + f64::from(f32::MIN_POSITIVE) {
                    return Err(format!(
                        "a normalised squared error of {:.1e}, {nmse:.0e} is allowed",
                        error / size
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(data: &[f64]) -> RefTensor {
        RefTensor::new([data.len()], data.to_vec())
    }

    #[test]
    fn kinds_must_match() {
        let expected = row(&[f64::NAN, f64::INFINITY, 1.0]);
        for check in [Check::Exact, Check::close_to_largest(&expected, 1.0)] {
            let ok = |found: [f32; 3]| check.compare(&found, &expected).is_ok();
            assert!(ok([f32::NAN, f32::INFINITY, 1.0]));
            assert!(!ok([0.0, f32::INFINITY, 1.0]));
            assert!(!ok([f32::NAN, f32::NEG_INFINITY, 1.0]));
            assert!(!ok([f32::NAN, f32::INFINITY, f32::NAN]));
            assert!(!ok([f32::NAN, f32::MAX, 1.0]));
        }
    }

    #[test]
    fn an_error_is_measured_by_its_terms() {
        // The terms cancel: an error is judged by their size, not by the sum's.
        let expected = row(&[1e-3, 1000.0]);
        let check = Check::Close(vec![1e4, 1e4], Tolerance::F32);
        assert!(check.compare(&[1.5e-3, 1000.0], &expected).is_ok());
        assert!(check.compare(&[2e-2, 1000.0], &expected).is_err());
        // Each element is in bounds, all of them together are not.
        let check = Check::Close(vec![1e6, 1e6], Tolerance::F32);
        assert!(check.compare(&[1e-3, 1000.5], &expected).is_err());
    }

    #[test]
    fn a_mask_is_exact_away_from_bounds() {
        let expected = row(&[0.0, 1.0]);
        let check = Check::Mask(vec![true, false]);
        assert!(check.compare(&[1.0, 1.0], &expected).is_ok());
        assert!(check.compare(&[0.0, 0.0], &expected).is_err());
    }
}
