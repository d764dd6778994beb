use super::baseline::extents;
use super::{GradientMethod, MethodInfo, Trajectory, Walk, quadrature_builders, registry};
use crate::estimators::{Sampling, run};
use crate::params::Given;
use crate::{
    Attribution, Context, ExplainError, Explainer, ModelInfo, Node, ParamInfo, ParamKind,
    Parameters, Path, Quadrature, Request, Rule, SmoothGrad,
    paths::{HeatBlur, ZeroBorderBlur},
};
use limpid_graph::passes;
use serde_json::Value;
use std::sync::Arc;

/// The standard deviation at the end of the path, in pixels: 50 for a picture
/// of 224 x 224, and in proportion for others.
pub(super) fn default_max_sigma(height: usize, width: usize) -> f64 {
    50.0 * ((height * width) as f64).sqrt() / 224.0
}

/// What the positions of a joint sampling begin uniform in; the pilot refines it.
const JOINT_VARIABLE: Variable = Variable::Log;

/// What the nodes are uniform in.
///
/// ```
/// use limpid_explain::methods::Variable;
/// assert_eq!(Variable::from_name("sqrt"), Some(Variable::default()));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Variable {
    /// The square root of sigma: a score falls about evenly in it.
    #[default]
    Sqrt,
    /// Sigma.
    Sigma,
    /// Sigma squared, the heat equation's time.
    Variance,
    /// The logarithm of one plus sigma.
    Log,
}

impl Variable {
    /// The names that the parameter `variable` takes.
    pub const NAMES: [&str; 4] = ["sqrt", "sigma", "variance", "log"];

    /// The name that the parameter `variable` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The variable of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Sqrt, Self::Sigma, Self::Variance, Self::Log];
        all.into_iter().find(|v| v.name() == name)
    }

    fn of(self, sigma: f64) -> f64 {
        match self {
            Self::Sqrt => sigma.sqrt(),
            Self::Sigma => sigma,
            Self::Variance => sigma * sigma,
            Self::Log => sigma.ln_1p(),
        }
    }

    /// Sigma, and its derivative with respect to the variable.
    fn sigma(self, v: f64) -> (f64, f64) {
        match self {
            Self::Sqrt => (v * v, 2.0 * v),
            Self::Sigma => (v, 1.0),
            // At t = 0 dsigma/dt is infinite and dL/dsigma zero; their product
            // dL/dt is finite, and constant for sigmas as small as this.
            Self::Variance => {
                let sigma = v.sqrt().max(1e-3);
                (sigma, 0.5 / sigma)
            }
            Self::Log => (v.exp_m1(), v.exp()),
        }
    }
}

/// Which blur.
///
/// ```
/// use limpid_explain::methods::{BlurIntegratedGradients, Mode};
/// let method = BlurIntegratedGradients::new().mode(Mode::Pair);
/// assert_eq!(method.mode.name(), "pair");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The heat equation with a reflecting border and its exact derivative.
    #[default]
    Heat,
    /// As PAIR's `saliency` library: sigma to 50, nodes linear in sigma, the
    /// left rule, zeros outside the picture, a forward difference of 0.01.
    Pair,
}

impl Mode {
    /// The names that the parameter `mode` takes.
    pub const NAMES: [&str; 2] = ["heat", "pair"];

    /// The name that the parameter `mode` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Blur Integrated Gradients: minus the integral over the scale sigma of the
/// gradient at the blurred picture times the blurred picture's derivative with
/// respect to sigma (Xu, Venugopalan and Sundararajan, CVPR 2020). It adds up
/// to the score of the picture less the score of the blurred one.
///
/// ```
/// use limpid_explain::{Rule, methods::{BlurIntegratedGradients, Variable}};
/// let method = BlurIntegratedGradients::new()
///     .steps(20)
///     .rule(Rule::GaussLegendre)
///     .variable(Variable::Log);
/// assert_eq!(method.quadrature.steps, 20);
/// ```
#[derive(Debug, Clone, Default)]
pub struct BlurIntegratedGradients {
    /// How the path is divided; by the mode's own rule where none is named.
    pub quadrature: Quadrature,
    /// What the nodes are uniform in; `None` stands for the mode's own.
    pub variable: Option<Variable>,
    /// The largest standard deviation in pixels; `None` stands for the mode's own.
    pub max_sigma: Option<f64>,
    /// Which blur.
    pub mode: Mode,
}

impl BlurIntegratedGradients {
    /// 64 midpoints in the square root of sigma.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    quadrature_builders!();

    /// With nodes uniform in another variable.
    #[must_use]
    pub fn variable(mut self, variable: Variable) -> Self {
        self.variable = Some(variable);
        self
    }

    /// Up to another standard deviation, in pixels.
    #[must_use]
    pub fn max_sigma(mut self, max_sigma: f64) -> Self {
        self.max_sigma = Some(max_sigma);
        self
    }

    /// With another blur.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    fn effective_rule(&self) -> Rule {
        self.quadrature.rule.unwrap_or(match self.mode {
            Mode::Heat => Rule::Midpoint,
            Mode::Pair => Rule::Left,
        })
    }

    fn effective_variable(&self) -> Variable {
        self.variable.unwrap_or(match self.mode {
            Mode::Heat => Variable::Sqrt,
            Mode::Pair => Variable::Sigma,
        })
    }

    fn effective_max_sigma(&self, height: usize, width: usize) -> f64 {
        self.max_sigma.unwrap_or_else(|| match self.mode {
            Mode::Heat => default_max_sigma(height, width),
            Mode::Pair => 50.0,
        })
    }

    /// The path walked evenly in `variable`. Weights are negative: it leads
    /// away from the picture.
    fn walk(variable: Variable, max_sigma: f64) -> Walk {
        let end = variable.of(max_sigma);
        Box::new(move |u| {
            let (sigma, slope) = variable.sigma(u * end);
            Node {
                position: sigma,
                weight: -end * slope,
            }
        })
    }
}

impl GradientMethod for BlurIntegratedGradients {
    fn trajectory(
        &self,
        _cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Trajectory, ExplainError> {
        let [_, h, w] = extents(request.image);
        let max_sigma = self.effective_max_sigma(h, w);
        let path: Box<dyn Path> = match self.mode {
            Mode::Heat => Box::new(HeatBlur { max_sigma }),
            Mode::Pair => Box::new(ZeroBorderBlur {
                size: [h, w],
                max_sigma,
                step: 0.01,
            }),
        };
        let joint_variable = self.variable.unwrap_or(JOINT_VARIABLE);
        Ok(Trajectory {
            path,
            walk: Self::walk(self.effective_variable(), max_sigma),
            joint_walk: Self::walk(joint_variable, max_sigma),
            quadrature: Quadrature {
                rule: Some(self.effective_rule()),
                ..self.quadrature
            },
            rule: passes::Rule::Standard,
        })
    }
}

impl Explainer for BlurIntegratedGradients {
    fn id(&self) -> &str {
        "blur-ig"
    }

    fn parameters(&self, _model: &ModelInfo, input: &[usize]) -> Parameters {
        let mut all = Parameters::new();
        self.quadrature.describe(self.effective_rule(), &mut all);
        let max_sigma = self.effective_max_sigma(input[1], input[2]);
        all.insert("variable".into(), self.effective_variable().name().into());
        all.insert("max_sigma".into(), max_sigma.into());
        all.insert("mode".into(), self.mode.name().into());
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

/// `blur-ig`.
pub(super) fn info() -> MethodInfo {
    MethodInfo {
        id: "blur-ig".into(),
        kind: "path".into(),
        output: "[C,H,W]".into(),
        summary:
            "gradients summed along the path of Gaussian blurs; adds up to the difference of scores"
                .into(),
        params: [
            registry::path(Value::Null),
            vec![
                ParamInfo::new(
                    "variable",
                    ParamKind::choice(&Variable::NAMES),
                    Value::Null,
                    "what the nodes are uniform in; sqrt, or sigma with mode=pair",
                ),
                ParamInfo::new(
                    "max_sigma",
                    ParamKind::Float {
                        min: 0.01,
                        max: 10_000.0,
                    },
                    Value::Null,
                    "the largest blur in pixels; 50*sqrt(H*W)/224, or 50 with mode=pair",
                ),
                ParamInfo::new(
                    "mode",
                    ParamKind::choice(&Mode::NAMES),
                    Mode::default().name(),
                    "heat: reflecting border, exact derivative; pair: as PAIR's saliency library",
                ),
            ],
            registry::smoothing(),
        ]
        .concat(),
        smooth: None,
        build: Arc::new(build),
    }
}

fn build(given: &Given, smoothing: Option<SmoothGrad>) -> Result<Box<dyn Explainer>, ExplainError> {
    let method = BlurIntegratedGradients {
        quadrature: registry::quadrature("blur-ig", given)?,
        variable: given.text("variable").and_then(Variable::from_name),
        max_sigma: given.float("max_sigma"),
        mode: match given.text("mode") {
            Some("pair") => Mode::Pair,
            _ => Mode::Heat,
        },
    };
    Ok(registry::boxed(method, smoothing))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The weights integrate 1 over [0, max_sigma] in every variable, so they
    /// add up to minus its length.
    #[test]
    fn weights_measure_the_path() {
        for name in Variable::NAMES {
            let variable = Variable::from_name(name).unwrap();
            let walk = BlurIntegratedGradients::walk(variable, 50.0);
            let nodes = Rule::Midpoint.nodes(4000).into_iter();
            let sum: f64 = nodes.map(|n| n.weight * walk(n.position).weight).sum();
            // A midpoint rule is off by 0.3 sqrt(h) where the slope is 1 / (2 sqrt(t)).
            assert!((sum + 50.0).abs() < 0.3, "{name}: {sum}");
        }
    }

    /// PAIR's library ends its path of square roots at sqrt(50), not at 50.
    #[test]
    fn every_variable_ends_at_the_same_sigma() {
        for name in Variable::NAMES {
            let variable = Variable::from_name(name).unwrap();
            let (sigma, _) = variable.sigma(variable.of(50.0));
            assert!((sigma - 50.0).abs() < 1e-9, "{name}: {sigma}");
        }
    }
}
