use super::{GradientMethod, MethodInfo, Trajectory, registry};
use crate::estimators::{Sampling, run};
use crate::{Attribution, Context, ExplainError, Explainer, Request, SmoothGrad, paths::Constant};
use limpid_graph::passes::Rule;
use std::sync::Arc;

/// The gradient of the score with respect to the normalised input, with its
/// sign (Simonyan, Vedaldi and Zisserman, 2014).
///
/// ```
/// use limpid_explain::{Explainer, SmoothGrad, methods::{Gradient, GradientMethod}};
/// assert!(!Gradient::new().is_smoothed());
/// assert!(Gradient::new().smoothed(SmoothGrad::new()).is_smoothed());
/// ```
#[derive(Debug, Clone)]
pub struct Gradient {
    id: &'static str,
}

impl Default for Gradient {
    fn default() -> Self {
        Self { id: "gradient" }
    }
}

impl Gradient {
    /// The plain gradient.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The method `smoothgrad` is this gradient, smoothed.
    pub(super) fn named(id: &'static str) -> Self {
        Self { id }
    }
}

impl GradientMethod for Gradient {
    fn trajectory(
        &self,
        _cx: &mut dyn Context,
        _request: &Request<'_>,
    ) -> Result<Trajectory, ExplainError> {
        Ok(Trajectory::single(Constant, Rule::Standard))
    }

    fn has_path(&self) -> bool {
        false
    }
}

impl Explainer for Gradient {
    fn id(&self) -> &str {
        self.id
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        run(self, None, Sampling::Nested { draws: 1 }, cx, request)
    }
}

/// `gradient`.
pub(super) fn gradient() -> MethodInfo {
    MethodInfo {
        id: "gradient".into(),
        kind: "gradient".into(),
        output: "[C,H,W]".into(),
        summary: "the score's gradient with respect to the normalised input, signed".into(),
        params: registry::smoothing(),
        smooth: None,
        build: Arc::new(|_, smooth| Ok(registry::boxed(Gradient::new(), smooth))),
    }
}

/// `smoothgrad`.
pub(super) fn smoothgrad() -> MethodInfo {
    MethodInfo {
        id: "smoothgrad".into(),
        summary: "the gradient, averaged over noisy copies of the picture".into(),
        smooth: Some(SmoothGrad::default().samples),
        build: Arc::new(|_, smooth| Ok(registry::boxed(Gradient::named("smoothgrad"), smooth))),
        ..gradient()
    }
}
