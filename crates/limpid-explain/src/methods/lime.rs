use super::perturb::{
    HIDDEN, Superpixels, as_row, baseline_param, given_baseline, pixel_map, scores_of_masked, show,
    spread, uniforms,
};
use super::{Baseline, MethodInfo};
use crate::regression::Samples;
use crate::{
    Attribution, Context, ExplainError, Explainer, Given, ModelInfo, ParamInfo, ParamKind,
    Parameters, Request,
};
use std::sync::Arc;

/// The linear regression of [`Lime`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Regression {
    /// Squares of coefficients are penalised.
    #[default]
    Ridge,
    /// Their magnitudes are: some become zero.
    Lasso,
}

impl Regression {
    const NAMES: [&str; 2] = ["ridge", "lasso"];

    fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// LIME (Ribeiro, Singh and Guestrin, KDD 2016): a linear regression of the score
/// on which parts of the picture are shown, each with probability 1/2. Rows are
/// weighted by `exp(-d^2 / (2 width^2))`, d being the cosine distance from the
/// whole picture. A part's coefficient is spread evenly over its pixels.
///
/// ```
/// use limpid_explain::methods::{Lime, Superpixels};
/// let method = Lime::new().samples(500).segments(Superpixels::Grid { cells: 7 });
/// assert_eq!(method.penalty, 1.0);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Lime {
    /// The number of changed pictures; the first one is whole.
    pub samples: u64,
    /// Into which parts the picture is cut.
    pub segments: Superpixels,
    /// The regression.
    pub regression: Regression,
    /// Its penalty, in scikit-learn's unit (`alpha`).
    pub penalty: f64,
    /// The kernel's width; above 0.
    pub width: f64,
    /// What hidden parts look like.
    pub baseline: Baseline,
}

impl Default for Lime {
    fn default() -> Self {
        Self {
            samples: 1000,
            segments: Superpixels::default(),
            regression: Regression::Ridge,
            penalty: 1.0,
            width: 0.25,
            baseline: HIDDEN,
        }
    }
}

impl Lime {
    /// 1000 samples of 8 x 8 cells, ridge regression.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With another number of changed pictures.
    #[must_use]
    pub fn samples(mut self, samples: u64) -> Self {
        self.samples = samples;
        self
    }

    /// With other parts.
    #[must_use]
    pub fn segments(mut self, segments: Superpixels) -> Self {
        self.segments = segments;
        self
    }

    /// With another regression and penalty.
    #[must_use]
    pub fn regression(mut self, regression: Regression, penalty: f64) -> Self {
        self.regression = regression;
        self.penalty = penalty;
        self
    }

    /// With another width of the kernel.
    #[must_use]
    pub fn width(mut self, width: f64) -> Self {
        self.width = width;
        self
    }

    /// With hidden parts that look different.
    #[must_use]
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }

    fn weight(&self, coalition: &[bool]) -> f64 {
        let shown = coalition.iter().filter(|in_it| **in_it).count() as f64;
        let distance = 1.0 - (shown / coalition.len() as f64).sqrt();
        (-0.5 * (distance / self.width).powi(2)).exp()
    }
}

impl Explainer for Lime {
    fn id(&self) -> &str {
        "lime"
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        let mut all = Parameters::from_iter([
            ("samples".to_owned(), self.samples.into()),
            ("regression".to_owned(), self.regression.name().into()),
            ("penalty".to_owned(), self.penalty.into()),
            ("width".to_owned(), self.width.into()),
            ("baseline".to_owned(), self.baseline.name().into()),
        ]);
        self.segments.describe(&mut all);
        all
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let before = cx.evaluations();
        let labels = self.segments.cut(cx.model(), request.image)?;
        let coalition = |sample: u64| -> Vec<bool> {
            let parts = uniforms(request.seed, sample).take(labels.count());
            parts.map(|u| sample == 0 || u < 0.5).collect()
        };
        let mut samples = Samples::new(labels.count(), request.objectives.len())?;
        let mask = |i: u64, mask: &mut [f32]| show(&labels, &coalition(i), mask);
        scores_of_masked(
            cx,
            request,
            &self.baseline,
            0..self.samples,
            mask,
            &mut |i, scores| {
                let coalition = coalition(i);
                let weight = self.weight(&coalition);
                Ok(samples.add(&as_row(&coalition), scores, weight)?)
            },
        )?;
        let evaluations = cx.evaluations().since(before);
        let fits = match self.regression {
            Regression::Ridge => samples.ridge(self.penalty),
            Regression::Lasso => samples.lasso(self.penalty),
        }?;
        let map = |fit: crate::regression::Fit| {
            let map = spread(&labels, &fit.coefficients);
            pixel_map(self.id(), labels.size(), &map, true, evaluations)
        };
        fits.into_iter().map(map).collect()
    }
}

/// `lime`.
pub(super) fn info() -> MethodInfo {
    let d = Lime::default();
    MethodInfo {
        id: "lime".into(),
        kind: "perturbation".into(),
        output: "[H,W]".into(),
        summary: "a linear regression of the score on which parts of the picture are shown; a part's coefficient is spread over its pixels".into(),
        params: [
            vec![
                ParamInfo::new(
                    "samples",
                    ParamKind::Integer {
                        min: 2,
                        max: 1_000_000,
                    },
                    d.samples,
                    "the number of changed pictures",
                ),
                ParamInfo::new(
                    "regression",
                    ParamKind::choice(&Regression::NAMES),
                    d.regression.name(),
                    "which coefficients are penalised: by their squares or by their magnitudes",
                ),
                ParamInfo::new(
                    "penalty",
                    ParamKind::Float { min: 0.0, max: 1e9 },
                    d.penalty,
                    "the regression's penalty, as scikit-learn's alpha",
                ),
                ParamInfo::new(
                    "width",
                    ParamKind::Float {
                        min: 0.01,
                        max: 1e3,
                    },
                    d.width,
                    "the width of the kernel, in cosine distance from the whole picture",
                ),
                baseline_param(),
            ],
            Superpixels::params(),
        ]
        .concat(),
        smooth: None,
        build: Arc::new(|given: &Given, _| {
            let d = Lime::default();
            Ok(Box::new(Lime {
                samples: given.integer("samples").unwrap_or(d.samples),
                segments: Superpixels::given("lime", given)?,
                regression: match given.text("regression") {
                    Some("lasso") => Regression::Lasso,
                    _ => Regression::Ridge,
                },
                penalty: given.float("penalty").unwrap_or(d.penalty),
                width: given.float("width").unwrap_or(d.width),
                baseline: given_baseline("lime", given)?,
            }))
        }),
    }
}
