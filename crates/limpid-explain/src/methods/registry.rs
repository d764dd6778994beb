use super::{
    GradientMethod, blur_ig, deep_lift, expected_gradients, gradient, gradient_x_input, guided_ig,
    integrated_gradients, kernel_shap, lime, lrp, occlusion, rectified, rise, sig, xrai,
};
use crate::sampling::{BLOCK, Joint, PILOT};
use crate::smoothing::SampleBy;
use crate::{
    ExplainError, Explainer, Given, ParamInfo, ParamKind, Parameters, Quadrature, Reduce, Rule,
    SmoothGrad, Weighting,
};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// Makes a method from checked parameters, smoothed where that is given.
pub type Build =
    dyn Fn(&Given, Option<SmoothGrad>) -> Result<Box<dyn Explainer>, ExplainError> + Send + Sync;

/// What is known of a method before it is made.
#[derive(Clone)]
pub struct MethodInfo {
    /// Its id; that of a plugin's method is `<plugin>/<method>`.
    pub id: Cow<'static, str>,
    /// What family it is of: `gradient`, `path`, `rule`, `cam`, `attention`,
    /// `region` or `perturbation`.
    pub kind: Cow<'static, str>,
    /// The shape of its maps: `[C,H,W]`, `[H,W]` or, on a layer's grid, `[h,w]`.
    pub output: Cow<'static, str>,
    /// What it computes, in a sentence.
    pub summary: Cow<'static, str>,
    /// Its parameters.
    pub params: Vec<ParamInfo>,
    /// The draws of noise that it averages over by itself.
    pub smooth: Option<u64>,
    /// Makes it.
    pub build: Arc<Build>,
}

impl std::fmt::Debug for MethodInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MethodInfo").field(&self.id).finish()
    }
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

    /// The parameters' schemas by name.
    #[must_use]
    pub fn schema(&self) -> Parameters {
        let params = self.params.iter();
        params.map(|p| (p.name.to_string(), p.schema())).collect()
    }

    /// The id of the plugin that the method comes from.
    #[must_use]
    pub fn plugin(&self) -> Option<&str> {
        Some(self.id.split_once('/')?.0)
    }

    /// The parameter of this name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&ParamInfo> {
        self.params.iter().find(|p| p.name == name)
    }
}

/// The parameters of smoothing, which every gradient method has; `--smooth`
/// applies to a method that has them.
#[must_use]
pub fn smoothing() -> Vec<ParamInfo> {
    let d = SmoothGrad::default();
    vec![
        ParamInfo::new(
            "spread",
            ParamKind::Float {
                min: 0.0,
                max: 10.0,
            },
            d.spread,
            "with --smooth: the noise's standard deviation, as a share of the picture's range",
        ),
        ParamInfo::new(
            "reduce",
            ParamKind::choice(&Reduce::NAMES),
            d.reduce.name(),
            "with --smooth: how the maps of the draws become one",
        ),
        ParamInfo::new(
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
        ParamInfo::new(
            "steps",
            ParamKind::Integer {
                min: 1,
                max: 10_000,
            },
            d.steps,
            "gradients on each path; with --smooth it asks for nested sampling",
        ),
        ParamInfo::new(
            "rule",
            ParamKind::choice(&Rule::NAMES),
            rule,
            "the quadrature of the path integral",
        ),
        ParamInfo::new(
            "weighting",
            ParamKind::choice(&Weighting::NAMES),
            d.weighting.name(),
            "velocity: gradient times the path's velocity; idgi: the score's change on each step, shared out by the gradient's squares",
        ),
        ParamInfo::new(
            "tolerance",
            ParamKind::Float { min: 0.0, max: 1.0 },
            Value::Null,
            "stops early: at this gap of completeness, as a share of the scores' difference, with nodes where they are needed; with --smooth at this relative standard error",
        ),
        ParamInfo::new(
            "sampling",
            ParamKind::choice(&["joint", "nested"]),
            Value::Null,
            "with --smooth: joint gives each gradient its own noise and position, nested each draw of noise all steps; joint unless steps are given",
        ),
    ]
}

/// The parameter `baseline` of methods with a straight or similar path.
pub(super) fn baseline() -> ParamInfo {
    ParamInfo::new(
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

/// The method of this id among those of `all`.
///
/// # Errors
/// [`ExplainError::UnknownMethod`] with the ids that exist.
pub fn find<'a>(all: &'a [MethodInfo], id: &str) -> Result<&'a MethodInfo, ExplainError> {
    let found = all.iter().find(|m| m.id == id);
    found.ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|m| &*m.id).collect();
        ExplainError::UnknownMethod {
            id: id.chars().take(80).collect(),
            known: known.join(", "),
        }
    })
}

/// The built-in method of this id.
///
/// # Errors
/// [`ExplainError::UnknownMethod`] with the ids that exist.
pub fn info(id: &str) -> Result<MethodInfo, ExplainError> {
    find(&list(), id).cloned()
}

/// Makes a built-in method from parameters as the command line gives them,
/// smoothed by `smooth` draws where that is given.
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
    info(id)?.build(params, smooth)
}

impl MethodInfo {
    /// Makes the method from parameters as the command line gives them,
    /// smoothed by `smooth` draws where that is given.
    ///
    /// # Errors
    /// When there is no such parameter, or a value does not fit.
    pub fn build(
        &self,
        params: &[(&str, &str)],
        smooth: Option<u64>,
    ) -> Result<Box<dyn Explainer>, ExplainError> {
        let given = params.iter().map(|(name, text)| {
            let info = self.known(name)?;
            Ok(((*name).to_owned(), info.parse(&self.id, text)?))
        });
        self.make(&given.collect::<Result<_, ExplainError>>()?, smooth)
    }

    /// Makes the method from parameters as an object of JSON gives them.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_json(
        &self,
        params: &Parameters,
        smooth: Option<u64>,
    ) -> Result<Box<dyn Explainer>, ExplainError> {
        let given = params.iter().map(|(name, value)| {
            let info = self.known(name)?;
            Ok((name.clone(), info.value(&self.id, value)?))
        });
        self.make(&given.collect::<Result<_, ExplainError>>()?, smooth)
    }

    fn known(&self, name: &str) -> Result<&ParamInfo, ExplainError> {
        self.param(name).ok_or_else(|| {
            let message = match &self.params[..] {
                [] => format!("has no parameter `{name}`; it has none"),
                known => {
                    let known: Vec<&str> = known.iter().map(|p| &*p.name).collect();
                    format!("has no parameter `{name}`; it has {}", known.join(", "))
                }
            };
            conflict(&self.id, message)
        })
    }

    fn make(&self, given: &Given, smooth: Option<u64>) -> Result<Box<dyn Explainer>, ExplainError> {
        let samples = smooth.or(self.smooth).filter(|_| self.can_smooth());
        let smoothing = samples.map(|n| smooth_grad(self, given, n)).transpose()?;
        let alone = ["spread", "reduce", "evaluations", "sampling"];
        if smoothing.is_none()
            && self.can_smooth()
            && let Some(name) = alone.iter().find(|n| given.has(n))
        {
            let message = format!("`{name}` steers smoothing: give --smooth N with it");
            return Err(conflict(&self.id, message));
        }
        (self.build)(given, smoothing)
    }
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
    let first = |names: &[&'static str]| names.iter().copied().find(|n| given.has(n));
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
                &method.id,
                format!("`{nested}` asks for nested sampling and `{joint}` for joint: give one"),
            ));
        }
        (Some(_), None) => Some(SampleBy::Nested),
        (None, Some(joint)) => {
            if reduce != Reduce::Mean {
                return Err(conflict(
                    &method.id,
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

/// A gradient method as `--smooth` wants it.
pub fn boxed<M: GradientMethod + 'static>(
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
