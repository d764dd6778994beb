use super::statistics::{mean, relative_l2, spearman};
use super::{Better, Case, Measurement, Metric, Needs, pixel_map};
use crate::{Context, ExplainError, Request};
use serde_json::{Value, json};

/// Stability over seeds: the mean relative L2 distance between a map and those of
/// other seeds, 0 for deterministic methods. `seed-stability.rank` is the mean of
/// Spearman's rank correlation of their pixels, 1 for deterministic methods. It
/// costs `seeds` maps.
#[derive(Debug, Clone, PartialEq)]
pub struct SeedStability {
    /// The number of other seeds: the ones that follow.
    pub seeds: u64,
}

impl Default for SeedStability {
    fn default() -> Self {
        Self { seeds: 3 }
    }
}

impl Metric for SeedStability {
    fn id(&self) -> &str {
        "seed-stability"
    }

    fn summary(&self) -> &'static str {
        "relative change of the map with the seed; 0 for deterministic methods"
    }

    fn protocol(&self) -> Value {
        json!({
            "other_seeds": self.seeds,
            "distance": "mean relative L2 of the raw map",
            "rank": "mean Spearman correlation of the signed channel sum",
        })
    }

    fn needs(&self) -> Needs {
        Needs::Method
    }

    fn measure(&self, cx: &mut dyn Context, case: &Case<'_>) -> Result<Measurement, ExplainError> {
        let pixels = case.pixels();
        let (mut distances, mut ranks) = (Vec::new(), Vec::new());
        for other in 1..=self.seeds {
            cx.check()?;
            let maps = case.method.explain(
                cx,
                &Request {
                    image: case.image,
                    objectives: std::slice::from_ref(case.objective),
                    seed: case.seed.wrapping_add(other),
                },
            )?;
            if let Some(map) = maps.first() {
                distances.extend(relative_l2(map.map.data(), case.map.map.data()));
                ranks.extend(spearman(&pixel_map(map, case.size()), &pixels));
            }
        }
        let value = mean(&distances);
        let found = Measurement::one(self.id(), Better::Lower, value).and(
            "seed-stability.rank",
            Better::Higher,
            mean(&ranks),
        );
        Ok(match value {
            Some(_) => found,
            None => found.with_note("the map is zero everywhere"),
        })
    }
}
