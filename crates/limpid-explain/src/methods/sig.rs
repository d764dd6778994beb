use super::{Baseline, GradientMethod, MethodInfo, Trajectory, quadrature_builders, registry};
use crate::estimators::{Sampling, run};
use crate::params::Given;
use crate::paths::Spectrum;
use crate::{
    Attribution, Context, ExplainError, Explainer, ModelInfo, ParamInfo, ParamKind, Parameters,
    Quadrature, Request, Rule, SmoothGrad,
};
use limpid_graph::passes;
use std::sync::Arc;

/// Spectral Integrated Gradients: gradients summed along the path on which the
/// singular values of the picture's difference from a baseline are switched on,
/// the largest first (KDD 2026, arXiv 2605.19607). It adds up to the difference
/// of scores.
///
/// Noise would change the decomposition with every draw, so it is not smoothed.
///
/// ```
/// use limpid_explain::methods::{Baseline, SpectralIntegratedGradients};
/// let method = SpectralIntegratedGradients::new().steps(32).baseline(Baseline::White);
/// assert_eq!(method.overlap, 0.4);
/// ```
#[derive(Debug, Clone)]
pub struct SpectralIntegratedGradients {
    /// How the path is divided; by midpoints where no rule is named.
    pub quadrature: Quadrature,
    /// Where the path begins.
    pub baseline: Baseline,
    /// The share of the path during which a singular value is switched on, in
    /// (0, 1]; 1 is the straight line.
    pub overlap: f64,
}

impl Default for SpectralIntegratedGradients {
    fn default() -> Self {
        Self {
            quadrature: Quadrature::default(),
            baseline: Baseline::default(),
            overlap: 0.4,
        }
    }
}

impl SpectralIntegratedGradients {
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

    /// With singular values switched on during another share of the path.
    #[must_use]
    pub fn overlap(mut self, overlap: f64) -> Self {
        self.overlap = overlap;
        self
    }
}

impl GradientMethod for SpectralIntegratedGradients {
    fn trajectory(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Trajectory, ExplainError> {
        if !(self.overlap > 0.0 && self.overlap <= 1.0) {
            return Err(ExplainError::Parameter {
                method: self.id().to_owned(),
                name: "overlap".into(),
                expected: "above 0 and at most 1".into(),
                found: self.overlap.to_string(),
            });
        }
        let baseline = self.baseline.tensor(cx, request)?;
        let path = Spectrum::between(request.image, baseline, self.overlap)?;
        Ok(Trajectory {
            path: Box::new(path),
            walk: Box::new(super::evenly),
            joint_walk: Box::new(super::evenly),
            quadrature: self.quadrature,
            rule: passes::Rule::Standard,
        })
    }
}

impl Explainer for SpectralIntegratedGradients {
    fn id(&self) -> &str {
        "sig"
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        let mut all = Parameters::new();
        let rule = self.quadrature.rule.unwrap_or_default();
        self.quadrature.describe(rule, &mut all);
        all.insert("baseline".into(), self.baseline.name().into());
        all.insert("overlap".into(), self.overlap.into());
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

/// `sig`.
pub(super) fn info() -> MethodInfo {
    let d = SpectralIntegratedGradients::default();
    let path = registry::path(Rule::default().name().into());
    let of_smoothing = |name: &str| name == "sampling";
    MethodInfo {
        id: "sig".into(),
        kind: "path".into(),
        output: "[C,H,W]".into(),
        summary: "gradients summed while the singular values of the picture are switched on, the largest first; adds up to the difference of scores".into(),
        params: [
            path.into_iter().filter(|p| !of_smoothing(&p.name)).collect(),
            vec![
                registry::baseline(),
                ParamInfo::new(
                    "overlap",
                    ParamKind::Float { min: 0.01, max: 1.0 },
                    d.overlap,
                    "the share of the path during which a singular value is switched on; 1 is the straight line",
                ),
            ],
        ]
        .concat(),
        smooth: None,
        build: Arc::new(build),
    }
}

fn build(given: &Given, _: Option<SmoothGrad>) -> Result<Box<dyn Explainer>, ExplainError> {
    let d = SpectralIntegratedGradients::default();
    Ok(Box::new(SpectralIntegratedGradients {
        quadrature: registry::quadrature("sig", given)?,
        baseline: Baseline::given("sig", given)?,
        overlap: given.float("overlap").unwrap_or(d.overlap),
    }))
}
