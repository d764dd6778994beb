use super::Engine;
use super::evaluate::{Sweep, Task};
use super::folder::Folder;
use super::graphs::Tail;
use super::reducer::Reducer;
use super::resident;
use crate::session::{Progress, RunOptions};
use crate::{Error, Image, Model};
use limpid_device::{Buffer, HostData};
use limpid_explain::{
    Accumulation, Attentions, Context, DeviceTensor, Evaluations, ExplainError, Gradients,
    Integration, LayerGradients, LayerVariants, Limits, ModelInfo, Noise, Objective, Passed,
    Passes, Pictures, Planner, Points, Reduce, Sample, Vary, Visit, Weighted,
};
use limpid_graph::{Fact, Graph};
use limpid_tensor::Tensor;
use std::ops::Range;
use std::sync::Arc;

/// What an explainer sees of a session during one run.
pub(crate) struct RunContext<'a> {
    pub(super) engine: &'a Engine,
    model: &'a Model,
    options: RunOptions<'a>,
    evaluations: Evaluations,
    progress: Progress,
    /// The picture that was put on the device last: most runs have one.
    picture: Option<(Tensor, Arc<Buffer>)>,
}

impl From<Error> for ExplainError {
    fn from(error: Error) -> Self {
        match error {
            Error::Explain(e) => e,
            Error::Graph(e) => Self::Graph(e),
            Error::Tensor(e) => Self::Tensor(e),
            other => Self::Run(Box::new(other)),
        }
    }
}

impl<'a> RunContext<'a> {
    pub(crate) fn new(engine: &'a Engine, model: &'a Model, options: RunOptions<'a>) -> Self {
        Self {
            engine,
            model,
            options,
            evaluations: Evaluations::default(),
            progress: Progress { done: 0, total: 0 },
            picture: None,
        }
    }

    /// A picture on the device, put there once while it is the same.
    fn resident(&mut self, image: &Tensor) -> Result<Arc<Buffer>, Error> {
        let same = |t: &Tensor| t.dims() == image.dims() && t.data() == image.data();
        if let Some((_, buffer)) = self.picture.as_ref().filter(|(t, _)| same(t)) {
            return Ok(Arc::clone(buffer));
        }
        let fact = Fact::f32([&[1], image.dims()].concat());
        let buffer = Arc::new(self.engine.upload(&fact, HostData::F32(image.data()))?);
        self.picture = Some((image.clone(), Arc::clone(&buffer)));
        Ok(buffer)
    }

    /// The logits of a picture.
    pub(crate) fn logits(&mut self, image: &Tensor) -> Result<Vec<f32>, Error> {
        let picture = self.resident(image)?;
        self.engine.logits(image.dims(), &picture)
    }

    /// Announces `passes` through the model.
    pub(super) fn expect(&mut self, passes: u64) {
        self.progress.total += passes;
    }

    /// Notes that `passes` are done; an error once the run is cancelled.
    pub(super) fn advance(&mut self, passes: u64) -> Result<(), ExplainError> {
        self.progress.done += passes;
        if let Some(report) = self.options.progress {
            report(self.progress);
        }
        self.options.check()
    }

    /// Counts a gradient for each objective; a forward pass where there is none.
    fn count_gradients(&mut self, objectives: &[Objective]) {
        match objectives.len() as u64 {
            0 => self.evaluations.forwards += 1,
            n => self.evaluations.gradients += n,
        }
    }

    /// The mean over the draws of the sum over each draw's nodes.
    fn mean(&mut self, request: &Integration<'_>) -> Result<Tensor, Error> {
        let schedule = request.schedule;
        let total = schedule.evaluations().unwrap_or(u64::MAX);
        let picture = self.resident(request.subject.image)?;
        let task = task(request, &picture, Tail::Sums(1));
        let mut sweep = Sweep::new(self.engine, task, total)?;
        let mut sum = self.engine.zeros(request.subject.image)?;
        let share = 1.0 / schedule.draws as f64;
        let points = (0..schedule.draws).flat_map(|draw| draw_points(request, draw, share));
        sweep.run(points, Some(&mut sum), |_, batch| {
            Ok(self.advance(batch.len() as u64)?)
        })?;
        self.engine.download(&sum)
    }

    /// The mean of squares or the variance of the draws' maps.
    fn moments(&mut self, request: &Integration<'_>) -> Result<Tensor, Error> {
        let (engine, schedule) = (self.engine, request.schedule);
        let mut reducer = Reducer::new(
            engine,
            request.reduce,
            request.subject.image,
            schedule.draws,
        )?;
        let nodes = schedule.nodes.len() as u64;
        let picture = self.resident(request.subject.image)?;
        let mut sweep = Sweep::new(engine, task(request, &picture, Tail::Sums(1)), nodes)?;
        for draw in 0..schedule.draws {
            let mut map = engine.zeros(request.subject.image)?;
            sweep.run(
                draw_points(request, draw, 1.0),
                Some(&mut map),
                |_, batch| Ok(self.advance(batch.len() as u64)?),
            )?;
            reducer.add(&map, 1)?;
        }
        reducer.finish()
    }

    /// Squares or variances of maps that are one gradient each: a batch of
    /// them is made at once.
    fn moments_of_gradients(&mut self, request: &Integration<'_>) -> Result<Tensor, Error> {
        let (engine, schedule) = (self.engine, request.schedule);
        let image = request.subject.image;
        let mut reducer = Reducer::new(engine, request.reduce, image, schedule.draws)?;
        let picture = self.resident(image)?;
        let task = task(request, &picture, Tail::Maps);
        let mut sweep = Sweep::new(engine, task, schedule.draws)?;
        let points = (0..schedule.draws).flat_map(|draw| draw_points(request, draw, 1.0));
        sweep.run(points, None, |maps, batch| {
            reducer.add(maps, batch.len())?;
            Ok(self.advance(batch.len() as u64)?)
        })?;
        reducer.finish()
    }
}

/// What an integration evaluates.
fn task<'a>(request: &Integration<'a>, picture: &'a Buffer, tail: Tail) -> Task<'a> {
    Task {
        subject: request.subject,
        picture,
        objective: Some(request.objective),
        tail,
    }
}

/// The points of one draw, their weights times `share`.
fn draw_points<'a>(
    request: &Integration<'a>,
    draw: u64,
    share: f64,
) -> impl Iterator<Item = Weighted> + use<'a> {
    request.schedule.nodes.iter().map(move |node| Weighted {
        sample: Sample {
            draw,
            position: node.position,
        },
        weight: node.weight * share,
        row: 0,
    })
}

/// Points that are added to no sum.
fn unweighted(points: &[Sample]) -> impl Iterator<Item = Weighted> + '_ {
    points.iter().map(|sample| Weighted {
        sample: *sample,
        weight: 1.0,
        row: 0,
    })
}

/// The objectives' values for rows of logits, if all are finite.
pub(super) fn values(
    logits: &[f32],
    classes: usize,
    objectives: &[Objective],
    into: &mut Vec<f64>,
) -> Result<(), ExplainError> {
    for row in logits.chunks(classes) {
        into.extend(objectives.iter().map(|o| o.value(row)));
    }
    if into.iter().all(|s| s.is_finite()) {
        return Ok(());
    }
    Err(ExplainError::NonFinite {
        what: "a score of a changed picture".into(),
    })
}

impl Context for RunContext<'_> {
    fn model(&self) -> &ModelInfo {
        self.engine.info()
    }

    fn integrate(&mut self, request: &Integration<'_>) -> Result<Tensor, ExplainError> {
        let evaluations = request.schedule.evaluations().unwrap_or(u64::MAX);
        self.expect(evaluations);
        // Squares and variances are of each draw's whole map; a map of one node
        // whose weight is one is a gradient.
        let single = request.schedule.nodes.len() == 1 && request.schedule.nodes[0].weight == 1.0;
        let map = match request.reduce {
            Reduce::Mean => self.mean(request),
            Reduce::Squared | Reduce::Variance if single => self.moments_of_gradients(request),
            Reduce::Squared | Reduce::Variance => self.moments(request),
        }?;
        self.evaluations.gradients += evaluations;
        Ok(map.reshape(request.subject.image.shape())?)
    }

    fn accumulate(
        &mut self,
        request: &Accumulation<'_>,
        planner: &mut dyn Planner,
    ) -> Result<DeviceTensor, ExplainError> {
        self.expect(request.expected);
        let engine = self.engine;
        let image = request.subject.image;
        let picture = self.resident(request.subject.image)?;
        let task = Task {
            subject: request.subject,
            picture: &picture,
            objective: Some(request.objective),
            tail: Tail::Sums(request.rows),
        };
        let fact = Fact::f32([&[request.rows], image.dims()].concat());
        let mut sums = engine.device.alloc(&fact).map_err(Error::from)?;
        if !request.initial.is_empty() {
            let initial: Vec<f32> = request
                .initial
                .iter()
                .flat_map(|t| t.data())
                .copied()
                .collect();
            let write = engine.device.write(&mut sums, HostData::F32(&initial));
            write.map_err(Error::from)?;
        }
        let rows = |sums: &Buffer| {
            let data = engine.download(sums)?;
            let rows = data.data().chunks(image.data().len().max(1));
            let rows = rows.map(|row| Ok(Tensor::new(image.dims(), row.to_vec())?));
            rows.collect::<Result<Vec<_>, ExplainError>>()
        };
        let mut sweep = Sweep::new(engine, task, request.expected.max(1))?;
        loop {
            let block = planner.next(&mut || rows(&sums))?;
            if block.is_empty() {
                return Ok(resident::tensor(sums));
            }
            let count = block.len() as u64;
            sweep.run(block.into_iter(), Some(&mut sums), |_, batch| {
                Ok(self.advance(batch.len() as u64)?)
            })?;
            self.evaluations.gradients += count;
        }
    }

    fn gradients(
        &mut self,
        request: &Gradients<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ExplainError> {
        let total = request.points.len() as u64;
        self.expect(total);
        let engine = self.engine;
        let picture = self.resident(request.subject.image)?;
        let task = Task {
            subject: request.subject,
            picture: &picture,
            objective: Some(request.objective),
            tail: if request.times_velocity {
                Tail::Maps
            } else {
                Tail::Gradients
            },
        };
        let size = request.subject.image.data().len().max(1);
        let mut next = 0;
        let mut sweep = Sweep::new(engine, task, total)?;
        sweep.run(unweighted(request.points), None, |maps, batch| {
            for map in engine.download(maps)?.data().chunks(size) {
                visit(next, map)?;
                next += 1;
            }
            Ok(self.advance(batch.len() as u64)?)
        })?;
        self.evaluations.gradients += total;
        Ok(())
    }

    fn scores(&mut self, request: &Points<'_>) -> Result<Vec<f64>, ExplainError> {
        let total = request.points.len() as u64;
        self.expect(total);
        let engine = self.engine;
        let picture = self.resident(request.subject.image)?;
        let task = Task {
            subject: request.subject,
            picture: &picture,
            objective: None,
            tail: Tail::Scores,
        };
        let mut scores = Vec::with_capacity(request.points.len() * request.objectives.len());
        let mut sweep = Sweep::new(engine, task, total)?;
        sweep.run(unweighted(request.points), None, |logits, batch| {
            let logits = engine.download(logits)?;
            let classes = engine.info().classes;
            values(logits.data(), classes, request.objectives, &mut scores)?;
            Ok(self.advance(batch.len() as u64)?)
        })?;
        self.evaluations.forwards += total;
        Ok(scores)
    }

    fn layer_gradients(
        &mut self,
        image: &Tensor,
        layers: &[String],
        objectives: &[Objective],
    ) -> Result<Vec<LayerGradients>, ExplainError> {
        self.options.check()?;
        let passes = (objectives.len() as u64).max(1);
        self.expect(passes);
        let found = self.engine.map_gradients(image, layers, objectives)?;
        self.count_gradients(objectives);
        self.advance(passes)?;
        Ok(found)
    }

    fn layer_scores(
        &mut self,
        request: &LayerVariants<'_>,
        vary: &mut Vary<'_>,
    ) -> Result<Vec<f64>, ExplainError> {
        let total = request.count as u64;
        self.expect(total + 1);
        let engine = self.engine;
        let scores = engine.layer_scores(request, vary, |passes| self.advance(passes))?;
        self.evaluations.forwards += total + 1;
        Ok(scores)
    }

    fn attentions(
        &mut self,
        image: &Tensor,
        objectives: &[Objective],
    ) -> Result<Attentions, ExplainError> {
        self.options.check()?;
        let passes = (objectives.len() as u64).max(1);
        self.expect(passes);
        let found = self.engine.attentions(image, objectives)?;
        self.count_gradients(objectives);
        self.advance(passes)?;
        Ok(found)
    }

    fn upload(&mut self, tensor: &Tensor) -> Result<DeviceTensor, ExplainError> {
        Ok(self.engine.upload_tensor(tensor)?)
    }

    fn download(&mut self, tensor: &DeviceTensor) -> Result<Tensor, ExplainError> {
        Ok(self.engine.download_tensor(tensor)?)
    }

    fn compute(
        &mut self,
        graph: &Graph,
        inputs: &[&DeviceTensor],
    ) -> Result<Vec<DeviceTensor>, ExplainError> {
        self.options.check()?;
        Ok(self.engine.compute(graph, inputs)?)
    }

    fn noise(
        &mut self,
        pictures: &DeviceTensor,
        noise: Noise,
        draws: Range<u64>,
    ) -> Result<DeviceTensor, ExplainError> {
        Ok(self.engine.noise(pictures, noise, draws)?)
    }

    fn pass(&mut self, request: &Passes<'_>) -> Result<Passed, ExplainError> {
        self.options.check()?;
        let pictures = request.pictures.dims().first().map_or(0, |n| *n as u64);
        self.expect(pictures);
        let engine = self.engine;
        let passed = engine.pass(request, |passes| self.advance(passes))?;
        match request.objective {
            Some(_) => self.evaluations.gradients += pictures,
            None => self.evaluations.forwards += pictures,
        }
        Ok(passed)
    }

    fn picture(&mut self, path: &str) -> Result<Tensor, ExplainError> {
        let input = Image::open(path)
            .and_then(|image| self.model.preprocess().apply(&image))
            .map_err(|e| ExplainError::Baseline {
                path: path.to_owned(),
                reason: e.to_string(),
            })?;
        Ok(input.tensor().clone())
    }

    fn pictures(&mut self, folder: &str) -> Result<Arc<dyn Pictures>, ExplainError> {
        Ok(Arc::new(Folder::open(folder, self.model.clone())?))
    }

    fn evaluations(&self) -> Evaluations {
        self.evaluations
    }

    fn limits(&self) -> Limits {
        self.engine.limits()
    }

    fn check(&self) -> Result<(), ExplainError> {
        self.options.check()
    }

    fn progress(&mut self, done: u64, total: u64) {
        self.progress = Progress { done, total };
        if let Some(report) = self.options.progress {
            report(self.progress);
        }
    }

    fn note(&mut self, text: &str) {
        if let Some(note) = self.options.note {
            note(text);
        }
    }
}
