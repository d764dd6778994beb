use super::{
    Baseline, BlurIntegratedGradients, GradCam, Gradient, GradientMethod, IntegratedGradients,
    Mode, Variable,
};
use crate::params::Given;
use crate::{ExplainError, Explainer, ParamInfo, ParamKind, Reduce, Rule, SmoothGrad};
use serde_json::Value;

type Build = fn(&Given, Option<SmoothGrad>) -> Result<Box<dyn Explainer>, ExplainError>;

/// What is known of a method before it is made.
pub struct MethodInfo {
    /// Its id.
    pub id: &'static str,
    /// What family it is of: `gradient`, `path` or `cam`.
    pub kind: &'static str,
    /// The shape of its maps.
    pub output: &'static str,
    /// What it computes, in a sentence.
    pub summary: &'static str,
    /// Its parameters.
    pub params: Vec<ParamInfo>,
    /// The draws of noise that it averages over by itself.
    pub smooth: Option<u64>,
    build: Build,
}

impl MethodInfo {
    /// Whether `--smooth` applies: it does to every method made of gradients
    /// of the input.
    #[must_use]
    pub fn can_smooth(&self) -> bool {
        self.kind != "cam"
    }

    /// The parameter of this name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&ParamInfo> {
        self.params.iter().find(|p| p.name == name)
    }
}

fn param(
    name: &'static str,
    kind: ParamKind,
    default: impl Into<Value>,
    help: &'static str,
) -> ParamInfo {
    ParamInfo {
        name,
        kind,
        default: default.into(),
        help,
    }
}

/// The parameters of smoothing, which every gradient method has.
fn smoothing() -> Vec<ParamInfo> {
    let d = SmoothGrad::default();
    vec![
        param(
            "spread",
            ParamKind::Float {
                min: 0.0,
                max: 10.0,
            },
            d.spread,
            "with --smooth: the noise's standard deviation, as a share of the picture's range",
        ),
        param(
            "reduce",
            ParamKind::Choice(&Reduce::NAMES),
            d.reduce.name(),
            "with --smooth: how the maps of the draws become one",
        ),
    ]
}

/// The parameters of sums along a path.
fn path(rule: Value) -> Vec<ParamInfo> {
    vec![
        param(
            "steps",
            ParamKind::Integer {
                min: 1,
                max: 10_000,
            },
            64,
            "gradients on each path",
        ),
        param(
            "rule",
            ParamKind::Choice(&Rule::NAMES),
            rule,
            "the quadrature of the path integral",
        ),
        param(
            "sampling",
            ParamKind::Choice(&["nested"]),
            "nested",
            "how noise and path are sampled: nested gives each draw of noise all steps",
        ),
    ]
}

/// All built-in methods, in the order in which they are listed.
#[must_use]
pub fn list() -> Vec<MethodInfo> {
    let blur = BlurIntegratedGradients::default();
    vec![
        MethodInfo {
            id: "gradient",
            kind: "gradient",
            output: "[C,H,W]",
            summary: "the score's gradient with respect to the normalised input, signed",
            params: smoothing(),
            smooth: None,
            build: |_, smooth| Ok(boxed(Gradient::new(), smooth)),
        },
        MethodInfo {
            id: "smoothgrad",
            kind: "gradient",
            output: "[C,H,W]",
            summary: "the gradient, averaged over noisy copies of the picture",
            params: smoothing(),
            smooth: Some(SmoothGrad::default().samples),
            build: |_, smooth| Ok(boxed(Gradient::named("smoothgrad"), smooth)),
        },
        MethodInfo {
            id: "integrated-gradients",
            kind: "path",
            output: "[C,H,W]",
            summary: "gradients summed along the straight line from a baseline; adds up to the difference of scores",
            params: [
                path(Rule::default().name().into()),
                vec![param(
                    "baseline",
                    ParamKind::Text,
                    "black",
                    "where the line begins: black, white, zero, mean, blur, noise or file:PATH",
                )],
                smoothing(),
            ]
            .concat(),
            smooth: None,
            build: integrated_gradients,
        },
        MethodInfo {
            id: "blur-ig",
            kind: "path",
            output: "[C,H,W]",
            summary: "gradients summed along the path of Gaussian blurs; adds up to the difference of scores",
            params: [
                path(Value::Null),
                vec![
                    param(
                        "variable",
                        ParamKind::Choice(&Variable::NAMES),
                        Value::Null,
                        "what the nodes are uniform in; sqrt, or sigma with mode=pair",
                    ),
                    param(
                        "max_sigma",
                        ParamKind::Float { min: 0.01, max: 10_000.0 },
                        Value::Null,
                        "the largest blur in pixels; 50*sqrt(H*W)/224, or 50 with mode=pair",
                    ),
                    param(
                        "mode",
                        ParamKind::Choice(&Mode::NAMES),
                        blur.mode.name(),
                        "heat: reflecting border, exact derivative; pair: as PAIR's saliency library",
                    ),
                ],
                smoothing(),
            ]
            .concat(),
            smooth: None,
            build: blur_ig,
        },
        MethodInfo {
            id: "grad-cam",
            kind: "cam",
            output: "[h,w]",
            summary: "a layer's channels weighted by the mean of the score's gradient; on the layer's grid, not normalised, negative sums cut off (relu=false keeps them)",
            params: vec![
                param(
                    "layer",
                    ParamKind::Text,
                    Value::Null,
                    "the layer; the input of global pooling where none is named",
                ),
                param(
                    "relu",
                    ParamKind::Bool,
                    true,
                    "whether negative sums are cut off",
                ),
            ],
            smooth: None,
            build: |given, _| {
                Ok(Box::new(GradCam {
                    layer: given.text("layer").map(str::to_owned),
                    relu: given.bool("relu").unwrap_or(true),
                }))
            },
        },
    ]
}

/// The method of this id.
///
/// # Errors
/// [`ExplainError::UnknownMethod`] with the ids that exist.
pub fn info(id: &str) -> Result<MethodInfo, ExplainError> {
    let all = list();
    let known: Vec<&str> = all.iter().map(|m| m.id).collect();
    let known = known.join(", ");
    all.into_iter()
        .find(|m| m.id == id)
        .ok_or_else(|| ExplainError::UnknownMethod {
            id: id.chars().take(80).collect(),
            known,
        })
}

/// Makes a method from parameters as the command line gives them, smoothed by
/// `smooth` draws where that is given.
///
/// # Errors
/// When there is no such method or parameter, or a value does not fit.
///
/// ```
/// let method = limpid_explain::methods::build("blur-ig", &[("steps", "20")], Some(10))?;
/// assert!(method.is_smoothed());
/// # Ok::<(), limpid_explain::ExplainError>(())
/// ```
pub fn build(
    id: &str,
    params: &[(&str, &str)],
    smooth: Option<u64>,
) -> Result<Box<dyn Explainer>, ExplainError> {
    let method = info(id)?;
    let mut given = Given::default();
    for (name, text) in params {
        let info = method.param(name).ok_or_else(|| ExplainError::Conflict {
            method: id.to_owned(),
            message: format!(
                "has no parameter `{name}`; it has {}",
                method
                    .params
                    .iter()
                    .map(|p| p.name)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        })?;
        given.0.insert(info.name, info.parse(id, text)?);
    }
    let samples = smooth.or(method.smooth).filter(|_| method.can_smooth());
    let smoothing = samples.map(|samples| {
        let d = SmoothGrad::default();
        let reduce = match given.text("reduce") {
            Some("squared") => Reduce::Squared,
            Some("variance") => Reduce::Variance,
            _ => Reduce::Mean,
        };
        SmoothGrad {
            samples,
            spread: given.float("spread").unwrap_or(d.spread),
            reduce,
        }
    });
    if smoothing.is_none()
        && let Some(name) = ["spread", "reduce"]
            .iter()
            .find(|n| given.0.contains_key(*n))
    {
        return Err(ExplainError::Conflict {
            method: id.to_owned(),
            message: format!("`{name}` steers smoothing: give --smooth N with it"),
        });
    }
    (method.build)(&given, smoothing)
}

fn boxed<M: GradientMethod + 'static>(
    method: M,
    smoothing: Option<SmoothGrad>,
) -> Box<dyn Explainer> {
    match smoothing {
        Some(s) => Box::new(method.smoothed(s)),
        None => Box::new(method),
    }
}

fn steps_and_rule(
    method: &str,
    given: &Given,
    default: usize,
) -> Result<(usize, Option<Rule>), ExplainError> {
    let steps = given.integer("steps").map_or(default, |s| s as usize);
    let rule = given.text("rule").and_then(Rule::from_name);
    if rule == Some(Rule::Trapezoid) && steps < 2 {
        return Err(ExplainError::Parameter {
            method: method.to_owned(),
            name: "steps".into(),
            expected: "at least 2 for the trapezoid".into(),
            found: steps.to_string(),
        });
    }
    Ok((steps, rule))
}

fn integrated_gradients(
    given: &Given,
    smoothing: Option<SmoothGrad>,
) -> Result<Box<dyn Explainer>, ExplainError> {
    let d = IntegratedGradients::default();
    let id = d.id().to_owned();
    let (steps, rule) = steps_and_rule(&id, given, d.steps)?;
    let baseline = given.text("baseline").unwrap_or("black");
    let baseline = Baseline::parse(baseline).ok_or_else(|| ExplainError::Parameter {
        method: id,
        name: "baseline".into(),
        expected: format!("one of {} or file:PATH", Baseline::NAMES.join(", ")),
        found: baseline.to_owned(),
    })?;
    let rule = rule.unwrap_or(d.rule);
    Ok(boxed(
        IntegratedGradients {
            steps,
            rule,
            baseline,
        },
        smoothing,
    ))
}

fn blur_ig(
    given: &Given,
    smoothing: Option<SmoothGrad>,
) -> Result<Box<dyn Explainer>, ExplainError> {
    let d = BlurIntegratedGradients::default();
    let (steps, rule) = steps_and_rule(d.id(), given, d.steps)?;
    let method = BlurIntegratedGradients {
        steps,
        rule,
        variable: given.text("variable").and_then(Variable::from_name),
        max_sigma: given.float("max_sigma"),
        mode: match given.text("mode") {
            Some("pair") => Mode::Pair,
            _ => Mode::Heat,
        },
    };
    Ok(boxed(method, smoothing))
}
