use super::{Baseline, MethodInfo, registry};
use crate::params::Given;
use crate::paths::Stack;
use crate::{
    Attribution, Completeness, Context, Domain, ExplainError, Explainer, Gradients, ModelInfo,
    Objective, ParamInfo, ParamKind, Parameters, Points, Request, Sample, SmoothGrad, Subject,
};
use limpid_tensor::Tensor;
use std::sync::Arc;

/// Guided Integrated Gradients: the path moves, at each step, the features with
/// the smallest gradients first, within a band around the straight line
/// (Kapishnikov, Venugopalan, Avci, Wedin, Terry and Bolukbasi, CVPR 2021). Each
/// step depends on the one before, so gradients are taken one by one, and there
/// is no smoothing.
///
/// The path and its sum are PAIR's `saliency` library's, in f64.
///
/// ```
/// use limpid_explain::methods::GuidedIntegratedGradients;
/// assert_eq!(GuidedIntegratedGradients::new().steps(50).fraction, 0.25);
/// ```
#[derive(Debug, Clone)]
pub struct GuidedIntegratedGradients {
    /// Gradients on the path.
    pub steps: u64,
    /// The share of features that are moved at once, in (0, 1].
    pub fraction: f64,
    /// How far a feature may be from its place on the straight line, as a share
    /// of the line: 0 is Integrated Gradients by the left rule, 1 has no bound.
    pub max_distance: f64,
    /// Where the path begins.
    pub baseline: Baseline,
}

impl Default for GuidedIntegratedGradients {
    fn default() -> Self {
        Self {
            steps: 200,
            fraction: 0.25,
            max_distance: 0.02,
            baseline: Baseline::default(),
        }
    }
}

impl GuidedIntegratedGradients {
    /// 200 steps from black.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With another number of gradients.
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// With another share of features moved at once.
    #[must_use]
    pub fn fraction(mut self, fraction: f64) -> Self {
        self.fraction = fraction;
        self
    }

    /// Within another distance of the straight line.
    #[must_use]
    pub fn max_distance(mut self, distance: f64) -> Self {
        self.max_distance = distance;
        self
    }

    /// With another baseline.
    #[must_use]
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }

    fn check(&self) -> Result<(), ExplainError> {
        let wrong = |name: &str, expected: &str, found: String| ExplainError::Parameter {
            method: self.id().to_owned(),
            name: name.into(),
            expected: expected.into(),
            found,
        };
        if self.steps == 0 {
            return Err(wrong("steps", "at least 1", self.steps.to_string()));
        }
        if !(self.fraction > 0.0 && self.fraction <= 1.0) {
            let found = self.fraction.to_string();
            return Err(wrong("fraction", "above 0 and at most 1", found));
        }
        if !(0.0..=1.0).contains(&self.max_distance) {
            let found = self.max_distance.to_string();
            return Err(wrong("max_distance", "from 0 to 1", found));
        }
        Ok(())
    }

    fn map(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        objective: &Objective,
        baseline: &Tensor,
    ) -> Result<Attribution, ExplainError> {
        let before = cx.evaluations();
        let image = request.image;
        let as_f64 = |t: &Tensor| t.data().iter().map(|v| f64::from(*v)).collect();
        let mut walk = Walk::new(as_f64(baseline), as_f64(image));
        let mut stack = Stack {
            pictures: vec![baseline.clone()],
        };
        for step in 0..self.steps {
            let point = walk.x.iter().map(|v| *v as f32).collect();
            stack.pictures[0] = Tensor::new(image.dims(), point)?;
            let mut gradient = Vec::new();
            cx.gradients(
                &Gradients {
                    subject: Subject::new(image, &stack),
                    objective,
                    points: &[Sample::default()],
                    times_velocity: false,
                },
                &mut |_, g| {
                    gradient = g.iter().map(|v| f64::from(*v)).collect();
                    Ok(())
                },
            )?;
            if !gradient.iter().all(|g| g.is_finite()) {
                return Err(ExplainError::NonFinite {
                    what: format!("a gradient of {}", self.id()),
                });
            }
            walk.step(&gradient, step, self);
        }
        stack.pictures = vec![image.clone(), baseline.clone()];
        let scores = cx.scores(&Points {
            subject: Subject::new(image, &stack),
            objectives: std::slice::from_ref(objective),
            points: &[Sample::at(0.0), Sample::at(1.0)],
        })?;
        let map = walk.attribution.iter().map(|v| *v as f32).collect();
        let mut attribution = Attribution {
            map: Tensor::new(image.dims(), map)?,
            standard_error: None,
            domain: Domain::Input,
            signed: true,
            completeness: None,
            evaluations: cx.evaluations().since(before),
        };
        let expected = scores[0] - scores[1];
        attribution.completeness = Some(Completeness::new(attribution.total(), expected));
        Ok(attribution)
    }
}

/// A guided path from a baseline to the picture, as far as it has gone.
struct Walk {
    baseline: Vec<f64>,
    image: Vec<f64>,
    x: Vec<f64>,
    attribution: Vec<f64>,
    /// The distance between the ends, in L1.
    total: f64,
}

impl Walk {
    fn new(baseline: Vec<f64>, image: Vec<f64>) -> Self {
        let pairs = baseline.iter().zip(&image);
        Self {
            total: pairs.map(|(a, b)| (a - b).abs()).sum(),
            attribution: vec![0.0; image.len()],
            x: baseline.clone(),
            baseline,
            image,
        }
    }

    /// Moves until the step's share of the distance is behind; features with
    /// the smallest gradients go first, those at the band's far side stay.
    fn step(&mut self, gradient: &[f64], step: u64, method: &GuidedIntegratedGradients) {
        const CLOSE: f64 = 1e-9;
        let alpha = (step + 1) as f64 / method.steps as f64;
        let low = (alpha - method.max_distance).max(0.0);
        let high = (alpha + method.max_distance).min(1.0);
        let on_line = |w: &Self, i: usize, a: f64| w.baseline[i] + (w.image[i] - w.baseline[i]) * a;
        let target = self.total * (1.0 - alpha);
        let mut sizes: Vec<f64> = gradient.iter().map(|g| g.abs()).collect();
        // Each round but the last moves its share of the features to their bound.
        for _ in 0..(2.0 / method.fraction) as u64 + 2 {
            let old = self.x.clone();
            for i in 0..self.x.len() {
                let length = self.image[i] - self.baseline[i];
                if length != 0.0 && (self.x[i] - self.baseline[i]) / length < low {
                    self.x[i] = on_line(self, i, low);
                }
            }
            let pairs = self.x.iter().zip(&self.image);
            let distance: f64 = pairs.map(|(a, b)| (a - b).abs()).sum();
            let close = (target - distance).abs() <= CLOSE * target.max(distance).max(1.0);
            let mut gamma = f64::INFINITY;
            if !close {
                for i in 0..self.x.len() {
                    if self.x[i] == on_line(self, i, high) {
                        sizes[i] = f64::INFINITY;
                    }
                }
                let threshold = lower_quantile(&sizes, method.fraction);
                let chosen = |i: usize| sizes[i] <= threshold && sizes[i].is_finite();
                let way = |i: usize| (on_line(self, i, high) - self.x[i]).abs();
                let reach: f64 = (0..self.x.len()).filter(|i| chosen(*i)).map(way).sum();
                if reach > 0.0 {
                    gamma = (distance - target) / reach;
                }
                let moved: Vec<usize> = (0..self.x.len()).filter(|i| chosen(*i)).collect();
                for &i in &moved {
                    let bound = on_line(self, i, high);
                    self.x[i] = if gamma > 1.0 {
                        bound
                    } else {
                        bound + (self.x[i] - bound) * (1.0 - gamma)
                    };
                }
                // Everything is at its bound already.
                if moved.is_empty() {
                    gamma = 0.0;
                }
            }
            for (i, old) in old.into_iter().enumerate() {
                self.attribution[i] += (self.x[i] - old) * gradient[i];
            }
            if close || gamma <= 1.0 {
                return;
            }
        }
    }
}

/// numpy's `quantile(..., method="lower")`.
fn lower_quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    let at = (share * values.len().saturating_sub(1) as f64).floor() as usize;
    let (_, value, _) = sorted.select_nth_unstable_by(at, f64::total_cmp);
    *value
}

impl Explainer for GuidedIntegratedGradients {
    fn id(&self) -> &str {
        "guided-ig"
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        Parameters::from_iter([
            ("steps".to_owned(), self.steps.into()),
            ("fraction".to_owned(), self.fraction.into()),
            ("max_distance".to_owned(), self.max_distance.into()),
            ("baseline".to_owned(), self.baseline.name().into()),
        ])
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        self.check()?;
        let baseline = self.baseline.tensor(cx, request)?;
        let objectives = request.objectives.iter();
        objectives
            .map(|o| self.map(cx, request, o, &baseline))
            .collect()
    }
}

/// `guided-ig`.
pub(super) fn info() -> MethodInfo {
    let d = GuidedIntegratedGradients::default();
    MethodInfo {
        id: "guided-ig".into(),
        kind: "path".into(),
        output: "[C,H,W]".into(),
        summary: "gradients summed along a path that moves the features with the smallest gradients first; nearly adds up to the difference of scores; one gradient after the other".into(),
        params: vec![
            ParamInfo::new(
                "steps",
                ParamKind::Integer {
                    min: 1,
                    max: 10_000,
                },
                d.steps,
                "gradients on the path",
            ),
            ParamInfo::new(
                "fraction",
                ParamKind::Float {
                    min: 0.001,
                    max: 1.0,
                },
                d.fraction,
                "the share of features moved at once",
            ),
            ParamInfo::new(
                "max_distance",
                ParamKind::Float { min: 0.0, max: 1.0 },
                d.max_distance,
                "how far a feature may be from its place on the straight line; 1: no bound",
            ),
            registry::baseline(),
        ],
        smooth: None,
        build: Arc::new(build),
    }
}

fn build(given: &Given, _: Option<SmoothGrad>) -> Result<Box<dyn Explainer>, ExplainError> {
    let d = GuidedIntegratedGradients::default();
    Ok(Box::new(GuidedIntegratedGradients {
        steps: given.integer("steps").unwrap_or(d.steps),
        fraction: given.float("fraction").unwrap_or(d.fraction),
        max_distance: given.float("max_distance").unwrap_or(d.max_distance),
        baseline: Baseline::given("guided-ig", given)?,
    }))
}
