use super::metric::scores;
use super::statistics::mean;
use super::{Better, Case, Measurement, Metric, Needs};
use crate::imputation::noisy_linear_imputation;
use crate::ranking::descending;
use crate::{Context, ExplainError};
use serde_json::{Value, json};

/// ROAD: how the probability changes when a share of the pixels, all channels of
/// them, is filled in from its neighbours by noisy linear imputation (Rong et al.,
/// ICML 2022). `road.morf` is the mean change where the most relevant pixels go
/// first, `road.lerf` where the least relevant do, over the shares; `road` is half
/// of their difference, as pytorch-grad-cam has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Road {
    /// The shares of pixels that are removed, in percent.
    pub percentiles: Vec<u32>,
    /// The standard deviation of the noise on what is filled in, in units of the
    /// normalised input.
    pub noise: f64,
}

impl Default for Road {
    /// 10, 20, ... 90 percent at a noise of 0.01.
    fn default() -> Self {
        Self {
            percentiles: (1..10).map(|i| 10 * i).collect(),
            noise: 0.01,
        }
    }
}

impl Road {
    /// The masks of kept pixels for a map: those without the most relevant, then
    /// those without the least relevant ones. As many are removed as reach numpy's
    /// percentile of a map without equal values, whatever values are equal.
    fn kept(&self, map: &[f32]) -> Result<Vec<Vec<bool>>, ExplainError> {
        let order = descending(map)?;
        let without = |removed: &[u32]| {
            let mut kept = vec![true; order.len()];
            for pixel in removed {
                kept[*pixel as usize] = false;
            }
            kept
        };
        let last = order.len().saturating_sub(1);
        let count = |percent: &u32| {
            let below = 100 - (*percent).min(100) as usize;
            order.len() - (below * last).div_ceil(100)
        };
        let most = self.percentiles.iter().map(|p| without(&order[..count(p)]));
        let least = self
            .percentiles
            .iter()
            .map(|p| without(&order[order.len() - count(p)..]));
        Ok(most.chain(least).collect())
    }
}

impl Metric for Road {
    fn id(&self) -> &str {
        "road"
    }

    fn summary(&self) -> &'static str {
        "probability without the least relevant pixels less that without the most relevant, halved"
    }

    fn protocol(&self) -> Value {
        json!({
            "reads": "probability",
            "percent_removed": self.percentiles,
            "order": "descending signed channel sum",
            "imputation": {
                "kind": "linear, 1/6 of direct and 1/12 of diagonal neighbours",
                "noise": self.noise,
            },
            "combined": "mean of (LeRF - MoRF) / 2",
        })
    }

    fn needs(&self) -> Needs {
        Needs::Scores
    }

    fn measure(&self, cx: &mut dyn Context, case: &Case<'_>) -> Result<Measurement, ExplainError> {
        let kept = self.kept(&case.pixels())?;
        let (image, seed) = (case.image, case.seed);
        let picture = |i: usize| match i.checked_sub(1) {
            None => Ok(image.data().to_vec()),
            Some(i) => {
                let filled = noisy_linear_imputation(image, &kept[i], self.noise, seed, i as u64)?;
                Ok(filled.data().to_vec())
            }
        };
        let count = kept.len() + 1;
        let found = scores(cx, case.image, &[case.probability()], count, &picture)?;
        let changes: Vec<f64> = found[1..].iter().map(|p| p - found[0]).collect();
        let (most, least) = changes.split_at(self.percentiles.len());
        let combined = mean(least).zip(mean(most)).map(|(l, m)| (l - m) / 2.0);
        let x: Vec<f64> = self
            .percentiles
            .iter()
            .map(|p| f64::from(*p) / 100.0)
            .collect();
        Ok(Measurement::one(self.id(), Better::Higher, combined)
            .and("road.morf", Better::Lower, mean(most))
            .and("road.lerf", Better::Higher, mean(least))
            .with_curve("road.morf", x.clone(), most.to_vec())
            .with_curve("road.lerf", x, least.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limpid_tensor::Tensor;

    /// Quantus' ROAD counts values before they are repeated over the channels, so
    /// that it removes a third of what it says of a colour picture.
    #[test]
    fn a_pixel_is_removed_in_all_channels() {
        let plane = 400;
        let data = (0..3 * plane)
            .map(|i| ((i * i * 7919 % 1009) as f32).sqrt())
            .collect();
        let image = Tensor::new([3, 20, 20], data).unwrap();
        let map: Vec<f32> = (0..plane).map(|i| (i * 31 % 400) as f32).collect();
        let road = Road::default();
        for (i, kept) in road.kept(&map).unwrap().iter().enumerate() {
            let filled = noisy_linear_imputation(&image, kept, road.noise, 0, 0).unwrap();
            for channel in 0..3 {
                let plane = channel * plane..(channel + 1) * plane;
                let pairs = filled.data()[plane.clone()]
                    .iter()
                    .zip(&image.data()[plane]);
                let changed = pairs.filter(|(a, b)| a != b).count();
                assert_eq!(changed, 40 * (i % 9 + 1), "{i} {channel}");
            }
        }
    }

    #[test]
    fn a_percentage_of_the_pixels_is_removed_even_where_values_are_equal() {
        let road = Road::default();
        let mut map = vec![0.0; 200];
        map[150] = 1.0;
        let kept = road.kept(&map).unwrap();
        assert_eq!(kept.len(), 18);
        for (i, kept) in kept.iter().enumerate() {
            let removed = kept.iter().filter(|k| !**k).count();
            assert_eq!(removed, 200 * (i % 9 + 1) / 10);
            // The only pixel that matters goes first, or stays to the end.
            assert_eq!(kept[150], i >= 9);
        }
    }
}
