use super::{Better, Case, Measurement, Metric, Needs};
use crate::{Context, ExplainError};
use serde_json::{Value, json};

/// Completeness: the gap between the sum of a map and the difference of the scores
/// at the ends of its path, relative to that difference. `None` for methods
/// without a path. It costs nothing: the method has computed it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CompletenessGap;

impl Metric for CompletenessGap {
    fn id(&self) -> &str {
        "completeness"
    }

    fn summary(&self) -> &'static str {
        "gap between the map's sum and the scores' difference, as a share of it"
    }

    fn protocol(&self) -> Value {
        json!({ "gap": "|sum of the map - difference of the scores| / |difference|" })
    }

    fn needs(&self) -> Needs {
        Needs::Map
    }

    fn measure(&self, _: &mut dyn Context, case: &Case<'_>) -> Result<Measurement, ExplainError> {
        let gap = case.map.completeness.map(|c| (c.gap / c.expected).abs());
        let gap = gap.filter(|g| g.is_finite());
        let found = Measurement::one(self.id(), Better::Lower, gap);
        Ok(match (gap, case.map.completeness) {
            (Some(_), _) => found,
            (None, Some(_)) => found.with_note("the scores at the path's ends are equal"),
            (None, None) => found.with_note("the method has no path"),
        })
    }
}
