use super::registry;
use super::{Baseline, GradientMethod, MethodInfo, Trajectory, quadrature_builders};
use crate::estimators::{Sampling, run};
use crate::params::Given;
use crate::{
    Attribution, Context, ExplainError, Explainer, ModelInfo, Parameters, Quadrature, Request,
    Rule, SmoothGrad, paths::Line,
};
use limpid_graph::passes;
use std::sync::Arc;

/// Integrated Gradients: the integral of the gradient along the straight line
/// from a baseline to the picture, times their difference (Sundararajan, Taly
/// and Yan, ICML 2017).
///
/// ```
/// use limpid_explain::methods::{Baseline, IntegratedGradients};
/// let method = IntegratedGradients::new().steps(32).baseline(Baseline::White);
/// assert_eq!(method.baseline, Baseline::White);
/// ```
#[derive(Debug, Clone, Default)]
pub struct IntegratedGradients {
    /// How the line is divided; by midpoints where no rule is named.
    pub quadrature: Quadrature,
    /// Where the line begins.
    pub baseline: Baseline,
}

impl IntegratedGradients {
    /// 64 midpoints from black.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    quadrature_builders!();

    /// With another baseline.
    #[must_use]
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }
}

impl GradientMethod for IntegratedGradients {
    fn trajectory(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Trajectory, ExplainError> {
        let baseline = self.baseline.tensor(cx, request)?;
        Ok(Trajectory {
            path: Box::new(Line::from(baseline)),
            walk: Box::new(super::evenly),
            joint_walk: Box::new(super::evenly),
            quadrature: self.quadrature,
            rule: passes::Rule::Standard,
        })
    }
}

impl Explainer for IntegratedGradients {
    fn id(&self) -> &str {
        "integrated-gradients"
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        let mut all = Parameters::new();
        let rule = self.quadrature.rule.unwrap_or_default();
        self.quadrature.describe(rule, &mut all);
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

/// `integrated-gradients`.
pub(super) fn info() -> MethodInfo {
    MethodInfo {
        id: "integrated-gradients".into(),
        kind: "path".into(),
        output: "[C,H,W]".into(),
        summary: "gradients summed along the straight line from a baseline; adds up to the difference of scores".into(),
        params: [
            registry::path(Rule::default().name().into()),
            vec![registry::baseline()],
            registry::smoothing(),
        ]
        .concat(),
        smooth: None,
        build: Arc::new(build),
    }
}

fn build(given: &Given, smoothing: Option<SmoothGrad>) -> Result<Box<dyn Explainer>, ExplainError> {
    let method = IntegratedGradients {
        quadrature: registry::quadrature("integrated-gradients", given)?,
        baseline: Baseline::given("integrated-gradients", given)?,
    };
    Ok(registry::boxed(method, smoothing))
}
