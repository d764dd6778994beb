use super::statistics::{mean, spearman};
use super::{Better, Case, Measurement, Metric, Needs, pixel_map};
use crate::{Context, ExplainError};
use serde_json::{Value, json};

/// Model-parameter randomisation (Adebayo et al., "Sanity Checks for Saliency
/// Maps", NeurIPS 2018): Spearman's rank correlation between a map and those of
/// the same method by models whose weights are random from the scores down to a
/// stage; the mean over the stages. A map that stays the same does not depend on
/// what the model has learnt. It costs a map for each stage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Randomisation;

impl Metric for Randomisation {
    fn id(&self) -> &str {
        "randomisation"
    }

    fn summary(&self) -> &'static str {
        "rank correlation with maps by models of random weights, cascading from the top"
    }

    fn protocol(&self) -> Value {
        json!({
            "order": "cascading from the scores down to the input",
            "weights": "those of products and convolutions, shuffled",
            "similarity": "Spearman correlation of the signed channel sum, mean over the stages",
        })
    }

    fn needs(&self) -> Needs {
        Needs::Randomised
    }

    fn measure(&self, cx: &mut dyn Context, case: &Case<'_>) -> Result<Measurement, ExplainError> {
        let found = |value| Measurement::one(self.id(), Better::Lower, value);
        let Some(models) = case.randomised else {
            return Ok(found(None).with_note("there are no models of random weights"));
        };
        let pixels = case.pixels();
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for stage in 0..models.stages() {
            cx.check()?;
            let map = models.explain(stage)?;
            if let Some(similarity) = spearman(&pixel_map(&map, case.size()), &pixels) {
                x.push(models.share(stage));
                y.push(similarity);
            }
        }
        Ok(match mean(&y) {
            None => found(None).with_note("a map is the same everywhere"),
            value => found(value).with_curve(self.id(), x, y),
        })
    }
}
