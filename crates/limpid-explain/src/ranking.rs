//! The order of pixels by importance, and areas under curves.

use crate::InputError;

/// The indices of `values` from the largest to the smallest; of equal values
/// the first comes first.
///
/// ```
/// use limpid_explain::ranking::descending;
/// assert_eq!(descending(&[0.5, 2.0, -1.0, 2.0])?, [1, 3, 0, 2]);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
///
/// # Errors
/// When a value is infinite or not a number, or there are 2^32 of them.
pub fn descending(values: &[f32]) -> Result<Vec<u32>, InputError> {
    InputError::check_finite("the map", values)?;
    let n = u32::try_from(values.len())
        .map_err(|_| InputError::invalid("the map", "of less than 2^32 elements", values.len()))?;
    let mut order: Vec<u32> = (0..n).collect();
    let value = |i: &u32| values[*i as usize];
    // -0 and 0 are equal here, as everywhere but in `total_cmp`.
    order.sort_by(|a, b| {
        value(b)
            .partial_cmp(&value(a))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    Ok(order)
}

/// The area under the straight lines between the points (`x`, `y`). Where `x`
/// falls, area counts as negative; fewer than two points have none.
///
/// ```
/// use limpid_explain::ranking::trapezoid;
/// assert_eq!(trapezoid(&[0.0, 0.5, 1.0], &[1.0, 1.0, 0.0])?, 0.75);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
///
/// # Errors
/// When there are more numbers of one than of the other, or one is not finite.
pub fn trapezoid(x: &[f64], y: &[f64]) -> Result<f64, InputError> {
    InputError::check_length("y", x.len(), y.len())?;
    InputError::check_finite("x", x)?;
    InputError::check_finite("y", y)?;
    let areas = x.windows(2).zip(y.windows(2));
    Ok(areas
        .map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0)
        .sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_keep_their_order_and_nan_is_refused() {
        assert_eq!(descending(&[0.0, -0.0, 0.0]).unwrap(), [0, 1, 2]);
        assert!(descending(&[]).unwrap().is_empty());
        let error = descending(&[1.0, f32::NAN]).unwrap_err();
        assert_eq!(error.to_string(), "the map is not finite at element 1");
    }

    #[test]
    fn areas_of_known_curves() {
        let x: Vec<f64> = (0..=1000).map(|i| f64::from(i) / 1000.0).collect();
        let square: Vec<f64> = x.iter().map(|x| x * x).collect();
        // The rule's error is h^2/12 times the difference of the slopes.
        let exact = 1.0 / 3.0 + 1e-6 / 12.0 * 2.0;
        assert!((trapezoid(&x, &square).unwrap() - exact).abs() < 1e-12);
        assert_eq!(trapezoid(&[], &[]).unwrap(), 0.0);
        assert_eq!(trapezoid(&[1.0], &[3.0]).unwrap(), 0.0);
        assert!(trapezoid(&[0.0], &[]).is_err());
    }
}
