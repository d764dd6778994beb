//! Methods measured by metrics over pictures.

mod randomised;
mod report;

pub use report::{Cost, MethodResult, MethodSummary, NumberInfo, PictureResult, Report, Summary};

use crate::engine::RunContext;
use crate::explanation::method_name;
use crate::{Error, Explanation, Input, ResolvedTarget, RunOptions, Session, Target};
use limpid_explain::metrics::{Case, Curve, Measurement, Metric, Needs, Region};
use limpid_explain::{Context, ExplainError, Explainer, Readout};
use randomised::{Randomised, RandomisedMaps};
use report::Recorder;
use std::time::Instant;

/// Measures methods by metrics, picture by picture.
///
/// ```
/// use limpid::{Device, Evaluation, GradCam, Image, Model, RunOptions, Target, metrics};
/// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
/// let session = Model::embedded()?.session(Device::auto()?)?;
/// let methods: Vec<Box<dyn limpid::Explainer>> = vec![Box::new(GradCam::new())];
/// let metrics = vec![metrics::metric("deletion-10")?];
/// let mut evaluation = Evaluation::new(&session, &methods, &metrics, 0);
/// let input = session.input(&Image::open(photo)?)?;
/// evaluation.picture(&input, &Target::Top(1), &[], &RunOptions::default())?;
/// let report = evaluation.report();
/// let deletion = &report.summary[0].metrics[0];
/// assert_eq!(deletion.0, "deletion-10");
/// assert!(deletion.1.mean.is_some_and(|area| area < 0.9));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Evaluation<'a> {
    session: &'a Session,
    methods: &'a [Box<dyn Explainer>],
    metrics: &'a [Box<dyn Metric>],
    seed: u64,
    randomised: Option<Randomised>,
    recorder: Recorder,
}

/// What came of one score of a picture, beside its place in the report: a map of
/// each method that has not failed.
pub struct Evaluated {
    /// The score.
    pub target: ResolvedTarget,
    /// The maps, in the order of the methods.
    pub maps: Vec<Option<Explanation>>,
    /// What the report says of them.
    pub result: PictureResult,
}

impl<'a> Evaluation<'a> {
    /// Nothing measured yet. `seed` is that of everything random.
    #[must_use]
    pub fn new(
        session: &'a Session,
        methods: &'a [Box<dyn Explainer>],
        metrics: &'a [Box<dyn Metric>],
        seed: u64,
    ) -> Self {
        Self {
            session,
            methods,
            metrics,
            seed,
            randomised: None,
            recorder: Recorder::default(),
        }
    }

    /// Measures all methods on an input, for each score that the target means.
    /// `regions` say what is where in the upright original picture, or in the
    /// input where that was given as an array.
    ///
    /// A method or metric that fails is noted in the result, and the others go on.
    ///
    /// # Errors
    /// When the input or target does not fit the model, a mask has another size
    /// than the picture, or the run was cancelled; then nothing is recorded.
    pub fn picture(
        &mut self,
        input: &Input,
        target: &Target,
        regions: &[Region],
        options: &RunOptions<'_>,
    ) -> Result<Vec<Evaluated>, Error> {
        let options = RunOptions {
            seed: self.seed,
            ..*options
        };
        let logits = self.session.logits(input)?;
        let targets = self.session.resolve(target, &logits)?;
        let regions = placed(regions, input)?;
        let needed = self.metrics.iter().any(|m| m.needs() == Needs::Randomised);
        if needed && self.randomised.is_none() {
            self.randomised = Some(Randomised::new(self.session, self.seed)?);
        }
        let mut found = Vec::new();
        for target in targets {
            let mut results = Vec::new();
            let mut maps = Vec::new();
            for method in self.methods {
                let (result, map) = self.method(input, &**method, &target, &regions, &options)?;
                results.push(result);
                maps.push(map);
            }
            let result = PictureResult::new(input, &target, &regions, results);
            found.push(Evaluated {
                target,
                maps,
                result,
            });
        }
        for evaluated in &found {
            self.recorder.add(evaluated.result.clone());
        }
        Ok(found)
    }

    /// Notes that a picture could not be measured.
    pub fn failed(&mut self, image: impl Into<String>, error: impl Into<String>) {
        self.recorder
            .add(PictureResult::failed(image.into(), error.into()));
    }

    /// All that was measured so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.recorder
            .report(self.session, self.methods, self.metrics, self.seed)
    }

    /// Measures one method on one score.
    fn method(
        &self,
        input: &Input,
        method: &dyn Explainer,
        target: &ResolvedTarget,
        regions: &[Region],
        options: &RunOptions<'_>,
    ) -> Result<(MethodResult, Option<Explanation>), Error> {
        let name = method_name(method.id(), method.is_smoothed());
        let targets = std::slice::from_ref(target);
        let explained = self
            .session
            .explain_targets(input, method, targets, options)
            .map(|mut maps| maps.pop());
        let explanation = match explained {
            Ok(Some(explanation)) => explanation,
            Ok(None) => {
                let error = "the method made no map".to_owned();
                return Ok((MethodResult::failed(name, error), None));
            }
            Err(error) if is_cancelled(&error) => return Err(error),
            Err(error) => return Ok((MethodResult::failed(name, error.to_string()), None)),
        };
        let manifest = explanation.manifest();
        let mut result = MethodResult::of(
            name,
            Cost {
                evaluations: manifest.evaluations,
                seconds: manifest.seconds,
            },
        );
        let objective = target.objective();
        let randomised = self.randomised.as_ref().map(|models| RandomisedMaps {
            models,
            session: self.session,
            input,
            method,
            objective: &objective,
            options: *options,
        });
        let case = Case {
            image: input.tensor(),
            objective: &objective,
            probability: match self.session.model().is_multi_label() {
                true => Readout::Sigmoid,
                false => Readout::Softmax,
            },
            map: explanation.attribution(),
            method,
            seed: self.seed,
            regions,
            randomised: randomised.as_ref().map(|r| r as _),
        };
        for metric in self.metrics {
            let start = Instant::now();
            let mut cx = RunContext::new(self.session.engine(), self.session.model(), *options);
            let measured = match metric.measure(&mut cx, &case) {
                Err(ExplainError::Cancelled) => return Err(ExplainError::Cancelled.into()),
                Err(error) => Measurement::default().with_note(error.to_string()),
                Ok(measured) => finite(measured),
            };
            let cost = Cost {
                evaluations: cx.evaluations(),
                seconds: start.elapsed().as_secs_f64(),
            };
            result.add(metric.id(), measured, cost);
        }
        Ok((result, Some(explanation)))
    }
}

/// What is not finite has no place in a report.
fn finite(mut found: Measurement) -> Measurement {
    for measured in &mut found.values {
        if measured.value.is_some_and(|v| !v.is_finite()) {
            measured.value = None;
            found.note = Some("the number is not finite".into());
        }
    }
    let whole = |c: &Curve| c.x.iter().chain(&c.y).all(|v| v.is_finite());
    found.curves.retain(whole);
    found
}

/// Whether a run ended because it was cancelled.
fn is_cancelled(error: &Error) -> bool {
    matches!(error, Error::Explain(ExplainError::Cancelled))
}

/// The regions as the model sees them.
fn placed(regions: &[Region], input: &Input) -> Result<Vec<Region>, Error> {
    let dims = input.tensor().dims();
    let size = [dims[dims.len() - 2], dims[dims.len() - 1]];
    let placed = regions.iter().map(|region| {
        let [height, width] = region.mask.size();
        let crop = match (input.crop(), input.original_size()) {
            (Some(crop), Some(original)) if original == [height, width] => {
                [crop.x, crop.y, crop.width, crop.height]
            }
            (None, _) if size == [height, width] => [0.0, 0.0, width as f64, height as f64],
            (_, original) => {
                return Err(Error::MaskSize {
                    region: region.name.clone(),
                    found: [height, width],
                    expected: original.unwrap_or(size),
                });
            }
        };
        Ok(Region {
            mask: region.mask.resampled(crop, size),
            ..region.clone()
        })
    });
    placed.collect()
}
