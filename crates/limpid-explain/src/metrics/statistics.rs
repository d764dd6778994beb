//! Means, errors and correlations.

/// The mean of some numbers; `None` where there are none.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard error of the mean: the standard deviation, with n - 1, over the
/// root of n; `None` for fewer than two numbers.
///
/// ```
/// use limpid_explain::metrics::standard_error;
/// assert_eq!(standard_error(&[1.0, 3.0]), Some(1.0));
/// assert_eq!(standard_error(&[1.0]), None);
/// ```
#[must_use]
pub fn standard_error(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Some((squares / (n - 1.0) / n).sqrt())
}

/// Pearson's correlation; `None` where one of both does not vary, or they
/// differ in length.
#[must_use]
pub fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mean_a, mean_b) = (mean(a)?, mean(b).filter(|_| a.len() == b.len())?);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    let norm = (aa * bb).sqrt();
    (norm > 0.0).then(|| (ab / norm).clamp(-1.0, 1.0))
}

/// Spearman's rank correlation; equal values share the mean of their ranks.
/// `None` where one of both does not vary.
///
/// ```
/// use limpid_explain::metrics::spearman;
/// assert_eq!(spearman(&[1.0, 2.0, 9.0], &[0.1, 0.2, 0.3]), Some(1.0));
/// assert_eq!(spearman(&[1.0, 2.0], &[5.0, 5.0]), None);
/// ```
#[must_use]
pub fn spearman(a: &[f32], b: &[f32]) -> Option<f64> {
    pearson(&ranks(a), &ranks(b))
}

/// Ranks from 0, the mean rank for equal values.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let value = values[order[start]];
        let equal = order[start..].iter().take_while(|i| values[**i] == value);
        let end = start + equal.count().max(1);
        for i in &order[start..end] {
            ranks[*i] = (start + end - 1) as f64 / 2.0;
        }
        start = end;
    }
    ranks
}

/// The L2 norm of `a - b` over that of `b`; `None` where `b` is zero.
pub(super) fn relative_l2(a: &[f32], b: &[f32]) -> Option<f64> {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        difference += (f64::from(*a) - f64::from(*b)).powi(2);
        norm += f64::from(*b).powi(2);
    }
    (norm > 0.0).then(|| (difference / norm).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_their_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 0.0]), [2.5, 1.0, 2.5, 0.0]);
        assert_eq!(ranks(&[]), [0.0; 0]);
        // scipy.stats.spearmanr([1, 2, 2, 4, 0], [5, 3, 3, 1, 2])
        let rho = spearman(&[1., 2., 2., 4., 0.], &[5., 3., 3., 1., 2.]).unwrap();
        assert!((rho - -0.368_421_052_631_579).abs() < 1e-12, "{rho}");
    }

    #[test]
    fn correlations_of_lines() {
        let x = [0.0, 1.0, 2.0, 5.0];
        let y = x.map(|v| 3.0 - 2.0 * v);
        assert!((pearson(&x, &y).unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(pearson(&x, &[1.0; 4]), None);
        assert_eq!(pearson(&x, &y[..3]), None);
        assert_eq!(mean(&[]), None);
        assert_eq!(relative_l2(&[1.0, 1.0], &[0.0, 2.0]), Some(0.5f64.sqrt()));
    }
}
