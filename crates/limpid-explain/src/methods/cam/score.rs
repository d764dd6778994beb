use super::channels::weighted_sum;
use super::grid_map::channels;
use super::{CamRule, GridMap, Listed, activations};
use crate::methods::Baseline;
use crate::methods::perturb::{HIDDEN, baseline_param, given_baseline, scores_of_masked};
use crate::params::Given;
use crate::{Context, ExplainError, ParamInfo, ParamKind, Parameters, Request};
use limpid_tensor::Tensor;
use serde_json::Value;

/// Score-CAM: w = softmax over channels of the masked pictures' scores.
#[derive(Debug, Clone)]
pub struct MaskScores {
    baseline: Baseline,
    channels: Option<u64>,
}

/// Score-CAM: channels weighted by the score of the picture that they let
/// through, without a gradient (Wang et al., CVPR workshops 2020).
///
/// Each channel is resized bilinearly to the picture and mapped to 0..1 from its
/// least to its largest value; the picture is multiplied with it in normalised
/// space, so that hidden parts are zero there, unless another baseline is
/// asked for. The weights are the softmax over channels of the scores, which the
/// paper's subtraction of the baseline's score does not change. A constant
/// channel has no weight. It takes a forward pass for each channel.
///
/// ```
/// use limpid_explain::{Explainer, methods::{Baseline, ScoreCam}};
/// let method = ScoreCam::new().baseline(Baseline::Blur).channels(100);
/// assert_eq!(method.id(), "score-cam");
/// ```
pub type ScoreCam = super::Cam<MaskScores>;

impl Default for MaskScores {
    fn default() -> Self {
        Self {
            baseline: HIDDEN,
            channels: None,
        }
    }
}

impl ScoreCam {
    /// With hidden parts that show something else.
    #[must_use]
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.rule.baseline = baseline;
        self
    }

    /// With at most so many channels: those that vary most over the grid.
    #[must_use]
    pub fn channels(mut self, most: u64) -> Self {
        self.rule.channels = Some(most);
        self
    }
}

impl MaskScores {
    /// The channels that are masks, in their order.
    fn chosen(&self, layer: &Tensor) -> Vec<usize> {
        let variances: Vec<f64> = channels(layer).map(variance).collect();
        let varies = |c: &usize| variances[*c] > 0.0;
        let mut chosen: Vec<usize> = (0..variances.len()).filter(varies).collect();
        let most = self.channels.unwrap_or(u64::MAX);
        if most < chosen.len() as u64 {
            // The sort is stable: of equals the first are taken.
            chosen.sort_by(|a, b| variances[*b].total_cmp(&variances[*a]));
            chosen.truncate(most as usize);
            chosen.sort_unstable();
        }
        chosen
    }

    fn of_layer(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        layer: &Tensor,
    ) -> Result<Vec<GridMap>, ExplainError> {
        let chosen = self.chosen(layer);
        let [height, width] = [request.image.dims()[1], request.image.dims()[2]];
        let planes: Vec<&[f32]> = channels(layer).collect();
        let mask = |i: u64, mask: &mut [f32]| {
            let values = planes[chosen[i as usize]].iter().map(|v| f64::from(*v));
            let resized = GridMap::on(layer, values.collect()).resized(height, width);
            write_scaled(&resized.values, mask);
        };
        let mut scores = vec![Vec::with_capacity(chosen.len()); request.objectives.len()];
        let masks = 0..chosen.len() as u64;
        scores_of_masked(cx, request, &self.baseline, masks, mask, &mut |_, row| {
            for (scores, score) in scores.iter_mut().zip(row) {
                scores.push(*score);
            }
            Ok(())
        })?;
        let map = |scores: &Vec<f64>| {
            let mut weights = vec![0.0; planes.len()];
            for (c, weight) in chosen.iter().zip(softmax(scores)) {
                weights[*c] = weight;
            }
            weighted_sum(layer, &weights)
        };
        Ok(scores.iter().map(map).collect())
    }
}

fn variance(values: &[f32]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let squares = values.iter().map(|v| (f64::from(*v) - mean).powi(2));
    squares.sum::<f64>() / n
}

/// Values from 0 at the least to 1 at the largest; zeros where all are equal.
fn write_scaled(values: &[f64], into: &mut [f32]) {
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
            (l.min(*v), h.max(*v))
        });
    if high > low {
        for (m, v) in into.iter_mut().zip(values) {
            *m = ((v - low) / (high - low)) as f32;
        }
    }
}

fn softmax(scores: &[f64]) -> impl Iterator<Item = f64> + '_ {
    let largest = scores.iter().fold(f64::NEG_INFINITY, |m, s| m.max(*s));
    let share = move |s: &f64| (s - largest).exp();
    let total: f64 = scores.iter().map(share).sum();
    scores.iter().map(move |s| share(s) / total)
}

impl CamRule for MaskScores {
    const ID: &'static str = "score-cam";
    const RELU: Option<bool> = Some(true);

    fn parameters(&self) -> Parameters {
        Parameters::from_iter([
            ("baseline".to_owned(), self.baseline.name().into()),
            ("channels".to_owned(), self.channels.into()),
        ])
    }

    fn maps(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        layers: &[String],
    ) -> Result<Vec<Vec<GridMap>>, ExplainError> {
        let found = activations::<Self>(cx, request, layers)?;
        found
            .iter()
            .map(|layer| self.of_layer(cx, request, layer))
            .collect()
    }
}

impl Listed for MaskScores {
    const SUMMARY: &'static str = "a layer's channels weighted by the softmax of the scores of the pictures that each of them, as a mask, lets through; negative sums cut off (relu=false keeps them)";

    fn params() -> Vec<ParamInfo> {
        vec![
            ParamInfo::new(
                "channels",
                ParamKind::Integer {
                    min: 1,
                    max: 1 << 20,
                },
                Value::Null,
                "at most so many channels, those that vary most; all where none is given",
            ),
            baseline_param(),
        ]
    }

    fn given(given: &Given) -> Result<Self, ExplainError> {
        Ok(Self {
            baseline: given_baseline(Self::ID, given)?,
            channels: given.integer("channels"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_to_one_whatever_the_scores() {
        for scores in [&[1e4, 1e4 - 1.0, -1e4][..], &[-700.0, -701.0], &[3.0]] {
            let weights: Vec<f64> = softmax(scores).collect();
            assert!(
                (weights.iter().sum::<f64>() - 1.0).abs() < 1e-12,
                "{weights:?}"
            );
        }
        let weights: Vec<f64> = softmax(&[0.0, 3f64.ln()]).collect();
        assert!((weights[1] - 0.75).abs() < 1e-12);
        assert_eq!(softmax(&[]).count(), 0);
    }

    #[test]
    fn the_channels_that_vary_most_are_taken_in_their_order() {
        let data = vec![0., 1., 5., 5., 0., 9., 2., 0.];
        let layer = Tensor::new([4, 1, 2], data).unwrap();
        let chosen = |channels| {
            MaskScores {
                channels,
                ..MaskScores::default()
            }
            .chosen(&layer)
        };
        assert_eq!(chosen(None), [0, 2, 3]);
        assert_eq!(chosen(Some(2)), [2, 3]);
        assert_eq!(chosen(Some(9)), [0, 2, 3]);
    }
}
