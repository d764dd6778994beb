use super::GradientMethod;
use crate::smoothing::run;
use crate::{
    Attribution, Context, ExplainError, Explainer, ModelInfo, Node, Parameters, Path, Request,
    paths::Constant,
};

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
    fn path(
        &self,
        _cx: &mut dyn Context,
        _request: &Request<'_>,
    ) -> Result<(Box<dyn Path>, Vec<Node>), ExplainError> {
        let node = Node {
            position: 0.0,
            weight: 1.0,
        };
        Ok((Box::new(Constant), vec![node]))
    }
}

impl Explainer for Gradient {
    fn id(&self) -> &str {
        self.id
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        Parameters::new()
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Attribution, ExplainError> {
        run(self, None, cx, request)
    }
}
