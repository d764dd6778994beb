use super::baseline::extents;
use super::{GradientMethod, MethodInfo, Trajectory, registry};
use crate::estimators::{Sampling, run};
use crate::params::Given;
use crate::paths::{Baselines, Mixture};
use crate::{
    Attribution, Context, ExplainError, Explainer, Joint, ModelInfo, ParamInfo, ParamKind,
    Parameters, Quadrature, Request, SmoothGrad,
};
use limpid_graph::passes;
use std::sync::Arc;

/// Expected Gradients: Integrated Gradients averaged over baselines, sampled
/// jointly: each gradient has a baseline and a position of its own (Erion,
/// Janizek, Sturmfels, Lundberg and Lee, Nature Machine Intelligence 2021). It
/// adds up to the picture's score less the mean of the baselines'.
///
/// ```
/// use limpid_explain::{Joint, methods::ExpectedGradients};
/// let method = ExpectedGradients::new().folder("photos").evaluations(400);
/// assert_eq!(method.joint, Joint { evaluations: 400, tolerance: None });
/// ```
#[derive(Debug, Clone, Default)]
pub struct ExpectedGradients {
    /// The folder whose pictures are the baselines; `None` stands for uniform
    /// noise between black and white.
    pub folder: Option<String>,
    /// How long it is sampled.
    pub joint: Joint,
}

impl ExpectedGradients {
    /// Over baselines of uniform noise, 200 gradients.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Over the pictures of a folder.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<String>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// With at most so many gradients.
    #[must_use]
    pub fn evaluations(mut self, evaluations: u64) -> Self {
        self.joint.evaluations = evaluations;
        self
    }

    /// Until the relative standard error is no larger than this.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.joint.tolerance = Some(tolerance);
        self
    }
}

impl GradientMethod for ExpectedGradients {
    fn trajectory(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Trajectory, ExplainError> {
        let baselines = match &self.folder {
            Some(folder) => Baselines::Pictures(cx.pictures(folder)?),
            None => Baselines::Noise {
                low: cx.model().black.clone(),
                high: cx.model().white.clone(),
            },
        };
        let path = Mixture {
            baselines,
            shape: extents(request.image),
            seed: request.seed,
        };
        Ok(Trajectory {
            path: Box::new(path),
            walk: Box::new(super::evenly),
            joint_walk: Box::new(super::evenly),
            quadrature: Quadrature::default(),
            rule: passes::Rule::Standard,
        })
    }
}

impl Explainer for ExpectedGradients {
    fn id(&self) -> &str {
        "expected-gradients"
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        let mut all = Parameters::new();
        let baselines = self.folder.as_deref().map(|f| format!("folder:{f}"));
        let baselines = baselines.unwrap_or_else(|| "noise".into());
        all.insert("baselines".into(), baselines.into());
        Sampling::Joint(self.joint).describe(&mut all);
        all
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        run(self, None, Sampling::Joint(self.joint), cx, request)
    }
}

/// `expected-gradients`.
pub(super) fn info() -> MethodInfo {
    MethodInfo {
        id: "expected-gradients".into(),
        kind: "path".into(),
        output: "[C,H,W]".into(),
        summary: "integrated gradients averaged over baselines, one of them for each gradient; adds up to the score less the baselines' mean".into(),
        params: vec![
            ParamInfo::new(
                "baselines",
                ParamKind::Text,
                "noise",
                "what the lines begin at: noise, uniform between black and white, or folder:PATH, the pictures of a folder",
            ),
            ParamInfo::new(
                "evaluations",
                ParamKind::Integer {
                    min: 16,
                    max: 10_000_000,
                },
                Joint::default().evaluations,
                "gradients, at most; 10000 where a tolerance is given",
            ),
            ParamInfo::new(
                "tolerance",
                ParamKind::Float { min: 0.0, max: 1.0 },
                serde_json::Value::Null,
                "stops at this relative standard error",
            ),
        ],
        smooth: None,
        build: Arc::new(build),
    }
}

fn build(given: &Given, _: Option<SmoothGrad>) -> Result<Box<dyn Explainer>, ExplainError> {
    let text = given.text("baselines").unwrap_or("noise");
    let folder = text.strip_prefix("folder:").filter(|f| !f.is_empty());
    if text != "noise" && folder.is_none() {
        return Err(ExplainError::Parameter {
            method: "expected-gradients".into(),
            name: "baselines".into(),
            expected: "noise or folder:PATH".into(),
            found: text.to_owned(),
        });
    }
    Ok(Box::new(ExpectedGradients {
        folder: folder.map(str::to_owned),
        joint: registry::joint(given),
    }))
}
