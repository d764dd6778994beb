use super::{GradientMethod, MethodInfo, Trajectory, registry};
use crate::estimators::{Sampling, run};
use crate::params::Given;
use crate::paths::Constant;
use crate::{
    Attribution, Context, ExplainError, Explainer, ModelInfo, ParamInfo, ParamKind, Parameters,
    Request, SmoothGrad,
};
use limpid_graph::passes::{LayerRule, Lrp, Rule};
use serde_json::Value;
use std::sync::Arc;

/// Which layers have which rule of relevance propagation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Composite {
    /// The epsilon rule everywhere, with this epsilon.
    Epsilon(f32),
    /// The gamma rule everywhere, with this gamma.
    Gamma(f32),
    /// The z+ rule everywhere.
    ZPlus,
    /// Flat for the first layer, z+ for convolutions, epsilon, with this
    /// epsilon, for fully connected layers.
    EpsilonPlusFlat(f32),
}

impl Default for Composite {
    /// Epsilon-plus-flat with 1e-6, as Zennit has it.
    fn default() -> Self {
        Self::EpsilonPlusFlat(EPSILON)
    }
}

const EPSILON: f32 = 1e-6;
const GAMMA: f32 = 0.25;

impl Composite {
    /// The names that the parameter `composite` takes.
    pub const NAMES: [&str; 4] = ["epsilon-plus-flat", "epsilon", "gamma", "z-plus"];

    /// The name that the parameter `composite` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EpsilonPlusFlat(_) => "epsilon-plus-flat",
            Self::Epsilon(_) => "epsilon",
            Self::Gamma(_) => "gamma",
            Self::ZPlus => "z-plus",
        }
    }

    fn epsilon(self) -> Option<f32> {
        match self {
            Self::EpsilonPlusFlat(epsilon) | Self::Epsilon(epsilon) => Some(epsilon),
            _ => None,
        }
    }

    fn gamma(self) -> Option<f32> {
        match self {
            Self::Gamma(gamma) => Some(gamma),
            _ => None,
        }
    }

    fn rules(self) -> Lrp {
        match self {
            Self::Epsilon(epsilon) => Lrp::uniform(LayerRule::Epsilon(epsilon)),
            Self::Gamma(gamma) => Lrp::uniform(LayerRule::Gamma(gamma)),
            Self::ZPlus => Lrp::z_plus(),
            Self::EpsilonPlusFlat(epsilon) => Lrp {
                dense: LayerRule::Epsilon(epsilon),
                ..Lrp::epsilon_plus_flat()
            },
        }
    }
}

/// Layer-wise relevance propagation: the score is handed back, layer by layer,
/// to what it was computed from (Bach et al., 2015). Attention and layer
/// normalisation have the rules of AttnLRP (Achtibat et al., 2024); see
/// [`Lrp`] for all of them. The map is relevance, in units of the score.
///
/// ```
/// use limpid_explain::methods::{Composite, LayerwiseRelevance};
/// let method = LayerwiseRelevance::new().composite(Composite::Gamma(0.1));
/// assert_eq!(method.composite.name(), "gamma");
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct LayerwiseRelevance {
    /// Which layers have which rule.
    pub composite: Composite,
}

impl LayerwiseRelevance {
    /// By epsilon-plus-flat.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// By another composite.
    #[must_use]
    pub fn composite(mut self, composite: Composite) -> Self {
        self.composite = composite;
        self
    }
}

impl GradientMethod for LayerwiseRelevance {
    fn trajectory(
        &self,
        _cx: &mut dyn Context,
        _request: &Request<'_>,
    ) -> Result<Trajectory, ExplainError> {
        Ok(Trajectory::single(
            Constant,
            Rule::Relevance(self.composite.rules()),
        ))
    }

    fn has_path(&self) -> bool {
        false
    }
}

impl Explainer for LayerwiseRelevance {
    fn id(&self) -> &str {
        "lrp"
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        let mut all = Parameters::new();
        all.insert("composite".into(), self.composite.name().into());
        all.insert("epsilon".into(), self.composite.epsilon().into());
        all.insert("gamma".into(), self.composite.gamma().into());
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

/// `lrp`.
pub(super) fn info() -> MethodInfo {
    let own = vec![
        ParamInfo::new(
            "composite",
            ParamKind::choice(&Composite::NAMES),
            Composite::default().name(),
            "which rule a layer has: epsilon-plus-flat is flat for the first, z-plus for convolutions and epsilon for fully connected ones",
        ),
        ParamInfo::new(
            "epsilon",
            ParamKind::Float {
                min: 1e-12,
                max: 1e6,
            },
            Value::Null,
            "with composite=epsilon or epsilon-plus-flat: what is added to an output's magnitude before relevance is divided by it; 1e-6 unless given",
        ),
        ParamInfo::new(
            "gamma",
            ParamKind::Float { min: 0.0, max: 1e6 },
            Value::Null,
            "with composite=gamma: how much more contributions of the output's sign count; 0.25 unless given",
        ),
    ];
    MethodInfo {
        id: "lrp".into(),
        kind: "rule".into(),
        output: "[C,H,W]".into(),
        summary: "layer-wise relevance propagation: the score, handed back layer by layer in proportion to contributions".into(),
        params: [own, registry::smoothing()].concat(),
        smooth: None,
        build: Arc::new(build),
    }
}

fn build(given: &Given, smoothing: Option<SmoothGrad>) -> Result<Box<dyn Explainer>, ExplainError> {
    let number = |name, default| given.float(name).map_or(default, |v| v as f32);
    let (epsilon, gamma) = (number("epsilon", EPSILON), number("gamma", GAMMA));
    let composite = match given.text("composite") {
        Some("epsilon") => Composite::Epsilon(epsilon),
        Some("gamma") => Composite::Gamma(gamma),
        Some("z-plus") => Composite::ZPlus,
        _ => Composite::EpsilonPlusFlat(epsilon),
    };
    let unread = [
        ("epsilon", composite.epsilon()),
        ("gamma", composite.gamma()),
    ];
    for (name, read) in unread {
        if given.float(name).is_some() && read.is_none() {
            return Err(ExplainError::Conflict {
                method: "lrp".into(),
                message: format!(
                    "composite={} has no `{name}`: leave it out",
                    composite.name()
                ),
            });
        }
    }
    let method = LayerwiseRelevance { composite };
    Ok(registry::boxed(method, smoothing))
}
