use crate::methods::GradientMethod;
use crate::{
    Attribution, Completeness, Context, Domain, ExplainError, Explainer, Integration, ModelInfo,
    Noise, Parameters, Points, Reduce, Request, Schedule, Subject,
};
use limpid_tensor::Tensor;

/// SmoothGrad: averaging over noise (Smilkov et al., 2017).
///
/// Each draw adds N(0, (spread * range)^2) to the normalised picture, range
/// being its largest less its smallest value, over all channels and pixels.
///
/// ```
/// use limpid_explain::{Reduce, SmoothGrad};
/// let vargrad = SmoothGrad::new().samples(50).spread(0.1).reduce(Reduce::Variance);
/// assert_eq!(vargrad.samples, 50);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmoothGrad {
    /// The number of draws.
    pub samples: u64,
    /// The noise's standard deviation, as a share of the picture's range.
    pub spread: f64,
    /// How the draws become one map.
    pub reduce: Reduce,
}

impl Default for SmoothGrad {
    fn default() -> Self {
        Self {
            samples: 25,
            spread: 0.15,
            reduce: Reduce::Mean,
        }
    }
}

impl SmoothGrad {
    /// 25 draws at a spread of 0.15, averaged.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With another number of draws.
    #[must_use]
    pub fn samples(mut self, samples: u64) -> Self {
        self.samples = samples;
        self
    }

    /// With another spread.
    #[must_use]
    pub fn spread(mut self, spread: f64) -> Self {
        self.spread = spread;
        self
    }

    /// With another reducer.
    #[must_use]
    pub fn reduce(mut self, reduce: Reduce) -> Self {
        self.reduce = reduce;
        self
    }

    fn noise(&self, image: &Tensor, seed: u64) -> Noise {
        let range = |(lo, hi): (f32, f32), v: &f32| (lo.min(*v), hi.max(*v));
        let (lo, hi) = image
            .data()
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), range);
        Noise {
            scale: (self.spread * (f64::from(hi) - f64::from(lo))) as f32,
            seed,
        }
    }
}

/// A gradient method averaged over noise.
#[derive(Debug, Clone)]
pub struct Smoothed<M> {
    pub(crate) method: M,
    pub(crate) smoothing: SmoothGrad,
}

impl<M: GradientMethod> Explainer for Smoothed<M> {
    fn id(&self) -> &str {
        self.method.id()
    }

    fn is_smoothed(&self) -> bool {
        true
    }

    fn parameters(&self, model: &ModelInfo, input: &[usize]) -> Parameters {
        let mut all = self.method.parameters(model, input);
        all.insert("smooth".into(), self.smoothing.samples.into());
        all.insert("spread".into(), self.smoothing.spread.into());
        all.insert("reduce".into(), self.smoothing.reduce.name().into());
        all
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Attribution, ExplainError> {
        run(&self.method, Some(&self.smoothing), cx, request)
    }
}

/// Draws whose scores are asked for at once: memory does not grow with their number.
const SCORED_AT_ONCE: usize = 1024;

/// Integrates a gradient method's path, with noise or without.
pub(crate) fn run<M: GradientMethod>(
    method: &M,
    smoothing: Option<&SmoothGrad>,
    cx: &mut dyn Context,
    request: &Request<'_>,
) -> Result<Attribution, ExplainError> {
    let (path, nodes) = method.path(cx, request)?;
    let noise = smoothing.map(|s| s.noise(request.image, request.seed));
    let draws = smoothing.map_or(1, |s| s.samples);
    let reduce = smoothing.map_or(Reduce::Mean, |s| s.reduce);
    let schedule = Schedule::nested(draws, nodes);
    if schedule.evaluations().is_none_or(|n| n == 0) {
        return Err(ExplainError::Parameter {
            method: method.id().to_owned(),
            name: "steps and draws".into(),
            expected: "at least 1 each, and their product below 2^64".into(),
            found: format!("{} and {draws}", schedule.nodes.len()),
        });
    }
    let subject = Subject {
        image: request.image,
        objective: &request.objective,
        path: &*path,
        noise,
    };
    let map = cx.integrate(&Integration {
        subject,
        schedule: &schedule,
        reduce,
    })?;
    if !map.is_finite() {
        return Err(ExplainError::NonFinite {
            what: format!("the map of {}", method.id()),
        });
    }
    let mut attribution = Attribution {
        map,
        domain: Domain::Input,
        signed: reduce == Reduce::Mean,
        completeness: None,
        evaluations: cx.evaluations(),
    };
    // Squares and variances do not add up to a difference of scores.
    if let (Some([picture, end]), Reduce::Mean) = (path.ends(), reduce) {
        let mut expected = 0.0;
        for first in (0..draws).step_by(SCORED_AT_ONCE) {
            let part = first..draws.min(first + SCORED_AT_ONCE as u64);
            let points: Vec<(u64, f64)> = part.flat_map(|d| [(d, picture), (d, end)]).collect();
            let scores = cx.scores(&Points {
                subject,
                points: &points,
            })?;
            expected += scores.chunks(2).map(|s| s[0] - s[1]).sum::<f64>();
        }
        expected /= draws as f64;
        let attributed = attribution.total();
        attribution.completeness = Some(Completeness::new(attributed, expected));
        attribution.evaluations = cx.evaluations();
    }
    Ok(attribution)
}
