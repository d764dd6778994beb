use super::{GradientMethod, MethodInfo, Trajectory, registry};
use crate::estimators::{Sampling, run};
use crate::paths::TimesInput;
use crate::{Attribution, Context, ExplainError, Explainer, Request};
use limpid_graph::passes::Rule;
use std::sync::Arc;

/// The gradient times the normalised input, element by element, with its sign
/// (Shrikumar, Greenside, Shcherbina and Kundaje, 2016).
///
/// ```
/// use limpid_explain::{Explainer, methods::GradientXInput};
/// assert_eq!(GradientXInput::new().id(), "gradient-x-input");
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct GradientXInput {}

impl GradientXInput {
    /// The gradient times the input.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl GradientMethod for GradientXInput {
    fn trajectory(
        &self,
        _cx: &mut dyn Context,
        _request: &Request<'_>,
    ) -> Result<Trajectory, ExplainError> {
        Ok(Trajectory::single(TimesInput, Rule::Standard))
    }

    fn has_path(&self) -> bool {
        false
    }
}

impl Explainer for GradientXInput {
    fn id(&self) -> &str {
        "gradient-x-input"
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        run(self, None, Sampling::Nested { draws: 1 }, cx, request)
    }
}

/// `gradient-x-input`.
pub(super) fn info() -> MethodInfo {
    MethodInfo {
        id: "gradient-x-input".into(),
        kind: "gradient".into(),
        output: "[C,H,W]".into(),
        summary: "the gradient times the normalised input, signed".into(),
        params: registry::smoothing(),
        smooth: None,
        build: Arc::new(|_, smooth| Ok(registry::boxed(GradientXInput::new(), smooth))),
    }
}
