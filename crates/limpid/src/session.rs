use crate::engine::{Engine, RunContext};
use crate::{Device, Error, Explanation, Image, Input, Model};
use limpid_explain::{ExplainError, Explainer, LayerGradient, Objective, Request};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What is to be explained of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The classes of the K highest scores, a map for each.
    Top(usize),
    /// One class.
    Class(usize),
    /// One class by its label: the whole name or one of its comma-separated
    /// synonyms, case ignored.
    Label(String),
}

impl Target {
    /// Reads `top1`, `top:K`, a class index or a label.
    ///
    /// ```
    /// use limpid::Target;
    /// assert_eq!(Target::parse("top1"), Target::Top(1));
    /// assert_eq!(Target::parse("top:3"), Target::Top(3));
    /// assert_eq!(Target::parse("967"), Target::Class(967));
    /// assert_eq!(Target::parse("espresso"), Target::Label("espresso".into()));
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let top = text.strip_prefix("top:").and_then(|k| k.parse().ok());
        match (text, top, text.parse()) {
            ("top1", ..) => Self::Top(1),
            (_, Some(k), _) => Self::Top(k),
            (_, _, Ok(index)) => Self::Class(index),
            _ => Self::Label(text.to_owned()),
        }
    }
}

/// A class and what the model says of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The class.
    pub index: usize,
    /// Its label.
    pub label: String,
    /// Its logit.
    pub score: f32,
    /// Its share of the softmax over all classes.
    pub probability: f64,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Passes through the model that are done.
    pub done: u64,
    /// Passes that are known to be needed.
    pub total: u64,
}

/// What a session is bound to.
///
/// ```
/// # use limpid::{Device, Gradient, GradCam, Image, Model, RunOptions, Session, SessionOptions, Target};
/// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
/// # let session = Model::embedded()?.session(Device::auto()?)?;
/// # let image = Image::open(photo)?;
/// let options = SessionOptions { memory: Some(64 << 20), ..SessionOptions::default() };
/// let session = Session::new(Model::embedded()?, Device::auto()?, options)?;
/// assert!(session.input(&image).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Evaluations of one picture that are put through the model at once;
    /// results do not depend on it. `None` stands for as many as pay off
    /// within `memory`.
    pub batch: Option<usize>,
    /// Bytes for the arena, inputs and outputs of a run, besides the weights;
    /// `None` stands for no bound.
    pub memory: Option<u64>,
}

/// What steers one run.
///
/// ```
/// # use limpid::{Device, Gradient, GradCam, Image, Model, RunOptions, Session, SessionOptions, Target};
/// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
/// # let session = Model::embedded()?.session(Device::auto()?)?;
/// # let image = Image::open(photo)?;
/// let options = RunOptions { seed: 7, ..RunOptions::default() };
/// let input = session.input(&image)?;
/// let maps = session.explain_input(&input, &Gradient::new(), &Target::Top(1), &options)?;
/// assert_eq!(maps[0].manifest().seed, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct RunOptions<'a> {
    /// The seed of everything random.
    pub seed: u64,
    /// Called after each batch.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
    /// Ends the run, with [`ExplainError::Cancelled`], once it is true.
    pub cancel: Option<&'a AtomicBool>,
}

impl RunOptions<'_> {
    pub(crate) fn check(&self) -> Result<(), ExplainError> {
        match self.cancel {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(ExplainError::Cancelled),
            _ => Ok(()),
        }
    }
}

/// A model on a device. It can be used from many threads at once; plans are
/// made once for each shape and kept.
///
/// ```
/// # use limpid::{Device, Gradient, GradCam, Image, Model, RunOptions, Session, SessionOptions, Target};
/// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
/// # let session = Model::embedded()?.session(Device::auto()?)?;
/// # let image = Image::open(photo)?;
/// let input = session.input(&image)?;
/// let top = session.predict(&input, 3)?;
/// assert_eq!(top[0].label, "espresso");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session {
    model: Model,
    device: Device,
    engine: Engine,
}

impl Session {
    /// A model on a device.
    ///
    /// # Errors
    /// When the graph does not fit its configuration.
    pub fn new(model: Model, device: Device, options: SessionOptions) -> Result<Self, Error> {
        let engine = Engine::new(&model, device.inner().clone(), options)?;
        Ok(Self {
            model,
            device,
            engine,
        })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The picture as the model sees it.
    ///
    /// # Errors
    /// When memory is short.
    pub fn input(&self, image: &Image) -> Result<Input, Error> {
        Ok(self.model.preprocess().apply(image)?)
    }

    /// The logits of one input.
    ///
    /// # Errors
    /// When the input does not fit the model, or a score is not finite.
    ///
    /// ```
    /// # use limpid::{Device, Gradient, GradCam, Image, Model, RunOptions, Session, SessionOptions, Target};
    /// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
    /// # let session = Model::embedded()?.session(Device::auto()?)?;
    /// # let image = Image::open(photo)?;
    /// let logits = session.logits(&session.input(&image)?)?;
    /// assert_eq!(logits.len(), 1000);
    /// assert_eq!(session.rank(&logits, 1)[0].index, 967);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn logits(&self, input: &Input) -> Result<Vec<f32>, Error> {
        self.model.check_input(input)?;
        let scores = self.engine.logits(input.tensor())?;
        if scores.iter().all(|s| s.is_finite()) {
            return Ok(scores);
        }
        Err(Error::NonFiniteScores {
            input: input
                .path()
                .map_or_else(|| "the input".into(), |p| p.display().to_string()),
        })
    }

    /// The `top` highest classes of one input, or all where there are fewer; highest first.
    ///
    /// # Errors
    /// As [`logits`](Self::logits).
    pub fn predict(&self, input: &Input, top: usize) -> Result<Vec<Prediction>, Error> {
        Ok(self.rank(&self.logits(input)?, top))
    }

    /// The `top` highest of these scores, highest first; ties in class order.
    #[must_use]
    pub fn rank(&self, logits: &[f32], top: usize) -> Vec<Prediction> {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        order.truncate(top);
        order
            .into_iter()
            .map(|index| self.prediction(logits, index))
            .collect()
    }

    fn prediction(&self, logits: &[f32], index: usize) -> Prediction {
        let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let exp = |s: &f32| (f64::from(*s) - max).exp();
        let sum: f64 = logits.iter().map(exp).sum();
        Prediction {
            index,
            label: self.model.labels().display(index),
            score: logits[index],
            probability: exp(&logits[index]) / sum,
        }
    }

    /// The classes that a target means for these scores.
    ///
    /// # Errors
    /// When there is no such class, or several bear the label.
    ///
    /// ```
    /// # use limpid::{Device, Gradient, GradCam, Image, Model, RunOptions, Session, SessionOptions, Target};
    /// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
    /// # let session = Model::embedded()?.session(Device::auto()?)?;
    /// # let image = Image::open(photo)?;
    /// let logits = session.logits(&session.input(&image)?)?;
    /// let classes = session.resolve(&Target::Label("espresso".into()), &logits)?;
    /// assert_eq!(classes[0].index, 967);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolve(&self, target: &Target, logits: &[f32]) -> Result<Vec<Prediction>, Error> {
        let classes = logits.len();
        let index = match target {
            Target::Top(k) if (1..=classes).contains(k) => return Ok(self.rank(logits, *k)),
            Target::Top(asked) => {
                return Err(Error::TooManyClasses {
                    asked: *asked,
                    classes,
                });
            }
            Target::Class(index) => self.model.labels().find(&index.to_string())?,
            Target::Label(label) => self.model.labels().find(label)?,
        };
        Ok(vec![self.prediction(logits, index)])
    }

    /// What a layer puts out for an input, and an objective's gradient with
    /// respect to it, both of the layer's own shape without the batch.
    ///
    /// # Errors
    /// When the input does not fit the model, there is no such layer, or no
    /// gradient reaches it.
    ///
    /// ```
    /// # use limpid::{Device, Image, Model, Objective};
    /// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
    /// # let session = Model::embedded()?.session(Device::auto()?)?;
    /// # let image = Image::open(photo)?;
    /// let at = session.layer_gradient(&session.input(&image)?, "blocks.4", &Objective::class(967))?;
    /// assert_eq!(at.activation.dims(), [112, 14, 14]);
    /// assert_eq!(at.gradient.dims(), at.activation.dims());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn layer_gradient(
        &self,
        input: &Input,
        layer: &str,
        objective: &Objective,
    ) -> Result<LayerGradient, Error> {
        self.model.check_input(input)?;
        self.engine.layer_gradient(input.tensor(), layer, objective)
    }

    /// Explains a picture: a map for each class of the target.
    ///
    /// # Errors
    /// When the method does not fit the model, or a result is not finite.
    ///
    /// ```
    /// # use limpid::{Device, Gradient, GradCam, Image, Model, RunOptions, Session, SessionOptions, Target};
    /// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
    /// # let session = Model::embedded()?.session(Device::auto()?)?;
    /// # let image = Image::open(photo)?;
    /// let maps = session.explain(&image, &GradCam::new(), Target::Top(2))?;
    /// assert_eq!(maps.len(), 2);
    /// assert_eq!(maps[0].attribution().map.dims(), [7, 7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(
        &self,
        image: &Image,
        method: &dyn Explainer,
        target: Target,
    ) -> Result<Vec<Explanation>, Error> {
        self.explain_input(&self.input(image)?, method, &target, &RunOptions::default())
    }

    /// Explains an input that is ready for the model.
    ///
    /// # Errors
    /// As [`explain`](Self::explain), or when the run was cancelled.
    pub fn explain_input(
        &self,
        input: &Input,
        method: &dyn Explainer,
        target: &Target,
        options: &RunOptions<'_>,
    ) -> Result<Vec<Explanation>, Error> {
        let logits = self.logits(input)?;
        self.resolve(target, &logits)?
            .into_iter()
            .map(|class| self.explain_class(input, method, class, options))
            .collect()
    }

    /// Explains one class of an input whose scores are known.
    ///
    /// # Errors
    /// As [`explain_input`](Self::explain_input), or when there is no such class.
    pub fn explain_class(
        &self,
        input: &Input,
        method: &dyn Explainer,
        class: Prediction,
        options: &RunOptions<'_>,
    ) -> Result<Explanation, Error> {
        let start = Instant::now();
        self.model.check_input(input)?;
        self.model.labels().find(&class.index.to_string())?;
        let mut cx = RunContext::new(&self.engine, &self.model, *options);
        let attribution = method.explain(
            &mut cx,
            &Request {
                image: input.tensor(),
                objective: Objective::class(class.index),
                seed: options.seed,
            },
        )?;
        Ok(Explanation::new(
            self,
            input,
            method,
            class,
            attribution,
            options.seed,
            start.elapsed().as_secs_f64(),
        ))
    }

    pub(crate) fn info(&self) -> &limpid_explain::ModelInfo {
        self.engine.info()
    }
}
