use super::perturb::{
    HIDDEN, Superpixels, as_row, baseline_param, given_baseline, pixel_map, scores_of_masked, show,
    spread, uniforms,
};
use super::{Baseline, MethodInfo};
use crate::regression::Samples;
use crate::{
    Attribution, Context, ExplainError, Explainer, Given, InputError, ModelInfo, ParamInfo,
    ParamKind, Parameters, Request,
};
use std::sync::Arc;

/// KernelSHAP (Lundberg and Lee, NeurIPS 2017): the Shapley values of a picture's
/// parts, by a weighted regression of the score on which parts are shown. The
/// scores of the whole and of the hidden picture are met exactly, by elimination;
/// coalitions are drawn from the Shapley kernel in pairs of opposites (Covert and
/// Lee, AISTATS 2021). Where `samples` suffice for all coalitions, each is taken
/// once and the values are exact. A part's value is spread evenly over its pixels,
/// so that the map adds up to the difference of the two scores.
///
/// ```
/// use limpid_explain::methods::{KernelShap, Superpixels};
/// let method = KernelShap::new().samples(500).segments(Superpixels::Grid { cells: 7 });
/// assert_eq!(method.samples, 500);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct KernelShap {
    /// The number of coalitions, besides the empty and the full one; rounded up
    /// to an even number.
    pub samples: u64,
    /// Into which parts the picture is cut.
    pub segments: Superpixels,
    /// What hidden parts look like.
    pub baseline: Baseline,
}

impl Default for KernelShap {
    fn default() -> Self {
        Self {
            samples: 1000,
            segments: Superpixels::default(),
            baseline: HIDDEN,
        }
    }
}

impl KernelShap {
    /// 1000 coalitions of 8 x 8 cells.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With another number of coalitions.
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

    /// With hidden parts that look different.
    #[must_use]
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }
}

/// The coalitions of a game of `players`: none, all, and those in between.
struct Coalitions {
    seed: u64,
    players: usize,
    /// How many there are, besides the first two.
    count: u64,
    /// Whether each in between is taken once, with its weight; else they are
    /// drawn in proportion to it.
    all: bool,
    /// The probability of a size up to 1, 2, ... players less one.
    sizes: Vec<f64>,
}

impl Coalitions {
    fn new(seed: u64, players: usize, samples: u64) -> Self {
        // 2^players - 2, where that can be counted.
        let between = u32::try_from(players)
            .ok()
            .and_then(|n| 1u64.checked_shl(n));
        let between = between
            .map(|n| n.saturating_sub(2))
            .filter(|n| *n <= samples);
        let mut sum = 0.0;
        let mut sizes: Vec<f64> = (1..players)
            .map(|k| {
                sum += 1.0 / (k * (players - k)) as f64;
                sum
            })
            .collect();
        sizes.iter_mut().for_each(|s| *s /= sum);
        Self {
            seed,
            players,
            count: between.unwrap_or_else(|| samples.next_multiple_of(2)),
            all: between.is_some(),
            sizes,
        }
    }

    fn get(&self, index: u64) -> Vec<bool> {
        match index.checked_sub(2) {
            None => vec![index == 1; self.players],
            // The bits of 1, 2, ... 2^players - 2.
            Some(i) if self.all => (0..self.players).map(|p| (i + 1) >> p & 1 == 1).collect(),
            Some(i) => {
                let mut numbers = uniforms(self.seed, i / 2);
                let u = numbers.next().unwrap_or_default();
                let size = self.sizes.partition_point(|s| *s < u) + 1;
                let mut order: Vec<(f64, usize)> = numbers.zip(0..self.players).collect();
                order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                let opposite = i % 2 == 1;
                let mut coalition = vec![opposite; self.players];
                for (_, player) in order.iter().take(size.min(self.players - 1)) {
                    coalition[*player] = !opposite;
                }
                coalition
            }
        }
    }

    /// The kernel's weight of a coalition in between, up to a factor:
    /// 1 / (binomial(players, size) * size * (players - size)).
    fn weight(&self, coalition: &[bool]) -> f64 {
        if !self.all {
            return 1.0;
        }
        let size = coalition.iter().filter(|in_it| **in_it).count();
        let choices = (1..=size).fold(1.0, |b, i| b * (self.players - size + i) as f64 / i as f64);
        1.0 / (choices * (size * (self.players - size)) as f64)
    }
}

impl Explainer for KernelShap {
    fn id(&self) -> &str {
        "kernel-shap"
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        let mut all = Parameters::from_iter([
            ("samples".to_owned(), self.samples.into()),
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
        let coalitions = Coalitions::new(request.seed, labels.count(), self.samples);
        let mut samples = Samples::new(labels.count(), request.objectives.len())?;
        let mut hidden = vec![0.0; request.objectives.len()];
        let mut totals = hidden.clone();
        let mask = |i: u64, mask: &mut [f32]| show(&labels, &coalitions.get(i), mask);
        let all = 0..coalitions.count + 2;
        scores_of_masked(cx, request, &self.baseline, all, mask, &mut |i, scores| {
            let gains = scores.iter().zip(&hidden).map(|(s, h)| s - h);
            match i {
                0 => hidden.copy_from_slice(scores),
                1 => totals = gains.collect(),
                _ => {
                    let coalition = coalitions.get(i);
                    let (row, gains) = (as_row(&coalition), gains.collect::<Vec<_>>());
                    samples.add(&row, &gains, coalitions.weight(&coalition))?;
                }
            }
            Ok(())
        })?;
        let evaluations = cx.evaluations().since(before);
        let values = samples.with_sums(&totals).map_err(|error| match error {
            InputError::Singular => ExplainError::Conflict {
                method: self.id().to_owned(),
                message: format!(
                    "{} samples do not determine the values of {} parts: raise `samples`, or cut the picture into fewer parts",
                    self.samples,
                    labels.count()
                ),
            },
            other => other.into(),
        })?;
        let map = |values: Vec<f64>| {
            let map = spread(&labels, &values);
            pixel_map(self.id(), labels.size(), &map, true, evaluations)
        };
        values.into_iter().map(map).collect()
    }
}

/// `kernel-shap`.
pub(super) fn info() -> MethodInfo {
    let d = KernelShap::default();
    MethodInfo {
        id: "kernel-shap".into(),
        kind: "perturbation".into(),
        output: "[H,W]".into(),
        summary: "the Shapley values of the picture's parts, spread over their pixels; adds up to the difference of scores".into(),
        params: [
            vec![
                ParamInfo::new(
                    "samples",
                    ParamKind::Integer {
                        min: 2,
                        max: 1_000_000,
                    },
                    d.samples,
                    "the number of coalitions of parts; so many that all can be taken make the values exact",
                ),
                baseline_param(),
            ],
            Superpixels::params(),
        ]
        .concat(),
        smooth: None,
        build: Arc::new(|given: &Given, _| {
            let d = KernelShap::default();
            Ok(Box::new(KernelShap {
                samples: given.integer("samples").unwrap_or(d.samples),
                segments: Superpixels::given("kernel-shap", given)?,
                baseline: given_baseline("kernel-shap", given)?,
            }))
        }),
    }
}
