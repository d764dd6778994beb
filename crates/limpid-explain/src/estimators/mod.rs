//! How points of a path become a map: nested or joint sampling, adaptive
//! nodes, and IDGI's weights.

mod adaptive;
mod idgi;
mod joint;

use crate::methods::{GradientMethod, Trajectory};
use crate::{
    Attribution, Completeness, Context, Domain, ExplainError, Integration, Joint, Objective,
    Parameters, Points, Reduce, Request, Rule, Sample, Schedule, SmoothGrad, Subject,
};
use limpid_tensor::Tensor;

/// Draws whose scores are asked for at once: memory does not grow with their number.
const SCORED_AT_ONCE: usize = 1024;

/// Draws of a joint sampling whose scores show what the map should add up to.
const COMPLETENESS_DRAWS: u64 = 16;

/// How gradients along a path are weighted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Weighting {
    /// Each gradient times the path's velocity.
    #[default]
    Velocity,
    /// Important Direction Gradient Integration: the score's change on each
    /// part of the path, shared out in proportion to the gradient's squares
    /// (Yang, Wang and Bilgic, CVPR 2023). It adds up exactly on any path.
    Idgi,
}

impl Weighting {
    /// The names that the parameter `weighting` takes.
    pub const NAMES: [&str; 2] = ["velocity", "idgi"];

    /// The name that the parameter `weighting` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// How a path is divided.
///
/// ```
/// use limpid_explain::{Quadrature, Rule};
/// let quadrature = Quadrature { steps: 20, rule: Some(Rule::GaussLegendre), ..Quadrature::default() };
/// assert!(quadrature.tolerance.is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quadrature {
    /// Gradients on the path; the most of them where `tolerance` is given.
    pub steps: u64,
    /// Where the nodes are; `None` stands for the method's own.
    pub rule: Option<Rule>,
    /// Nodes are placed adaptively until the parts' gaps of completeness add up
    /// to no more than this share of the scores' difference.
    pub tolerance: Option<f64>,
    /// How gradients are weighted.
    pub weighting: Weighting,
}

impl Default for Quadrature {
    fn default() -> Self {
        Self {
            steps: 64,
            rule: None,
            tolerance: None,
            weighting: Weighting::Velocity,
        }
    }
}

impl Quadrature {
    /// Puts the effective values among a manifest's parameters.
    pub(crate) fn describe(&self, rule: Rule, all: &mut Parameters) {
        all.insert("steps".into(), self.steps.into());
        let rule = if self.tolerance.is_some() {
            "adaptive"
        } else {
            rule.name()
        };
        all.insert("rule".into(), rule.into());
        all.insert("tolerance".into(), self.tolerance.into());
        all.insert("weighting".into(), self.weighting.name().into());
    }
}

/// How noise and path are sampled, with the number of draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sampling {
    Nested { draws: u64 },
    Joint(Joint),
}

impl Sampling {
    /// Puts the effective values among a manifest's parameters.
    pub(crate) fn describe(self, all: &mut Parameters) {
        let Self::Joint(joint) = self else {
            all.insert("sampling".into(), "nested".into());
            return;
        };
        all.insert("sampling".into(), "joint".into());
        all.insert("evaluations".into(), joint.total().into());
        all.insert("tolerance".into(), joint.tolerance.into());
        for nested in ["steps", "rule", "weighting"] {
            all.remove(nested);
        }
    }
}

/// Explains each objective by a gradient method, with noise or without.
pub(crate) fn run<M: GradientMethod>(
    method: &M,
    smoothing: Option<&SmoothGrad>,
    sampling: Sampling,
    cx: &mut dyn Context,
    request: &Request<'_>,
) -> Result<Vec<Attribution>, ExplainError> {
    let trajectory = method.trajectory(cx, request)?;
    let estimation = Estimation {
        id: method.id(),
        trajectory: &trajectory,
        subject: Subject {
            image: request.image,
            path: &*trajectory.path,
            noise: smoothing.map(|s| s.noise(request.image, request.seed)),
            rule: trajectory.rule,
        },
        reduce: smoothing.map_or(Reduce::Mean, |s| s.reduce),
        sampling,
        seed: request.seed,
    };
    let objectives = request.objectives.iter();
    objectives.map(|o| estimation.explain(cx, o)).collect()
}

/// One method on one picture.
struct Estimation<'a> {
    id: &'a str,
    trajectory: &'a Trajectory,
    subject: Subject<'a>,
    reduce: Reduce,
    sampling: Sampling,
    seed: u64,
}

impl Estimation<'_> {
    fn explain(
        &self,
        cx: &mut dyn Context,
        objective: &Objective,
    ) -> Result<Attribution, ExplainError> {
        let before = cx.evaluations();
        let quadrature = &self.trajectory.quadrature;
        let (map, standard_error) = match self.sampling {
            Sampling::Joint(sampling) => {
                let estimate = joint::estimate(self, cx, objective, sampling)?;
                (estimate.map, Some(estimate.standard_error))
            }
            Sampling::Nested { draws } if quadrature.weighting == Weighting::Idgi => {
                (idgi::map(self, cx, objective, draws)?, None)
            }
            Sampling::Nested { draws: 1 } if quadrature.tolerance.is_some() => {
                (adaptive::map(self, cx, objective)?, None)
            }
            Sampling::Nested { draws } => (self.nested(cx, objective, draws)?, None),
        };
        if !map.is_finite() {
            return Err(ExplainError::NonFinite {
                what: format!("the map of {}", self.id),
            });
        }
        let mut attribution = Attribution {
            map,
            standard_error,
            domain: Domain::Input,
            signed: self.reduce == Reduce::Mean,
            completeness: None,
            evaluations: cx.evaluations(),
        };
        // Squares and variances do not add up to a difference of scores.
        if let (Some(ends), Reduce::Mean) = (self.subject.path.ends(), self.reduce) {
            let draws = match self.sampling {
                Sampling::Nested { draws } => draws,
                Sampling::Joint(_) => COMPLETENESS_DRAWS,
            };
            let expected = self.expected(cx, objective, ends, draws)?;
            attribution.completeness = Some(Completeness::new(attribution.total(), expected));
        }
        attribution.evaluations = cx.evaluations().since(before);
        Ok(attribution)
    }

    /// The mean over draws of the score at the picture less that at the path's
    /// other end.
    fn expected(
        &self,
        cx: &mut dyn Context,
        objective: &Objective,
        [picture, end]: [f64; 2],
        draws: u64,
    ) -> Result<f64, ExplainError> {
        let mut expected = 0.0;
        for first in (0..draws).step_by(SCORED_AT_ONCE) {
            let part = first..draws.min(first + SCORED_AT_ONCE as u64);
            let pair = |draw| [picture, end].map(|position| Sample { draw, position });
            let scores = cx.scores(&Points {
                subject: self.subject,
                objectives: std::slice::from_ref(objective),
                points: &part.flat_map(pair).collect::<Vec<_>>(),
            })?;
            expected += scores.chunks(2).map(|s| s[0] - s[1]).sum::<f64>();
        }
        Ok(expected / draws as f64)
    }

    /// Every draw with all nodes.
    fn nested(
        &self,
        cx: &mut dyn Context,
        objective: &Objective,
        draws: u64,
    ) -> Result<Tensor, ExplainError> {
        let schedule = Schedule::nested(draws, self.trajectory.nodes());
        if schedule.evaluations().is_none_or(|n| n == 0) {
            return Err(ExplainError::Parameter {
                method: self.id.to_owned(),
                name: "steps and draws".into(),
                expected: "at least 1 each, and their product below 2^64".into(),
                found: format!("{} and {draws}", schedule.nodes.len()),
            });
        }
        cx.integrate(&Integration {
            subject: self.subject,
            objective,
            schedule: &schedule,
            reduce: self.reduce,
        })
    }
}
