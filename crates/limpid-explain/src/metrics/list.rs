use super::{
    AttributionShare, CompletenessGap, Infidelity, InformationArea, MaxSensitivity, Metric,
    Performance, PixelCurve, PointingGame, Randomisation, Road, SeedStability, SensitivityN,
};
use crate::ExplainError;

/// All metrics with their default protocols, in the order in which they are listed.
///
/// ```
/// let ids: Vec<String> = limpid_explain::metrics::all().iter().map(|m| m.id().into()).collect();
/// assert!(ids.contains(&"insertion".into()) && ids.contains(&"sensitivity-n".into()));
/// ```
#[must_use]
pub fn all() -> Vec<Box<dyn Metric>> {
    vec![
        Box::new(PixelCurve::insertion()),
        Box::new(PixelCurve::deletion()),
        Box::new(PixelCurve::insertion_10()),
        Box::new(PixelCurve::deletion_10()),
        Box::new(Road::default()),
        Box::new(InformationArea::new(Performance::Accuracy)),
        Box::new(InformationArea::new(Performance::Softmax)),
        Box::new(SensitivityN::default()),
        Box::new(Infidelity::default()),
        Box::new(MaxSensitivity::default()),
        Box::new(CompletenessGap),
        Box::new(AttributionShare),
        Box::new(PointingGame::default()),
        Box::new(Randomisation),
        Box::new(SeedStability::default()),
    ]
}

/// The metric of this id, with its default protocol.
///
/// # Errors
/// [`ExplainError::UnknownMetric`] with the ids that exist.
pub fn metric(id: &str) -> Result<Box<dyn Metric>, ExplainError> {
    let all = all();
    let known: Vec<String> = all.iter().map(|m| m.id().to_owned()).collect();
    all.into_iter()
        .find(|m| m.id() == id)
        .ok_or_else(|| ExplainError::UnknownMetric {
            id: id.chars().take(80).collect(),
            known: known.join(", "),
        })
}
