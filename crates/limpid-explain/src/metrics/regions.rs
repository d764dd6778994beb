use super::{
    Better, Case, Measurement, Metric, Needs, POINTING_TOLERANCE, attribution_share, pointing_game,
};
use crate::{Context, ExplainError};
use serde_json::{Value, json};

/// The region that a good map is expected in, where one bears this name.
pub const OBJECT: &str = "object";

fn better(region: &str) -> Better {
    match region {
        OBJECT => Better::Higher,
        _ => Better::Neither,
    }
}

/// A number for each region of the picture.
fn each(
    id: &str,
    case: &Case<'_>,
    missing: &str,
    value: impl Fn(&super::Region) -> Option<f64>,
) -> Measurement {
    let mut found = Measurement::default();
    for region in case.regions {
        let value = value(region);
        if value.is_none() {
            found.note = Some(format!("{}: {missing}", region.name));
        }
        found = found.and(format!("{id}.{}", region.name), better(&region.name), value);
    }
    if case.regions.is_empty() {
        found.note = Some("the picture has no mask".into());
    }
    found
}

/// The share of a map's attribution that falls on each region, by
/// [`attribution_share`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AttributionShare;

impl Metric for AttributionShare {
    fn id(&self) -> &str {
        "attribution-share"
    }

    fn summary(&self) -> &'static str {
        "share of the positive attribution on each region of a mask"
    }

    fn protocol(&self) -> Value {
        json!({
            "attribution": "positive part of the signed channel sum",
            "coarse_maps": "bilinear to the model's input",
            "masks": "nearest to the model's input",
        })
    }

    fn needs(&self) -> Needs {
        Needs::Regions
    }

    fn measure(&self, _: &mut dyn Context, case: &Case<'_>) -> Result<Measurement, ExplainError> {
        Ok(each(self.id(), case, "nothing is positive", |region| {
            attribution_share(case.map, &region.mask, region.label)
        }))
    }
}

/// The pointing game for each region: 1 where the map's maximum lies on it or
/// within the tolerance, else 0; see [`pointing_game`].
#[derive(Debug, Clone, PartialEq)]
pub struct PointingGame {
    /// The tolerance, in pixels of the model's input.
    pub tolerance: f64,
}

impl Default for PointingGame {
    fn default() -> Self {
        Self {
            tolerance: POINTING_TOLERANCE,
        }
    }
}

impl Metric for PointingGame {
    fn id(&self) -> &str {
        "pointing-game"
    }

    fn summary(&self) -> &'static str {
        "whether the map's maximum lies on each region of a mask"
    }

    fn protocol(&self) -> Value {
        json!({
            "maximum": "first of the signed channel sum",
            "coarse_maps": "bilinear to the model's input",
            "tolerance_pixels": self.tolerance,
        })
    }

    fn needs(&self) -> Needs {
        Needs::Regions
    }

    fn measure(&self, _: &mut dyn Context, case: &Case<'_>) -> Result<Measurement, ExplainError> {
        let missing = "the map is constant or the region is not in the picture";
        Ok(each(self.id(), case, missing, |region| {
            let hit = pointing_game(case.map, &region.mask, region.label, self.tolerance);
            hit.map(|hit| f64::from(u8::from(hit)))
        }))
    }
}
