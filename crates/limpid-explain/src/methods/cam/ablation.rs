use super::channels::weighted_sum;
use super::grid_map::extents;
use super::{CamRule, GridMap, Listed, activations};
use crate::{Context, ExplainError, LayerVariants, Request};
use limpid_tensor::Tensor;

/// A score that is smaller than this share of the largest drop is none to
/// divide by.
const NO_SCORE: f64 = 1e-6;

/// Ablation-CAM: w = the score's drop without the channel, as a share of the
/// score.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChannelAblation;

/// Ablation-CAM: channels weighted by (s - s_c) / |s|, where s_c is the score
/// with channel c set to zero (Desai and Ramaswamy, WACV 2020).
///
/// The paper divides by s, whose sign would turn a negative score's map over;
/// here a channel that raises the score always has a positive weight. Where the
/// score is nothing in comparison with the drops, they are not divided. It takes a pass
/// through what follows the layer for each channel.
///
/// ```
/// use limpid_explain::{Explainer, methods::AblationCam};
/// assert_eq!(AblationCam::new().id(), "ablation-cam");
/// ```
pub type AblationCam = super::Cam<ChannelAblation>;

impl ChannelAblation {
    fn of_layer(
        cx: &mut dyn Context,
        request: &Request<'_>,
        name: &str,
        layer: &Tensor,
    ) -> Result<Vec<GridMap>, ExplainError> {
        let [channels, rows, columns] = extents(layer);
        let variants = LayerVariants {
            image: request.image,
            layer: name,
            objectives: request.objectives,
            count: channels + 1,
        };
        // Variant 0 is the layer as it is.
        let scores = cx.layer_scores(&variants, &mut |i, cells| {
            if let Some(c) = i.checked_sub(1) {
                cells[c * rows * columns..][..rows * columns].fill(0.0);
            }
            Ok(())
        })?;
        let objectives = request.objectives.len();
        let map = |objective: usize| {
            let of_objective = scores.iter().skip(objective).step_by(objectives);
            let (score, drops) = drops(of_objective);
            weighted_sum(layer, &shares(score, drops))
        };
        Ok((0..objectives).map(map).collect())
    }
}

/// The first score, and how much less the others are.
fn drops<'a>(mut scores: impl Iterator<Item = &'a f64>) -> (f64, Vec<f64>) {
    let score = scores.next().copied().unwrap_or(0.0);
    (score, scores.map(|s| score - s).collect())
}

/// Drops as shares of a score's absolute value.
fn shares(score: f64, mut drops: Vec<f64>) -> Vec<f64> {
    let largest = drops.iter().fold(0.0, |most: f64, d| most.max(d.abs()));
    if score.abs() > NO_SCORE * largest {
        drops.iter_mut().for_each(|d| *d /= score.abs());
    }
    drops
}

impl CamRule for ChannelAblation {
    const ID: &'static str = "ablation-cam";
    const RELU: Option<bool> = Some(true);

    fn maps(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        layers: &[String],
    ) -> Result<Vec<Vec<GridMap>>, ExplainError> {
        let found = activations::<Self>(cx, request, layers)?;
        let of_layer = |(name, layer): (&String, &Tensor)| Self::of_layer(cx, request, name, layer);
        layers.iter().zip(&found).map(of_layer).collect()
    }
}

impl Listed for ChannelAblation {
    const SUMMARY: &'static str = "a layer's channels weighted by how much of the score is lost without each; negative sums cut off (relu=false keeps them)";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_keep_the_sign_of_the_drop() {
        assert_eq!(shares(4.0, vec![1.0, -2.0]), [0.25, -0.5]);
        assert_eq!(shares(-4.0, vec![1.0, -2.0]), [0.25, -0.5]);
        assert_eq!(shares(0.0, vec![1.0, -2.0]), [1.0, -2.0]);
        assert_eq!(shares(1e-9, vec![1.0, -2.0]), [1.0, -2.0]);
        assert_eq!(shares(0.0, vec![0.0]), [0.0]);
    }
}
