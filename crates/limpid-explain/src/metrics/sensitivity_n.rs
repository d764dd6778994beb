use super::metric::scores;
use super::statistics::{mean, pearson};
use super::{Better, Case, Measurement, Metric, Needs};
use crate::pic::random_mask;
use crate::{Context, ExplainError};
use serde_json::{Value, json};

/// Sensitivity-n: Pearson's correlation between the sum of a map over n random
/// pixels and how much the score falls when those are set to zero (after
/// normalisation), averaged over several n (Ancona et al., ICLR 2018). One for an
/// attribution that says exactly what each pixel adds to a linear model's score.
#[derive(Debug, Clone, PartialEq)]
pub struct SensitivityN {
    /// Each n, as a share of the picture's pixels, rounded down.
    pub shares: Vec<f64>,
    /// Random sets of pixels for each n.
    pub subsets: u64,
}

impl Default for SensitivityN {
    /// 64 sets at 6 shares from 1 % to 80 %, each 2.4 times the last.
    fn default() -> Self {
        Self {
            shares: vec![0.01, 0.024, 0.058, 0.139, 0.333, 0.8],
            subsets: 64,
        }
    }
}

impl Metric for SensitivityN {
    fn id(&self) -> &str {
        "sensitivity-n"
    }

    fn summary(&self) -> &'static str {
        "correlation between the attribution of random pixels and the score's fall without them"
    }

    fn protocol(&self) -> Value {
        json!({
            "reads": "the score that is explained",
            "shares": self.shares,
            "subsets": self.subsets,
            "substrate": "zero after normalisation",
            "correlation": "Pearson, averaged over the shares",
        })
    }

    fn needs(&self) -> Needs {
        Needs::Scores
    }

    fn measure(&self, cx: &mut dyn Context, case: &Case<'_>) -> Result<Measurement, ExplainError> {
        let size = case.size();
        let map = case.pixels();
        let (image, seed) = (case.image, case.seed);
        let subsets = self.subsets.max(1) as usize;
        let removed = |i: usize| random_mask(size, self.shares[i / subsets], seed, i as u64);
        let picture = |i: usize| {
            let Some(i) = i.checked_sub(1) else {
                return Ok(image.data().to_vec());
            };
            let removed = removed(i)?;
            let pixels = image.data().iter().zip(removed.iter().cycle());
            Ok(pixels
                .map(|(v, removed)| if *removed { 0.0 } else { *v })
                .collect())
        };
        let count = self.shares.len() * subsets;
        let objective = std::slice::from_ref(case.objective);
        let found = scores(cx, image, objective, count + 1, &picture)?;
        let mut sums = Vec::with_capacity(count);
        for i in 0..count {
            cx.check()?;
            let pixels = map.iter().zip(removed(i)?);
            let inside = pixels.filter(|(_, removed)| *removed);
            sums.push(inside.map(|(v, _)| f64::from(*v)).sum::<f64>());
        }
        let falls: Vec<f64> = found[1..].iter().map(|s| found[0] - s).collect();
        let rows = sums.chunks(subsets).zip(falls.chunks(subsets));
        let (x, y): (Vec<f64>, Vec<f64>) = self
            .shares
            .iter()
            .zip(rows)
            .filter_map(|(share, (sums, falls))| Some((*share, pearson(sums, falls)?)))
            .unzip();
        let value = mean(&y);
        let found = Measurement::one(self.id(), Better::Higher, value);
        Ok(match value {
            Some(_) => found.with_curve(self.id(), x, y),
            None => found.with_note("the map or the score does not vary"),
        })
    }
}
