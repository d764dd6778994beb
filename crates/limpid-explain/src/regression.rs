//! Weighted linear regressions with few unknowns: what LIME and KernelSHAP fit.

use crate::InputError;
use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

/// Weighted rows of predictors and one or more targets, of which only sums are
/// kept: memory does not grow with the number of rows.
///
/// ```
/// use limpid_explain::regression::Samples;
/// // y = 2 a - b + 3
/// let mut samples = Samples::new(2, 1)?;
/// for (row, y) in [([0., 0.], 3.), ([1., 0.], 5.), ([0., 1.], 2.), ([1., 1.], 4.)] {
///     samples.add(&row, &[y], 1.0)?;
/// }
/// let fit = &samples.ridge(0.0)?[0];
/// assert!((fit.coefficients[0] - 2.0).abs() < 1e-12);
/// assert!((fit.coefficients[1] + 1.0).abs() < 1e-12);
/// assert!((fit.intercept - 3.0).abs() < 1e-12);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Samples {
    /// The sum of weights.
    total: f64,
    /// Means of the predictors and of the targets.
    means: DVector<f64>,
    target_means: DVector<f64>,
    /// Sums of products of predictors, less their means; the lower triangle.
    gram: DMatrix<f64>,
    /// The same of predictors (rows) and targets (columns).
    products: DMatrix<f64>,
    /// The row at hand, less the means.
    row: DVector<f64>,
    targets: DVector<f64>,
}

/// A linear function.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// One factor for each predictor.
    pub coefficients: Vec<f64>,
    /// Its value where all predictors are zero.
    pub intercept: f64,
}

impl Samples {
    /// The most predictors: their products take half a gigabyte.
    pub const MOST: usize = 8192;

    /// No rows yet, of `predictors` and `targets` numbers each.
    ///
    /// # Errors
    /// When there are no predictors or more than [`MOST`](Self::MOST).
    pub fn new(predictors: usize, targets: usize) -> Result<Self, InputError> {
        if !(1..=Self::MOST).contains(&predictors) {
            let expected = format!("from 1 to {}", Self::MOST);
            return Err(InputError::invalid(
                "the number of predictors",
                expected,
                predictors,
            ));
        }
        Ok(Self {
            total: 0.0,
            means: DVector::zeros(predictors),
            target_means: DVector::zeros(targets),
            gram: DMatrix::zeros(predictors, predictors),
            products: DMatrix::zeros(predictors, targets),
            row: DVector::zeros(predictors),
            targets: DVector::zeros(targets),
        })
    }

    /// Adds a row and its targets.
    ///
    /// # Errors
    /// When there are other numbers of either, one is not finite, or the weight
    /// is negative.
    pub fn add(&mut self, row: &[f64], targets: &[f64], weight: f64) -> Result<(), InputError> {
        InputError::check_length("a row of predictors", self.means.len(), row.len())?;
        InputError::check_length("a row of targets", self.target_means.len(), targets.len())?;
        InputError::check_finite("a predictor", row)?;
        InputError::check_finite("a target", targets)?;
        if !(weight >= 0.0 && weight.is_finite()) {
            return Err(InputError::invalid(
                "a weight",
                "finite, at least 0",
                weight,
            ));
        }
        if weight == 0.0 {
            return Ok(());
        }
        // Welford's update of means and sums of products.
        self.row.copy_from_slice(row);
        self.row -= &self.means;
        self.targets.copy_from_slice(targets);
        self.targets -= &self.target_means;
        self.total += weight;
        let share = weight / self.total;
        let rest = weight * (1.0 - share);
        self.gram.syger(rest, &self.row, &self.row, 1.0);
        self.products.ger(rest, &self.row, &self.targets, 1.0);
        self.means.axpy(share, &self.row, 1.0);
        self.target_means.axpy(share, &self.targets, 1.0);
        Ok(())
    }

    /// Ridge regression of each target: the minimum of
    /// `sum w (y - intercept - row . coefficients)^2 + penalty |coefficients|^2`.
    ///
    /// # Errors
    /// When `penalty` is negative or the solution is not unique.
    pub fn ridge(&self, penalty: f64) -> Result<Vec<Fit>, InputError> {
        self.check(penalty)?;
        let mut gram = self.gram.clone();
        for i in 0..self.means.len() {
            gram[(i, i)] += penalty;
        }
        let solved = factor(gram)?.solve(&self.products);
        Ok((0..self.target_means.len())
            .map(|k| self.fit(k, solved.column(k).into_owned()))
            .collect())
    }

    /// The lasso of each target: the minimum of
    /// `sum w (y - intercept - row . coefficients)^2 / (2 sum w) + penalty |coefficients|_1`,
    /// by cyclic coordinate descent until no coefficient moves by more than
    /// 1e-10 of the largest.
    ///
    /// # Errors
    /// When `penalty` is negative or the descent takes more than 10,000 rounds.
    pub fn lasso(&self, penalty: f64) -> Result<Vec<Fit>, InputError> {
        self.check(penalty)?;
        let mut gram = self.gram.clone();
        gram.fill_upper_triangle_with_lower_triangle();
        (0..self.target_means.len())
            .map(|k| {
                let products = self.products.column(k).into_owned();
                Ok(self.fit(k, descend(&gram, products, penalty * self.total)?))
            })
            .collect()
    }

    /// Least squares of each target without an intercept, with coefficients that
    /// add up to `totals` exactly: the minimum of `sum w (y - row . coefficients)^2`
    /// on that plane.
    ///
    /// ```
    /// use limpid_explain::regression::Samples;
    /// let mut samples = Samples::new(2, 1)?;
    /// samples.add(&[1., 0.], &[1.], 1.0)?;
    /// samples.add(&[0., 1.], &[2.], 1.0)?;
    /// let found = &samples.with_sums(&[4.0])?[0];
    /// assert!((found[0] - 1.5).abs() < 1e-12 && (found[1] - 2.5).abs() < 1e-12);
    /// # Ok::<(), limpid_explain::InputError>(())
    /// ```
    ///
    /// # Errors
    /// When there is not one total for each target or the solution is not unique.
    pub fn with_sums(&self, totals: &[f64]) -> Result<Vec<Vec<f64>>, InputError> {
        InputError::check_length("the totals", self.target_means.len(), totals.len())?;
        InputError::check_finite("the totals", totals)?;
        // The last coefficient is the total less the others: it is eliminated.
        let last = self.means.len() - 1;
        let product = |i: usize, j: usize| {
            self.gram[(i.max(j), i.min(j))] + self.total * self.means[i] * self.means[j]
        };
        let with_target = |i: usize, k: usize| {
            self.products[(i, k)] + self.total * self.means[i] * self.target_means[k]
        };
        let edge: Vec<f64> = (0..=last).map(|i| product(i, last)).collect();
        let less_last = |i: usize, j: usize| product(i, j) - edge[i] - edge[j] + edge[last];
        let right = |i: usize, k: usize| {
            with_target(i, k) - with_target(last, k) - totals[k] * (edge[i] - edge[last])
        };
        let solved = match last {
            0 => DMatrix::zeros(0, totals.len()),
            n => factor(DMatrix::from_fn(n, n, less_last))?.solve(&DMatrix::from_fn(
                n,
                totals.len(),
                right,
            )),
        };
        let coefficients = |k: usize| {
            let mut all: Vec<f64> = solved.column(k).iter().copied().collect();
            all.push(totals[k] - all.iter().sum::<f64>());
            all
        };
        Ok((0..totals.len()).map(coefficients).collect())
    }

    fn check(&self, penalty: f64) -> Result<(), InputError> {
        if self.total <= 0.0 {
            return Err(InputError::Singular);
        }
        if !(penalty >= 0.0 && penalty.is_finite()) {
            return Err(InputError::invalid(
                "the penalty",
                "finite, at least 0",
                penalty,
            ));
        }
        Ok(())
    }

    fn fit(&self, target: usize, coefficients: DVector<f64>) -> Fit {
        Fit {
            intercept: self.target_means[target] - self.means.dot(&coefficients),
            coefficients: coefficients.iter().copied().collect(),
        }
    }
}

/// The minimum of `c . gram . c / 2 - c . products + threshold |c|_1`.
fn descend(
    gram: &DMatrix<f64>,
    products: DVector<f64>,
    threshold: f64,
) -> Result<DVector<f64>, InputError> {
    const ROUNDS: usize = 10_000;
    let mut coefficients = DVector::<f64>::zeros(products.len());
    // The products of each predictor with what is left of the target.
    let mut left = products;
    for _ in 0..ROUNDS {
        let (mut largest, mut moved) = (0.0f64, 0.0f64);
        for j in 0..coefficients.len() {
            let norm = gram[(j, j)];
            if norm <= 0.0 {
                continue;
            }
            let pull = left[j] + norm * coefficients[j];
            let new = (pull.abs() - threshold).max(0.0).copysign(pull) / norm;
            let step = new - coefficients[j];
            if step != 0.0 {
                left.axpy(-step, &gram.column(j), 1.0);
                coefficients[j] = new;
            }
            largest = largest.max(new.abs());
            moved = moved.max(step.abs());
        }
        if moved <= 1e-10 * largest {
            return Ok(coefficients);
        }
    }
    Err(InputError::NotConverged {
        what: "the lasso",
        iterations: ROUNDS,
    })
}

/// The Cholesky factor of a symmetric matrix that is not nearly singular; only
/// its lower triangle is read.
fn factor(matrix: DMatrix<f64>) -> Result<Cholesky<f64, Dyn>, InputError> {
    let diagonal = matrix.diagonal();
    let factor = Cholesky::new(matrix).ok_or(InputError::Singular)?;
    // A pivot far below its diagonal entry is what rounding left of zero.
    let lower = factor.l_dirty();
    let is_lost = |i: usize| lower[(i, i)].powi(2) <= 1e-12 * diagonal[i];
    match (0..diagonal.len()).any(is_lost) {
        true => Err(InputError::Singular),
        false => Ok(factor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        columns: usize,
        x: Vec<f64>,
        y: Vec<f64>,
        weights: Vec<f64>,
        ridge: Vec<(f64, Vec<f64>, f64)>,
        lasso: Vec<(f64, Vec<f64>, f64)>,
        with_sum: (f64, Vec<f64>),
    }

    fn samples<const N: usize>(
        rows: &[f64],
        columns: usize,
        targets: &[[f64; N]],
        weights: &[f64],
    ) -> Samples {
        let mut samples = Samples::new(columns, N).unwrap();
        for ((row, y), w) in rows.chunks(columns).zip(targets).zip(weights) {
            samples.add(row, y, *w).unwrap();
        }
        samples
    }

    fn close(found: &[f64], expected: &[f64], tolerance: f64) {
        let scale = expected.iter().fold(1e-9f64, |m, v| m.max(v.abs()));
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= tolerance * scale, "{a} {b}");
        }
    }

    #[test]
    fn fits_equal_those_of_scikit_learn() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/regression/cases.json"
        );
        let cases: Vec<Case> =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(cases.len() >= 4);
        for case in &cases {
            // A second target, which must not disturb the first.
            let ys: Vec<[f64; 2]> = case.y.iter().map(|y| [*y, 1.0 - 2.0 * y]).collect();
            let samples = samples(&case.x, case.columns, &ys, &case.weights);
            for (penalty, coefficients, intercept) in &case.ridge {
                let fits = samples.ridge(*penalty).unwrap();
                close(&fits[0].coefficients, coefficients, 1e-9);
                close(&[fits[0].intercept], &[*intercept], 1e-9);
                close(&[fits[1].intercept], &[1.0 - 2.0 * intercept], 1e-9);
            }
            for (penalty, coefficients, intercept) in &case.lasso {
                let fit = samples.lasso(*penalty).unwrap().remove(0);
                close(&fit.coefficients, coefficients, 1e-7);
                close(&[fit.intercept], &[*intercept], 1e-7);
                let zeros = |c: &[f64]| c.iter().map(|v| *v == 0.0).collect::<Vec<_>>();
                assert_eq!(zeros(&fit.coefficients), zeros(coefficients));
            }
            let (total, coefficients) = &case.with_sum;
            let found = samples.with_sums(&[*total, 3.0]).unwrap();
            close(&found[0], coefficients, 1e-8);
            for (found, total) in found.iter().zip([*total, 3.0]) {
                assert!((found.iter().sum::<f64>() - total).abs() < 1e-12 * total.abs().max(1.0));
            }
        }
    }

    #[test]
    fn what_is_not_determined_is_an_error() {
        // The second predictor repeats the first.
        let y = [[1.0], [2.0], [3.0]];
        let twice = samples(&[1., 1., 2., 2., 4., 4.], 2, &y, &[1.0, 0.3, 0.7]);
        assert!(matches!(twice.ridge(0.0), Err(InputError::Singular)));
        assert!(matches!(twice.with_sums(&[1.0]), Err(InputError::Singular)));
        let fit = twice.ridge(1e-3).unwrap().remove(0);
        assert!((fit.coefficients[0] - fit.coefficients[1]).abs() < 1e-9);
        twice.lasso(1e-3).unwrap();
        // A constant predictor has no coefficient without a penalty.
        let constant = samples(&[2.0; 3], 1, &y, &[1.0; 3]);
        assert!(constant.ridge(0.0).is_err());
        assert_eq!(constant.ridge(1.0).unwrap()[0].coefficients, [0.0]);
        assert_eq!(constant.lasso(1.0).unwrap()[0].coefficients, [0.0]);
        assert_eq!(constant.with_sums(&[5.0]).unwrap(), [[5.0]]);
        // Nor do no rows determine anything.
        let empty = Samples::new(2, 1).unwrap();
        assert!(empty.ridge(1.0).is_err() && empty.lasso(1.0).is_err());
        assert!(empty.with_sums(&[1.0]).is_err());
    }

    #[test]
    fn refuses_wrong_sizes_and_numbers() {
        assert!(Samples::new(0, 1).is_err());
        assert!(Samples::new(usize::MAX, 1).is_err());
        let mut samples = Samples::new(1, 1).unwrap();
        assert!(samples.add(&[1.0; 2], &[1.0], 1.0).is_err());
        assert!(samples.add(&[1.0], &[], 1.0).is_err());
        assert!(samples.add(&[1.0], &[1.0], -1.0).is_err());
        assert!(samples.add(&[f64::NAN], &[1.0], 1.0).is_err());
        assert!(samples.add(&[1.0], &[f64::INFINITY], 1.0).is_err());
        assert!(samples.ridge(-1.0).is_err());
        samples.add(&[1.0], &[2.0], 1.0).unwrap();
        assert!(samples.ridge(f64::NAN).is_err());
        assert!(samples.with_sums(&[]).is_err());
    }
}
