use super::{Baseline, GradientMethod, MethodInfo, Trajectory, registry};
use crate::estimators::{Sampling, run};
use crate::params::Given;
use crate::paths::Line;
use crate::{
    Attribution, Context, ExplainError, Explainer, ModelInfo, Node, Parameters, Request, SmoothGrad,
};
use limpid_graph::passes::Rule;
use std::sync::Arc;

/// DeepLift with the rescale rule: each activation's difference to that of a
/// baseline is shared out among its inputs' differences (Shrikumar, Greenside
/// and Kundaje, 2017). One evaluation, and it adds up to the difference of
/// scores for every network: products, maxima, softmax and normalisations are
/// taken apart so that nothing is lost.
///
/// ```
/// use limpid_explain::methods::{Baseline, DeepLift};
/// assert_eq!(DeepLift::new().baseline(Baseline::Blur).baseline, Baseline::Blur);
/// ```
#[derive(Debug, Clone, Default)]
pub struct DeepLift {
    /// What activations are compared with.
    pub baseline: Baseline,
}

impl DeepLift {
    /// Compared with black.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Compared with another baseline.
    #[must_use]
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }
}

/// The end of the line, which is the picture.
fn picture(_: f64) -> Node {
    Node {
        position: 1.0,
        weight: 1.0,
    }
}

impl GradientMethod for DeepLift {
    fn trajectory(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Trajectory, ExplainError> {
        let baseline = self.baseline.tensor(cx, request)?;
        Ok(Trajectory {
            walk: Box::new(picture),
            joint_walk: Box::new(picture),
            ..Trajectory::single(Line::from(baseline), Rule::DeepLift)
        })
    }

    fn has_path(&self) -> bool {
        false
    }
}

impl Explainer for DeepLift {
    fn id(&self) -> &str {
        "deeplift"
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        let mut all = Parameters::new();
        all.insert("baseline".into(), self.baseline.name().into());
        all
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        run(self, None, Sampling::Nested { draws: 1 }, cx, request)
    }
}

/// `deeplift`.
pub(super) fn info() -> MethodInfo {
    MethodInfo {
        id: "deeplift".into(),
        kind: "rule".into(),
        output: "[C,H,W]".into(),
        summary: "activations' differences to a baseline, shared out layer by layer (rescale rule); adds up to the difference of scores".into(),
        params: [vec![registry::baseline()], registry::smoothing()].concat(),
        smooth: None,
        build: Arc::new(build),
    }
}

fn build(given: &Given, smoothing: Option<SmoothGrad>) -> Result<Box<dyn Explainer>, ExplainError> {
    let baseline = Baseline::given("deeplift", given)?;
    Ok(registry::boxed(DeepLift { baseline }, smoothing))
}
