//! Maps that weight whole channels by their gradients.

use super::grid_map::channels;
use super::{GradientRule, GridMap};
use limpid_tensor::Tensor;

/// The sum over channels of weight times activation.
pub(super) fn weighted_sum(activation: &Tensor, weights: &[f64]) -> GridMap {
    let plane = channels(activation).next().map_or(0, <[f32]>::len);
    let mut sum = vec![0.0f64; plane];
    for (channel, weight) in channels(activation).zip(weights) {
        for (s, a) in sum.iter_mut().zip(channel) {
            *s += weight * f64::from(*a);
        }
    }
    GridMap::on(activation, sum)
}

/// The map whose weights `weigh` makes of each channel's activations and
/// gradients.
fn weighted(
    activation: &Tensor,
    gradient: &Tensor,
    weigh: impl Fn(&[f32], &[f32]) -> f64,
) -> GridMap {
    let pairs = channels(activation).zip(channels(gradient));
    let weights: Vec<f64> = pairs.map(|(a, g)| weigh(a, g)).collect();
    weighted_sum(activation, &weights)
}

/// The sum in f64, in eight parts.
fn sum(values: &[f32]) -> f64 {
    let mut parts = [0.0f64; 8];
    for chunk in values.chunks(8) {
        for (part, v) in parts.iter_mut().zip(chunk) {
            *part += f64::from(*v);
        }
    }
    parts.iter().sum()
}

/// Grad-CAM: w = mean of g over the grid.
#[derive(Debug, Clone, Copy, Default)]
pub struct MeanGradient;

/// Grad-CAM: a layer's channels A, weighted by the spatial mean of the score's
/// gradient g with respect to them (Selvaraju et al., ICCV 2017). The map is
/// ReLU(sum_c w_c A_c).
///
/// ```
/// use limpid_explain::{Explainer, methods::GradCam};
/// let method = GradCam::new().layer("blocks.4").relu(false);
/// assert_eq!(method.id(), "grad-cam");
/// ```
pub type GradCam = super::Cam<MeanGradient>;

impl GradientRule for MeanGradient {
    const ID: &'static str = "grad-cam";
    const RELU: Option<bool> = Some(true);
    const SUMMARY: &'static str = "a layer's channels weighted by the mean of the score's gradient; on the layer's grid, not normalised, negative sums cut off (relu=false keeps them)";

    fn map(activation: &Tensor, gradient: &Tensor) -> GridMap {
        weighted(activation, gradient, |_, g| sum(g) / g.len() as f64)
    }
}

/// Grad-CAM++: w = sum over the grid of relu(g) / (2 + g sum A).
#[derive(Debug, Clone, Copy, Default)]
pub struct HigherOrderGradient;

/// Grad-CAM++: channels weighted by sum_p alpha_p relu(g_p) with
/// alpha = g^2 / (2 g^2 + g^3 sum_q A_q) (Chattopadhay et al., WACV 2018).
///
/// The coefficients alpha are derived for exp(score), whose derivatives of
/// order n are exp(score) g^n in a network of ReLUs; the factor exp(score),
/// common to all weights, is left out. A cell without gradient has no weight.
///
/// ```
/// use limpid_explain::{Explainer, methods::GradCamPlusPlus};
/// assert_eq!(GradCamPlusPlus::new().id(), "grad-cam++");
/// ```
pub type GradCamPlusPlus = super::Cam<HigherOrderGradient>;

impl GradientRule for HigherOrderGradient {
    const ID: &'static str = "grad-cam++";
    const RELU: Option<bool> = Some(true);
    const SUMMARY: &'static str = "a layer's channels weighted by the score's positive gradients, each with the coefficient that second and third derivatives of exp(score) give it; negative sums cut off (relu=false keeps them)";

    fn map(activation: &Tensor, gradient: &Tensor) -> GridMap {
        weighted(activation, gradient, |a, g| {
            let total = sum(a);
            let positive = g.iter().map(|g| f64::from(*g)).filter(|g| *g > 0.0);
            let weight = |g: f64| match 2.0 + g * total {
                0.0 => 0.0,
                denominator => g / denominator,
            };
            positive.map(weight).sum()
        })
    }
}

/// XGrad-CAM: w = sum of g A over sum of A.
#[derive(Debug, Clone, Copy, Default)]
pub struct AxiomaticWeights;

/// XGrad-CAM: channels weighted by sum_p g_p A_p / sum_p A_p, the weights that
/// sensitivity and conservation ask for (Fu et al., BMVC 2020). A channel whose
/// activations add up to zero has no weight.
///
/// ```
/// use limpid_explain::{Explainer, methods::XGradCam};
/// assert_eq!(XGradCam::new().id(), "xgrad-cam");
/// ```
pub type XGradCam = super::Cam<AxiomaticWeights>;

impl GradientRule for AxiomaticWeights {
    const ID: &'static str = "xgrad-cam";
    const RELU: Option<bool> = Some(true);
    const SUMMARY: &'static str = "a layer's channels weighted by the mean of the score's gradient, each cell counting by its share of the channel's activation; negative sums cut off (relu=false keeps them)";

    fn map(activation: &Tensor, gradient: &Tensor) -> GridMap {
        weighted(activation, gradient, |a, g| {
            let products = a.iter().zip(g).map(|(a, g)| f64::from(*a) * f64::from(*g));
            match sum(a) {
                0.0 => 0.0,
                total => products.sum::<f64>() / total,
            }
        })
    }
}
