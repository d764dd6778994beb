//! Maps that are the first principal component of a layer.

use super::grid_map::extents;
use super::{CamRule, GridMap, Listed, activations, by_gradients};
use crate::params::Given;
use crate::{Context, ExplainError, InputError, ParamInfo, ParamKind, Parameters, Request};
use limpid_tensor::Tensor;
use nalgebra::{DMatrix, DVector, SymmetricEigen};

/// Iterations of the eigenvalue algorithm, at most.
const ITERATIONS: usize = 10_000;

/// The projection of `values`, cells by channels, on their first right singular
/// vector, after the subtraction of each channel's mean if `centre`. Its sign is
/// such that its product with the sum over channels is positive.
fn projection(mut values: DMatrix<f64>, centre: bool) -> Result<Vec<f64>, ExplainError> {
    let sums: Vec<f64> = values.row_iter().map(|row| row.sum()).collect();
    if centre {
        for mut channel in values.column_iter_mut() {
            let mean = channel.mean();
            channel.add_scalar_mut(-mean);
        }
    }
    // The smaller of the two Gram matrices has the same eigenvalues.
    let (cells, channels) = values.shape();
    let mut projection: DVector<f64> = if channels <= cells {
        let (_, vector) = largest_eigenvector(values.tr_mul(&values))?;
        &values * vector
    } else {
        let (value, vector) = largest_eigenvector(&values * values.transpose())?;
        vector * value.max(0.0).sqrt()
    };
    let product: f64 = projection.iter().zip(&sums).map(|(p, s)| p * s).sum();
    if product < 0.0 {
        projection.neg_mut();
    }
    Ok(projection.as_slice().to_vec())
}

fn largest_eigenvector(gram: DMatrix<f64>) -> Result<(f64, DVector<f64>), ExplainError> {
    let solved = SymmetricEigen::try_new(gram, f64::EPSILON, ITERATIONS);
    let solved = solved.ok_or(InputError::NotConverged {
        what: "the decomposition of a layer's output",
        iterations: ITERATIONS,
    })?;
    let (at, value) = solved.eigenvalues.argmax();
    Ok((value, solved.eigenvectors.column(at).into_owned()))
}

/// A layer's values in f64, cells by channels.
fn cells_by_channels(layer: &Tensor, value: impl Fn(usize) -> f64) -> DMatrix<f64> {
    let [channels, rows, columns] = extents(layer);
    let values = (0..layer.data().len()).map(value);
    DMatrix::from_iterator(rows * columns, channels, values)
}

/// The builder and the parameter that both rules have, and what is listed of them.
macro_rules! centred {
    ($rule:ty, $summary:literal) => {
        impl Default for $rule {
            fn default() -> Self {
                Self { centre: true }
            }
        }

        impl super::Cam<$rule> {
            /// With or without the subtraction of each channel's mean.
            #[must_use]
            pub fn centre(mut self, centre: bool) -> Self {
                self.rule.centre = centre;
                self
            }
        }

        impl Listed for $rule {
            const SUMMARY: &'static str = $summary;

            fn params() -> Vec<ParamInfo> {
                vec![ParamInfo::new(
                    "centre",
                    ParamKind::Bool,
                    true,
                    "whether each channel's mean is subtracted first, as principal components want it; the paper's formula leaves it in",
                )]
            }

            fn given(given: &Given) -> Result<Self, ExplainError> {
                let default = Self::default();
                Ok(Self {
                    centre: given.bool("centre").unwrap_or(default.centre),
                })
            }
        }
    };
}

/// Eigen-CAM: the first principal component of A.
#[derive(Debug, Clone, Copy)]
pub struct PrincipalActivation {
    centre: bool,
}

/// Eigen-CAM: the layer's output, projected on the first principal component
/// of its channels (Muhammad and Yeasin, IJCNN 2020). It does not depend on the
/// score: every objective gets the same map.
///
/// The sign of a principal component is arbitrary; here the map correlates
/// positively with the sum of the layer's activations over channels.
///
/// ```
/// use limpid_explain::{Explainer, methods::EigenCam};
/// assert_eq!(EigenCam::new().centre(false).id(), "eigen-cam");
/// ```
pub type EigenCam = super::Cam<PrincipalActivation>;

centred!(
    PrincipalActivation,
    "a layer's output, projected on its first principal component, whatever the class; the sign is that of the correlation with the sum over channels; negative values kept (relu=true cuts them off)"
);

impl CamRule for PrincipalActivation {
    const ID: &'static str = "eigen-cam";
    const RELU: Option<bool> = Some(false);

    fn parameters(&self) -> Parameters {
        Parameters::from_iter([("centre".to_owned(), self.centre.into())])
    }

    fn maps(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        layers: &[String],
    ) -> Result<Vec<Vec<GridMap>>, ExplainError> {
        let mut all = Vec::with_capacity(layers.len());
        for layer in activations::<Self>(cx, request, layers)? {
            cx.check()?;
            let values = cells_by_channels(&layer, |i| f64::from(layer.data()[i]));
            let map = GridMap::on(&layer, projection(values, self.centre)?);
            all.push(vec![map; request.objectives.len()]);
        }
        Ok(all)
    }
}

/// Eigen-Grad-CAM: the first principal component of g A.
#[derive(Debug, Clone, Copy)]
pub struct PrincipalProduct {
    centre: bool,
}

/// Eigen-Grad-CAM: as Eigen-CAM, of gradient times activation, so that it
/// depends on the score; as pytorch-grad-cam's `EigenGradCAM`.
///
/// The sign is such that the map correlates positively with the sum over
/// channels of gradient times activation, which is HiResCAM's map.
///
/// ```
/// use limpid_explain::{Explainer, methods::EigenGradCam};
/// assert_eq!(EigenGradCam::new().id(), "eigen-grad-cam");
/// ```
pub type EigenGradCam = super::Cam<PrincipalProduct>;

centred!(
    PrincipalProduct,
    "gradient times activation of a layer, projected on its first principal component; the sign is that of the correlation with the sum over channels; negative values kept (relu=true cuts them off)"
);

impl CamRule for PrincipalProduct {
    const ID: &'static str = "eigen-grad-cam";
    const RELU: Option<bool> = Some(false);

    fn parameters(&self) -> Parameters {
        Parameters::from_iter([("centre".to_owned(), self.centre.into())])
    }

    fn maps(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        layers: &[String],
    ) -> Result<Vec<Vec<GridMap>>, ExplainError> {
        by_gradients::<Self>(cx, request, layers, |activation, gradient| {
            let (a, g) = (activation.data(), gradient.data());
            let values = cells_by_channels(activation, |i| f64::from(a[i]) * f64::from(g[i]));
            Ok(GridMap::on(activation, projection(values, self.centre)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of rank one, u v^T, project on |v| u with the sum's sign, whether
    /// there are more cells or more channels.
    #[test]
    fn values_of_rank_one_are_projected_on_themselves() {
        let (u, v) = ([1.0, -2.0, 4.0, 0.5], [3.0, -4.0]);
        for (cells, channels) in [(&u[..], &v[..]), (&v[..], &u[..])] {
            let values =
                DMatrix::from_fn(cells.len(), channels.len(), |p, c| cells[p] * channels[c]);
            let norm = channels.iter().map(|c| c * c).sum::<f64>().sqrt();
            let sign = channels.iter().sum::<f64>().signum();
            let found = projection(values, false).unwrap();
            for (f, p) in found.iter().zip(cells) {
                assert!((f - sign * norm * p).abs() < 1e-12, "{found:?}");
            }
        }
    }

    #[test]
    fn centred_projections_add_up_to_zero() {
        let values = DMatrix::from_fn(5, 3, |p, c| ((p * 7 + c * 3) % 5) as f64);
        let found = projection(values, true).unwrap();
        assert!(found.iter().sum::<f64>().abs() < 1e-12, "{found:?}");
        let constant = projection(DMatrix::from_element(4, 2, 3.0), true).unwrap();
        assert_eq!(constant, [0.0; 4]);
    }
}
