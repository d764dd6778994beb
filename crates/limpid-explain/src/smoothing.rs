use crate::estimators::{Sampling, run};
use crate::methods::GradientMethod;
use crate::{
    Attribution, Context, ExplainError, Explainer, Joint, ModelInfo, Noise, Parameters, Reduce,
    Request,
};
use limpid_tensor::Tensor;

/// SmoothGrad: averaging over noise (Smilkov et al., 2017).
///
/// Each draw adds N(0, (spread * range)^2) to the normalised picture, range
/// being its largest less its smallest value, over all channels and pixels.
///
/// A method that sums along a path is sampled jointly: each gradient has its
/// own position and its own draw (see [`sampling`](crate::sampling)). The plain
/// gradient, and squares and variances of maps, take `samples` draws.
///
/// ```
/// use limpid_explain::{Reduce, SmoothGrad};
/// let vargrad = SmoothGrad::new().samples(50).spread(0.1).reduce(Reduce::Variance);
/// assert_eq!(vargrad.samples, 50);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmoothGrad {
    /// The number of draws where sampling is nested.
    pub samples: u64,
    /// The noise's standard deviation, as a share of the picture's range.
    pub spread: f64,
    /// How the draws become one map.
    pub reduce: Reduce,
    /// How noise and path are sampled; `None` stands for jointly where there is
    /// a path and a mean is taken, else nested.
    pub sampling: Option<SampleBy>,
}

/// How noise and path are sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampleBy {
    /// Every draw of noise has all nodes of the path.
    Nested,
    /// Every gradient has its own draw and position.
    Joint(Joint),
}

impl Default for SmoothGrad {
    fn default() -> Self {
        Self {
            samples: 25,
            spread: 0.15,
            reduce: Reduce::Mean,
            sampling: None,
        }
    }
}

impl SmoothGrad {
    /// 25 draws at a spread of 0.15, averaged; 200 gradients along a path.
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

    /// Each draw of noise with all nodes of the path.
    #[must_use]
    pub fn nested(mut self) -> Self {
        self.sampling = Some(SampleBy::Nested);
        self
    }

    /// Each gradient with its own draw and position on the path.
    #[must_use]
    pub fn joint(mut self, joint: Joint) -> Self {
        self.sampling = Some(SampleBy::Joint(joint));
        self
    }

    /// How a method with a path, or without, is sampled.
    pub(crate) fn effective(&self, has_path: bool) -> SampleBy {
        self.sampling
            .unwrap_or(if has_path && self.reduce == Reduce::Mean {
                SampleBy::Joint(Joint::default())
            } else {
                SampleBy::Nested
            })
    }

    pub(crate) fn noise(&self, image: &Tensor, seed: u64) -> Noise {
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

impl<M: GradientMethod> Smoothed<M> {
    fn sampling(&self) -> Sampling {
        match self.smoothing.effective(self.method.has_path()) {
            SampleBy::Nested => Sampling::Nested {
                draws: self.smoothing.samples,
            },
            SampleBy::Joint(joint) => Sampling::Joint(joint),
        }
    }
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
        let sampling = self.sampling();
        let draws = match sampling {
            Sampling::Nested { draws } => draws,
            Sampling::Joint(joint) => joint.total(),
        };
        all.insert("smooth".into(), draws.into());
        all.insert("spread".into(), self.smoothing.spread.into());
        all.insert("reduce".into(), self.smoothing.reduce.name().into());
        sampling.describe(&mut all);
        all
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        run(
            &self.method,
            Some(&self.smoothing),
            self.sampling(),
            cx,
            request,
        )
    }
}
