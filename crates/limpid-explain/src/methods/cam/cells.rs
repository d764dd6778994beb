//! Maps that weight each cell of a channel by its own gradient.

use super::grid_map::channels;
use super::{GradientRule, GridMap};
use limpid_tensor::Tensor;

/// The sum over channels of `term(activation, gradient)`.
fn summed(activation: &Tensor, gradient: &Tensor, term: impl Fn(f64, f64) -> f64) -> GridMap {
    let mut sum = vec![0.0; channels(activation).next().map_or(0, <[f32]>::len)];
    for (a, g) in channels(activation).zip(channels(gradient)) {
        for (s, (a, g)) in sum.iter_mut().zip(a.iter().zip(g)) {
            *s += term(f64::from(*a), f64::from(*g));
        }
    }
    GridMap::on(activation, sum)
}

/// HiResCAM: sum of g A.
#[derive(Debug, Clone, Copy, Default)]
pub struct GradientTimesActivation;

/// HiResCAM: the sum over channels of gradient times activation, cell by cell,
/// without the averaging that Grad-CAM does (Draelos and Carin, 2020). Before
/// negative sums are cut off, it adds up to the score less its bias where one
/// linear layer follows.
///
/// ```
/// use limpid_explain::{Explainer, methods::HiResCam};
/// assert_eq!(HiResCam::new().id(), "hires-cam");
/// ```
pub type HiResCam = super::Cam<GradientTimesActivation>;

impl GradientRule for GradientTimesActivation {
    const ID: &'static str = "hires-cam";
    const RELU: Option<bool> = Some(true);
    const SUMMARY: &'static str = "the sum over a layer's channels of gradient times activation, cell by cell; negative sums cut off (relu=false keeps them)";

    fn map(activation: &Tensor, gradient: &Tensor) -> GridMap {
        summed(activation, gradient, |a, g| g * a)
    }
}

/// Element-wise CAM: sum of relu(g A).
#[derive(Debug, Clone, Copy, Default)]
pub struct PositiveProducts;

/// Element-wise CAM: the sum over channels of the positive products of gradient
/// and activation, as pytorch-grad-cam's `GradCAMElementWise`.
///
/// ```
/// use limpid_explain::{Explainer, methods::ElementWiseCam};
/// assert_eq!(ElementWiseCam::new().id(), "element-wise-cam");
/// ```
pub type ElementWiseCam = super::Cam<PositiveProducts>;

impl GradientRule for PositiveProducts {
    const ID: &'static str = "element-wise-cam";
    const RELU: Option<bool> = None;
    const SUMMARY: &'static str = "the sum over a layer's channels of the positive products of gradient and activation: each negative product is cut off, so no sum is negative";

    fn map(activation: &Tensor, gradient: &Tensor) -> GridMap {
        summed(activation, gradient, |a, g| (g * a).max(0.0))
    }
}

/// LayerCAM: sum of relu(g) A.
#[derive(Debug, Clone, Copy, Default)]
pub struct PositiveGradient;

/// LayerCAM: the sum over channels of positive gradient times activation, cell
/// by cell, which keeps the detail of early layers (Jiang et al., TIP 2021).
///
/// ```
/// use limpid_explain::{Explainer, methods::{Fuse, LayerCam}};
/// let method = LayerCam::new().layer("blocks.2,blocks.4,bn2").fuse(Fuse::Max);
/// assert_eq!(method.id(), "layer-cam");
/// ```
pub type LayerCam = super::Cam<PositiveGradient>;

impl GradientRule for PositiveGradient {
    const ID: &'static str = "layer-cam";
    const RELU: Option<bool> = Some(true);
    const SUMMARY: &'static str = "the sum over a layer's channels of positive gradient times activation, cell by cell; negative sums cut off (relu=false keeps them)";

    fn map(activation: &Tensor, gradient: &Tensor) -> GridMap {
        summed(activation, gradient, |a, g| g.max(0.0) * a)
    }
}
