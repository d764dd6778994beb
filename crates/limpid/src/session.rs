use crate::engine::{Engine, RunContext};
use crate::{Device, Error, Explanation, Image, Input, Model, Prediction, ResolvedTarget, Target};
use limpid_explain::{ExplainError, Explainer, LayerGradients, Objective, Readout, Request};
use limpid_tensor::Tensor;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

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
    /// Is told what an explainer wants the user to know and is no error.
    pub note: Option<&'a (dyn Fn(&str) + Sync)>,
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
        let mut cx = RunContext::new(&self.engine, &self.model, RunOptions::default());
        self.logits_in(&mut cx, input)
    }

    fn logits_in(&self, cx: &mut RunContext<'_>, input: &Input) -> Result<Vec<f32>, Error> {
        self.model.check_input(input)?;
        let scores = cx.logits(input.tensor())?;
        if scores.iter().all(|s| s.is_finite()) {
            return Ok(scores);
        }
        Err(Error::NonFiniteScores {
            precision: self.device().capabilities().precision.clone(),
            input: input
                .path()
                .map_or_else(|| "the input".into(), |p| p.display().to_string()),
        })
    }

    /// Shows one input under Gaussian blurs of these standard deviations in
    /// pixels, in turn: the points that Blur IG's path goes through.
    ///
    /// # Errors
    /// [`Error::Blur`] when one is negative or not finite.
    ///
    /// ```
    /// # use limpid::{Device, Image, Model};
    /// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
    /// # let session = Model::embedded()?.session(Device::auto()?)?;
    /// let input = session.input(&Image::open(photo)?)?;
    /// let mut spread = Vec::new();
    /// session.blurred(&input, &[0.0, 2.0, 50.0], |picture| {
    ///     let row = &picture.data()[..224];
    ///     spread.push(row.iter().zip(&row[1..]).map(|(a, b)| (a - b).abs()).sum::<f32>());
    /// })?;
    /// assert!(spread[0] > spread[1] && spread[1] > spread[2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn blurred(
        &self,
        input: &Input,
        sigmas: &[f32],
        each: impl FnMut(&Tensor),
    ) -> Result<(), Error> {
        if let Some(sigma) = sigmas.iter().find(|s| !s.is_finite() || **s < 0.0) {
            return Err(Error::Blur { sigma: *sigma });
        }
        self.engine.blurred(input.tensor(), sigmas, each)
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

    pub(crate) fn prediction(&self, logits: &[f32], index: usize) -> Prediction {
        let readout = match self.model.is_multi_label() {
            true => Readout::Sigmoid,
            false => Readout::Softmax,
        };
        Prediction {
            index,
            label: self.model.labels().display(index),
            score: logits[index],
            probability: Objective::class(index).read_as(readout).value(logits),
        }
    }

    /// The output of a layer for one input, of the layer's own shape without
    /// the batch.
    ///
    /// # Errors
    /// When there is no such layer, or the input does not fit the model.
    ///
    /// ```
    /// # use limpid::{Device, Image, Model};
    /// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
    /// # let session = Model::embedded()?.session(Device::auto()?)?;
    /// # let input = session.input(&Image::open(photo)?)?;
    /// let features = session.activation(&input, "global_pool")?;
    /// assert_eq!(features.dims(), [1280]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn activation(&self, input: &Input, layer: &str) -> Result<Tensor, Error> {
        self.model.check_input(input)?;
        self.engine.activation(input.tensor(), layer)
    }

    /// The outputs of layers for one input, and the gradients of objectives with
    /// respect to them, of the layers' own shapes without the batch. All share
    /// one forward pass.
    ///
    /// # Errors
    /// When there is no such layer, the objectives do not depend on one, or the
    /// input does not fit the model.
    ///
    /// ```
    /// # use limpid::{Device, Image, Model, Objective};
    /// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
    /// # let session = Model::embedded()?.session(Device::auto()?)?;
    /// # let input = session.input(&Image::open(photo)?)?;
    /// let layers = ["blocks.4".to_owned(), "blocks.5".to_owned()];
    /// let at = session.layer_gradients(&input, &layers, &[Objective::class(967)])?;
    /// assert_eq!(at[0].activation.dims(), [112, 14, 14]);
    /// assert_eq!(at[1].gradients[0].dims(), at[1].activation.dims());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn layer_gradients(
        &self,
        input: &Input,
        layers: &[String],
        objectives: &[Objective],
    ) -> Result<Vec<LayerGradients>, Error> {
        self.model.check_input(input)?;
        self.engine
            .layer_gradients(input.tensor(), layers, objectives)
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
        let mut cx = RunContext::new(&self.engine, &self.model, *options);
        let logits = self.logits_in(&mut cx, input)?;
        let targets = self.resolve(target, &logits)?;
        self.explain_in(cx, input, method, &targets, options)
    }

    /// Explains scores of an input that are known: a map for each.
    ///
    /// # Errors
    /// As [`explain_input`](Self::explain_input).
    pub fn explain_targets(
        &self,
        input: &Input,
        method: &dyn Explainer,
        targets: &[ResolvedTarget],
        options: &RunOptions<'_>,
    ) -> Result<Vec<Explanation>, Error> {
        let cx = RunContext::new(&self.engine, &self.model, *options);
        self.explain_in(cx, input, method, targets, options)
    }

    fn explain_in(
        &self,
        mut cx: RunContext<'_>,
        input: &Input,
        method: &dyn Explainer,
        targets: &[ResolvedTarget],
        options: &RunOptions<'_>,
    ) -> Result<Vec<Explanation>, Error> {
        let start = Instant::now();
        self.model.check_input(input)?;
        let objectives: Vec<Objective> = targets.iter().map(ResolvedTarget::objective).collect();
        let maps = method.explain(
            &mut cx,
            &Request {
                image: input.tensor(),
                objectives: &objectives,
                seed: options.seed,
            },
        )?;
        let seconds = start.elapsed().as_secs_f64();
        let explained = targets.iter().zip(maps).map(|(target, map)| {
            Explanation::new(self, input, method, target, map, options.seed, seconds)
        });
        Ok(explained.collect())
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn info(&self) -> &limpid_explain::ModelInfo {
        self.engine.info()
    }
}
