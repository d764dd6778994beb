use super::metric::scores;
use super::{Better, Case, Measurement, Metric, Needs};
use crate::pic::{InformationCurve, Observation, Pixels, THRESHOLDS, random_mask, revealed};
use crate::{Context, ExplainError, InputError, Objective};
use serde_json::{Value, json};

/// What a performance information curve reads off the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Performance {
    /// Whether the class has the highest score: AIC.
    Accuracy,
    /// Its probability: SIC.
    Softmax,
}

/// AIC or SIC: the area under the model's performance over the information in a
/// picture of which the most important pixels are shown and the rest is guessed
/// from a random hundredth (Kapishnikov et al., "XRAI", ICCV 2019); see
/// [`pic`](crate::pic). `None` where the picture has no such curve, or its
/// probability is below [`least_probability`](Self::least_probability).
#[derive(Debug, Clone, PartialEq)]
pub struct InformationArea {
    /// What is read off the model.
    pub performance: Performance,
    /// The share of random pixels that is always known.
    pub known: f64,
    /// The probability that the whole picture must have.
    pub least_probability: f64,
    /// Whether a curve never falls.
    pub monotone: bool,
}

impl InformationArea {
    /// As PAIR's saliency library has it: 1 % of random pixels, at least 0.8 of
    /// probability, monotone.
    #[must_use]
    pub fn new(performance: Performance) -> Self {
        Self {
            performance,
            known: 0.01,
            least_probability: 0.8,
            monotone: true,
        }
    }
}

impl Metric for InformationArea {
    fn id(&self) -> &str {
        match self.performance {
            Performance::Accuracy => "aic",
            Performance::Softmax => "sic",
        }
    }

    fn summary(&self) -> &'static str {
        match self.performance {
            Performance::Accuracy => "area under the accuracy over the information that is shown",
            Performance::Softmax => "area under the probability over the information that is shown",
        }
    }

    fn protocol(&self) -> Value {
        json!({
            "reads": match self.performance {
                Performance::Accuracy => "whether the class has the highest score",
                Performance::Softmax => "probability",
            },
            "shares": THRESHOLDS,
            "random_pixels": self.known,
            "guess": "linear in Delaunay triangles",
            "information": "bytes as lossless WebP",
            "least_probability": self.least_probability,
            "monotone": self.monotone,
            "area": "trapezoid at 1001 points of the normalised curve",
        })
    }

    fn needs(&self) -> Needs {
        Needs::Scores
    }

    fn measure(&self, cx: &mut dyn Context, case: &Case<'_>) -> Result<Measurement, ExplainError> {
        let none =
            |note: String| Ok(Measurement::one(self.id(), Better::Higher, None).with_note(note));
        let [class] = case.objective.weights() else {
            return none("the score is of more than one class".into());
        };
        let class = class.0;
        let (black, white) = (cx.model().black.clone(), cx.model().white.clone());
        let whole = match Pixels::from_tensor(case.image, &black, &white) {
            Ok(pixels) => pixels,
            Err(error) => return none(error.to_string()),
        };
        let map = case.pixels();
        let random = random_mask(case.size(), self.known, case.seed, 0)?;
        let mut pictures = vec![whole.clone(), whole.blurred(&random)?];
        for share in THRESHOLDS {
            cx.check()?;
            let mut known = revealed(&map, share)?;
            known.iter_mut().zip(&random).for_each(|(k, r)| *k |= r);
            pictures.push(whole.blurred(&known)?);
        }
        let picture = |i: usize| Ok(pictures[i].to_tensor(&black, &white)?.data().to_vec());
        let probability = [case.probability()];
        let mut found = scores(cx, case.image, &probability, pictures.len(), &picture)?;
        if found[0] < self.least_probability {
            let least = self.least_probability;
            return none(format!(
                "the picture's probability {:.3} is below {least}",
                found[0]
            ));
        }
        if self.performance == Performance::Accuracy {
            let classes: Vec<Objective> = (0..cx.model().classes).map(Objective::class).collect();
            let logits = scores(cx, case.image, &classes, pictures.len(), &picture)?;
            let rows = logits.chunks(classes.len().max(1));
            let best = |row: &[f64]| row.iter().all(|v| *v <= row[class]);
            found = rows.map(|row| f64::from(u8::from(best(row)))).collect();
        }
        let mut observed = Vec::with_capacity(pictures.len());
        for (picture, prediction) in pictures.iter().zip(found) {
            observed.push(Observation {
                entropy: picture.entropy()?,
                prediction,
            });
        }
        let curve =
            InformationCurve::through(observed[1], &observed[2..], observed[0], self.monotone);
        match curve {
            Ok(curve) => {
                // A hundred points draw the curve as well as a thousand.
                let y: Vec<f64> = curve.values.iter().step_by(10).copied().collect();
                let x = (0..y.len()).map(|i| i as f64 / 100.0).collect();
                Ok(
                    Measurement::one(self.id(), Better::Higher, Some(curve.area)).with_curve(
                        self.id(),
                        x,
                        y,
                    ),
                )
            }
            Err(InputError::NoCurve { reason }) => none(reason.into()),
            Err(error) => Err(error.into()),
        }
    }
}
