use super::{
    GradientMethod, blur_ig, deep_lift, expected_gradients, gradient, gradient_x_input, guided_ig,
    integrated_gradients, kernel_shap, lime, lrp, occlusion, rectified, rise, sig, xrai,
};
use crate::params::Given;
use crate::sampling::{BLOCK, Joint, PILOT};
use crate::smoothing::SampleBy;
use crate::{
    ExplainError, Explainer, ParamInfo, ParamKind, Quadrature, Reduce, Rule, SmoothGrad, Weighting,
};
use serde_json::Value;

pub(super) type Build = fn(&Given, Option<SmoothGrad>) -> Result<Box<dyn Explainer>, ExplainError>;

/// What is known of a method before it is made.
#[derive(Clone)]
pub struct MethodInfo {
    /// Its id.
    pub id: &'static str,
    /// What family it is of: `gradient`, `path`, `rule`, `cam`, `attention`,
    /// `region` or `perturbation`.
    pub kind: &'static str,
    /// The shape of its maps.
    pub output: &'static str,
    /// What it computes, in a sentence.
    pub summary: &'static str,
    /// Its parameters.
    pub params: Vec<ParamInfo>,
    /// The draws of noise that it averages over by itself.
    pub smooth: Option<u64>,
    pub(super) build: Build,
}

/// All built-in methods, in the order in which they are listed.
#[must_use]
pub fn list() -> Vec<MethodInfo> {
    let gradients = vec![
        gradient::gradient(),
        gradient::smoothgrad(),
        gradient_x_input::info(),
        integrated_gradients::info(),
        expected_gradients::info(),
        blur_ig::info(),
        guided_ig::info(),
        sig::info(),
        rectified::guided_backprop(),
        rectified::deconvnet(),
        lrp::info(),
        deep_lift::info(),
    ];
    let others = vec![
        xrai::info(),
        occlusion::info(),
        rise::info(),
        lime::info(),
        kernel_shap::info(),
    ];
    [
        gradients,
        super::cam::list(),
        super::attention::list(),
        others,
    ]
    .concat()
}

impl MethodInfo {
    /// Whether `--smooth` applies: it does to methods that have the
    /// parameters of smoothing.
    #[must_use]
    pub fn can_smooth(&self) -> bool {
        self.param("spread").is_some()
    }

    /// The parameter of this name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&ParamInfo> {
        self.params.iter().find(|p| p.name == name)
    }
}

pub(super) fn param(
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
pub(super) fn smoothing() -> Vec<ParamInfo> {
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
        param(
            "evaluations",
            ParamKind::Integer {
                min: 16,
                max: 10_000_000,
            },
            Value::Null,
            "with --smooth: gradients of a joint sampling, at most; 200 for sums along a path",
        ),
    ]
}

/// The parameters of sums along a path.
pub(super) fn path(rule: Value) -> Vec<ParamInfo> {
    let d = Quadrature::default();
    vec![
        param(
            "steps",
            ParamKind::Integer {
                min: 1,
                max: 10_000,
            },
            d.steps,
            "gradients on each path; with --smooth it asks for nested sampling",
        ),
        param(
            "rule",
            ParamKind::Choice(&Rule::NAMES),
            rule,
            "the quadrature of the path integral",
        ),
        param(
            "weighting",
            ParamKind::Choice(&Weighting::NAMES),
            d.weighting.name(),
            "velocity: gradient times the path's velocity; idgi: the score's change on each step, shared out by the gradient's squares",
        ),
        param(
            "tolerance",
            ParamKind::Float { min: 0.0, max: 1.0 },
            Value::Null,
            "stops early: at this gap of completeness, as a share of the scores' difference, with nodes where they are needed; with --smooth at this relative standard error",
        ),
        param(
            "sampling",
            ParamKind::Choice(&["joint", "nested"]),
            Value::Null,
            "with --smooth: joint gives each gradient its own noise and position, nested each draw of noise all steps; joint unless steps are given",
        ),
    ]
}

/// The parameter `baseline` of methods with a straight or similar path.
pub(super) fn baseline() -> ParamInfo {
    param(
        "baseline",
        ParamKind::Text,
        "black",
        "where the path begins: black, white, zero, mean, blur, noise or file:PATH",
    )
}

/// How long a joint sampling goes on, by a method's parameters.
pub(super) fn joint(given: &Given) -> Joint {
    let tolerance = given.float("tolerance");
    // A tolerance alone may take what it needs.
    let most = if tolerance.is_some() {
        10_000
    } else {
        Joint::default().evaluations
    };
    Joint {
        evaluations: given.integer("evaluations").unwrap_or(most),
        tolerance,
    }
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
            message: match &method.params[..] {
                [] => format!("has no parameter `{name}`; it has none"),
                known => {
                    let known: Vec<&str> = known.iter().map(|p| p.name).collect();
                    format!("has no parameter `{name}`; it has {}", known.join(", "))
                }
            },
        })?;
        given.0.insert(info.name, info.parse(id, text)?);
    }
    let samples = smooth.or(method.smooth).filter(|_| method.can_smooth());
    let smoothing = samples
        .map(|n| smooth_grad(&method, &given, n))
        .transpose()?;
    let alone = ["spread", "reduce", "evaluations", "sampling"];
    if smoothing.is_none()
        && method.can_smooth()
        && let Some(name) = alone.iter().find(|n| given.0.contains_key(*n))
    {
        return Err(conflict(
            id,
            format!("`{name}` steers smoothing: give --smooth N with it"),
        ));
    }
    (method.build)(&given, smoothing)
}

fn conflict(method: &str, message: impl Into<String>) -> ExplainError {
    ExplainError::Conflict {
        method: method.to_owned(),
        message: message.into(),
    }
}

/// Smoothing by the parameters of a method, `samples` being `--smooth`.
fn smooth_grad(
    method: &MethodInfo,
    given: &Given,
    samples: u64,
) -> Result<SmoothGrad, ExplainError> {
    let d = SmoothGrad::default();
    let reduce = given.text("reduce").and_then(Reduce::from_name);
    let reduce = reduce.unwrap_or(d.reduce);
    let first = |names: &[&'static str]| names.iter().copied().find(|n| given.0.contains_key(n));
    let nested = match (
        first(&["steps", "rule", "weighting"]),
        given.text("sampling"),
    ) {
        (_, Some("nested")) => Some("sampling=nested"),
        (name, _) => name,
    };
    let joint = match (first(&["evaluations", "tolerance"]), given.text("sampling")) {
        (_, Some("joint")) => Some("sampling=joint"),
        (name, _) => name,
    };
    let sampling = match (nested, joint) {
        (Some(nested), Some(joint)) => {
            return Err(conflict(
                method.id,
                format!("`{nested}` asks for nested sampling and `{joint}` for joint: give one"),
            ));
        }
        (Some(_), None) => Some(SampleBy::Nested),
        (None, Some(joint)) => {
            if reduce != Reduce::Mean {
                return Err(conflict(
                    method.id,
                    format!(
                        "`{joint}` asks for joint sampling, whose terms are no maps of their own: reduce={} needs sampling=nested",
                        reduce.name()
                    ),
                ));
            }
            Some(SampleBy::Joint(self::joint(given)))
        }
        (None, None) => None,
    };
    Ok(SmoothGrad {
        samples,
        spread: given.float("spread").unwrap_or(d.spread),
        reduce,
        sampling,
    })
}

pub(super) fn boxed<M: GradientMethod + 'static>(
    method: M,
    smoothing: Option<SmoothGrad>,
) -> Box<dyn Explainer> {
    match smoothing {
        Some(s) => Box::new(method.smoothed(s)),
        None => Box::new(method),
    }
}

/// The quadrature by a method's parameters.
pub(super) fn quadrature(method: &str, given: &Given) -> Result<Quadrature, ExplainError> {
    let d = Quadrature::default();
    let rule = given.text("rule").and_then(Rule::from_name);
    let tolerance = given.float("tolerance");
    let steps = given.integer("steps").unwrap_or(d.steps);
    let weighting = match given.text("weighting") {
        Some("idgi") => Weighting::Idgi,
        _ => Weighting::Velocity,
    };
    if rule == Some(Rule::Trapezoid) && steps < 2 {
        return Err(ExplainError::Parameter {
            method: method.to_owned(),
            name: "steps".into(),
            expected: "at least 2 for the trapezoid".into(),
            found: steps.to_string(),
        });
    }
    if tolerance.is_some() && rule.is_some() {
        return Err(conflict(
            method,
            "`tolerance` places the nodes itself: leave `rule` out",
        ));
    }
    if tolerance.is_some() && weighting == Weighting::Idgi {
        return Err(conflict(
            method,
            "weighting=idgi adds up exactly: `tolerance` has nothing to stop at",
        ));
    }
    Ok(Quadrature {
        steps: if tolerance.is_some() {
            given.integer("steps").unwrap_or(1000)
        } else {
            steps
        },
        rule,
        tolerance,
        weighting,
    })
}

/// What the joint sampling's constants must fit: the first test of the stopping
/// rule comes after the pilot and a block.
const _: () = assert!(PILOT.is_multiple_of(8) && BLOCK.is_multiple_of(8));
