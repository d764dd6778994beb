//! Maps that weight each cell of a channel by its own gradient.

use super::grid_map::channels;
use super::{CamRule, GridMap, Listed, by_gradients};
use crate::{Context, ExplainError, Request};

/// The sum over channels of `term(activation, gradient)`.
fn summed<R: CamRule>(
    cx: &mut dyn Context,
    request: &Request<'_>,
    layers: &[String],
    term: impl Fn(f64, f64) -> f64,
) -> Result<Vec<Vec<GridMap>>, ExplainError> {
    by_gradients::<R>(cx, request, layers, |activation, gradient| {
        let mut sum = vec![0.0; channels(activation).next().map_or(0, <[f32]>::len)];
        for (a, g) in channels(activation).zip(channels(gradient)) {
            for (s, (a, g)) in sum.iter_mut().zip(a.iter().zip(g)) {
                *s += term(f64::from(*a), f64::from(*g));
            }
        }
        Ok(GridMap::on(activation, sum))
    })
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

impl CamRule for GradientTimesActivation {
    const ID: &'static str = "hires-cam";
    const RELU: Option<bool> = Some(true);

    fn maps(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        layers: &[String],
    ) -> Result<Vec<Vec<GridMap>>, ExplainError> {
        summed::<Self>(cx, request, layers, |a, g| g * a)
    }
}

impl Listed for GradientTimesActivation {
    const SUMMARY: &'static str = "the sum over a layer's channels of gradient times activation, cell by cell; negative sums cut off (relu=false keeps them)";
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

impl CamRule for PositiveProducts {
    const ID: &'static str = "element-wise-cam";
    const RELU: Option<bool> = None;

    fn maps(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        layers: &[String],
    ) -> Result<Vec<Vec<GridMap>>, ExplainError> {
        summed::<Self>(cx, request, layers, |a, g| (g * a).max(0.0))
    }
}

impl Listed for PositiveProducts {
    const SUMMARY: &'static str = "the sum over a layer's channels of the positive products of gradient and activation: each negative product is cut off, so no sum is negative";
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

impl CamRule for PositiveGradient {
    const ID: &'static str = "layer-cam";
    const RELU: Option<bool> = Some(true);

    fn maps(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        layers: &[String],
    ) -> Result<Vec<Vec<GridMap>>, ExplainError> {
        summed::<Self>(cx, request, layers, |a, g| g.max(0.0) * a)
    }
}

impl Listed for PositiveGradient {
    const SUMMARY: &'static str = "the sum over a layer's channels of positive gradient times activation, cell by cell; negative sums cut off (relu=false keeps them)";
}
