//! What is said of samples.

/// The value that so large a share of the values is below, between neighbours
/// in proportion; `None` where there is none.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = share.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// How many times as long one took as the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ratio {
    /// Of the medians.
    pub(crate) median: f64,
    /// The 10th and 90th percentile of the rounds' ratios.
    pub(crate) spread: [f64; 2],
}

/// The ratio of `theirs` to `ours`, of which each round has one.
pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> Option<Ratio> {
    let rounds: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| b / a).collect();
    Some(Ratio {
        median: median(theirs)? / median(ours)?,
        spread: [quantile(&rounds, 0.1)?, quantile(&rounds, 0.9)?],
    })
}

/// The L2 norm of the difference over that of `expected`; infinite where the
/// lengths differ or a number is none.
pub(crate) fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let square = |v: f64| v * v;
    let difference = found.iter().zip(expected);
    let difference: f64 = difference
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    let norm: f64 = expected.iter().map(|v| square(f64::from(*v))).sum();
    let distance = (difference / norm).sqrt();
    if found.len() == expected.len() && distance.is_finite() {
        distance
    } else {
        f64::INFINITY
    }
}

/// The `x` at which a falling curve through these points, straight between
/// logarithms, has come down to `y`; beyond the last one it goes on as before.
pub(crate) fn crossing(points: &[(f64, f64)], y: f64) -> Option<f64> {
    let mut points = points.to_vec();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let last = points.len().checked_sub(2)?;
    let i = (0..=last).find(|&i| points[i + 1].1 <= y).unwrap_or(last);
    let [(x0, y0), (x1, y1)] = [points[i], points[i + 1]];
    let slope = (x1 / x0).ln() / (y1 / y0).ln();
    Some(x0 * ((y / y0).ln() * slope).exp()).filter(|x| x.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0], 0.9), Some(3.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&values), Some(3.0));
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&values, 0.125), Some(1.5));
        assert_eq!(quantile(&values, 1.0), Some(5.0));
    }

    #[test]
    fn ratios_are_of_medians_and_spread_over_rounds() {
        let found = ratio(&[1.0, 2.0, 1.0], &[3.0, 4.0, 2.0]).unwrap();
        assert_eq!(found.median, 3.0);
        // The rounds' ratios are 3, 2 and 2.
        assert_eq!(found.spread, [2.0, 2.8]);
        assert_eq!(ratio(&[], &[]), None);
    }

    #[test]
    fn distances_are_relative() {
        assert_eq!(distance(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(distance(&[0.0, 0.0], &[3.0, 4.0]), 1.0);
        assert_eq!(distance(&[f32::NAN], &[1.0]), f64::INFINITY);
        assert_eq!(distance(&[1.0], &[1.0, 1.0]), f64::INFINITY);
        assert_eq!(distance(&[1.0], &[0.0]), f64::INFINITY);
    }

    #[test]
    fn curves_are_straight_between_logarithms() {
        // y = 8 / sqrt(x)
        let points = [(16.0, 2.0), (4.0, 4.0), (64.0, 1.0)];
        for (y, x) in [
            (4.0, 4.0),
            (2.0, 16.0),
            (1.0, 64.0),
            (0.5, 256.0),
            (8.0, 1.0),
        ] {
            let found = crossing(&points, y).unwrap();
            assert!((found / x - 1.0).abs() < 1e-12, "{y}: {found}");
        }
        assert_eq!(crossing(&points[..1], 1.0), None);
    }
}
