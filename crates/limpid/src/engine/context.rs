use super::Engine;
use super::evaluate::{Point, Sweep};
use super::graphs::{self, Tail};
use crate::session::{Progress, RunOptions};
use crate::{Error, Image, Model};
use limpid_device::{Buffer, HostData};
use limpid_explain::{
    Context, Evaluations, ExplainError, Integration, LayerGradient, ModelInfo, Objective, Points,
    Reduce,
};
use limpid_graph::{Fact, Graph};
use limpid_tensor::Tensor;

/// What an explainer sees of a session during one run.
pub(crate) struct RunContext<'a> {
    engine: &'a Engine,
    model: &'a Model,
    options: RunOptions<'a>,
    evaluations: Evaluations,
    progress: Progress,
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
        }
    }

    /// Announces `passes` through the model.
    fn expect(&mut self, passes: u64) {
        self.progress.total += passes;
    }

    /// Notes that `passes` are done; an error once the run is cancelled.
    fn advance(&mut self, passes: u64) -> Result<(), ExplainError> {
        self.progress.done += passes;
        if let Some(report) = self.options.progress {
            report(self.progress);
        }
        self.options.check()
    }

    /// The mean over the draws of the sum over each draw's nodes.
    fn mean(&mut self, request: &Integration<'_>) -> Result<Tensor, Error> {
        let schedule = request.schedule;
        let total = schedule.evaluations().unwrap_or(u64::MAX);
        let mut sweep = Sweep::new(self.engine, request.subject, Tail::Sum, total)?;
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
        if schedule.nodes.len() == 1 {
            let mut sweep = Sweep::new(engine, request.subject, Tail::Maps, schedule.draws)?;
            let points = (0..schedule.draws).flat_map(|draw| draw_points(request, draw, 1.0));
            sweep.run(points, None, |maps, batch| {
                reducer.add(maps, batch.len())?;
                Ok(self.advance(batch.len() as u64)?)
            })?;
        } else {
            let nodes = schedule.nodes.len() as u64;
            let mut sweep = Sweep::new(engine, request.subject, Tail::Sum, nodes)?;
            for draw in 0..schedule.draws {
                let mut map = engine.zeros(request.subject.image)?;
                sweep.run(
                    draw_points(request, draw, 1.0),
                    Some(&mut map),
                    |_, batch| Ok(self.advance(batch.len() as u64)?),
                )?;
                reducer.add(&map, 1)?;
            }
        }
        reducer.finish()
    }
}

/// The points of one draw, their weights times `share`.
fn draw_points<'a>(
    request: &Integration<'a>,
    draw: u64,
    share: f64,
) -> impl Iterator<Item = Point> + use<'a> {
    request.schedule.nodes.iter().map(move |node| Point {
        draw,
        position: node.position,
        weight: node.weight * share,
    })
}

impl Context for RunContext<'_> {
    fn model(&self) -> &ModelInfo {
        self.engine.info()
    }

    fn integrate(&mut self, request: &Integration<'_>) -> Result<Tensor, ExplainError> {
        let evaluations = request.schedule.evaluations().unwrap_or(u64::MAX);
        self.expect(evaluations);
        let map = match request.reduce {
            Reduce::Mean => self.mean(request),
            Reduce::Squared | Reduce::Variance => self.moments(request),
        }?;
        self.evaluations.gradients += evaluations;
        Ok(map.reshape(request.subject.image.shape())?)
    }

    fn scores(&mut self, request: &Points<'_>) -> Result<Vec<f64>, ExplainError> {
        let total = request.points.len() as u64;
        self.expect(total);
        let engine = self.engine;
        let mut sweep = Sweep::new(engine, request.subject, Tail::Scores, total)?;
        let points = request.points.iter().map(|&(draw, position)| Point {
            draw,
            position,
            weight: 1.0,
        });
        let mut scores = Vec::with_capacity(request.points.len());
        sweep.run(points, None, |logits, batch| {
            let logits = engine.download(logits)?;
            let rows = logits.data().chunks(engine.info().classes);
            scores.extend(rows.map(|row| request.subject.objective.value(row)));
            Ok(self.advance(batch.len() as u64)?)
        })?;
        self.evaluations.forwards += total;
        if scores.iter().all(|s| s.is_finite()) {
            return Ok(scores);
        }
        Err(ExplainError::NonFinite {
            what: "a score on the path".into(),
        })
    }

    fn layer_gradient(
        &mut self,
        image: &Tensor,
        layer: &str,
        objective: &Objective,
    ) -> Result<LayerGradient, ExplainError> {
        self.options.check()?;
        self.expect(1);
        let LayerGradient {
            activation,
            gradient,
        } = self.engine.layer_gradient(image, layer, objective)?;
        self.evaluations.gradients += 1;
        self.advance(1)?;
        let grid = self.engine.grid(layer);
        let grid = grid.ok_or_else(|| ExplainError::NotSpatial {
            layer: layer.to_owned(),
            shape: activation.shape().to_string(),
        })?;
        let map = |t: &Tensor| {
            let shape = [grid.channels, grid.rows, grid.columns];
            Tensor::new(shape, grid.cells(t.data()))
        };
        let (activation, cells) = (map(&activation)?, map(&gradient)?);
        let zero = |t: &Tensor| t.data().iter().all(|v| *v == 0.0);
        if zero(&cells) && !zero(&gradient) {
            return Err(ExplainError::OtherTokens {
                layer: layer.to_owned(),
            });
        }
        Ok(LayerGradient {
            activation,
            gradient: cells,
        })
    }

    fn run(&mut self, graph: Graph, inputs: &[&Tensor]) -> Result<Vec<Tensor>, ExplainError> {
        Ok(self.engine.run(&graph, inputs)?)
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

    fn evaluations(&self) -> Evaluations {
        self.evaluations
    }
}

/// A reducer's state on the device.
struct Reducer<'a> {
    engine: &'a Engine,
    reduce: Reduce,
    dims: Vec<usize>,
    draws: u64,
    seen: u64,
    /// The sum of squares, or the mean and the sum of squared deviations.
    state: Vec<Buffer>,
    next: Vec<Buffer>,
}

impl<'a> Reducer<'a> {
    fn new(engine: &'a Engine, reduce: Reduce, image: &Tensor, draws: u64) -> Result<Self, Error> {
        let size = if reduce == Reduce::Variance { 2 } else { 1 };
        let buffers = || {
            (0..size)
                .map(|_| engine.zeros(image))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            engine,
            reduce,
            dims: image.dims().to_vec(),
            draws,
            seen: 0,
            state: buffers()?,
            next: buffers()?,
        })
    }

    /// Takes in `batch` maps.
    fn add(&mut self, maps: &Buffer, batch: usize) -> Result<(), Error> {
        let graph = graphs::reduction(self.reduce, &self.dims, batch)?;
        let executable = self.engine.prepare(&graph)?;
        let extra = if self.reduce == Reduce::Variance {
            vec![self.seen as f32]
        } else {
            vec![(1.0 / self.draws as f64) as f32; batch]
        };
        let extra = self
            .engine
            .upload(&Fact::f32([extra.len()]), HostData::F32(&extra))?;
        let inputs: Vec<&Buffer> = self.state.iter().chain([&extra, maps]).collect();
        let mut outputs: Vec<&mut Buffer> = self.next.iter_mut().collect();
        self.engine
            .device
            .execute(&*executable, &inputs, &mut outputs)?;
        std::mem::swap(&mut self.state, &mut self.next);
        self.seen += batch as u64;
        Ok(())
    }

    /// The reduced map. The variance is that of the draws themselves, divided
    /// by their number.
    fn finish(self) -> Result<Tensor, Error> {
        let last = self.state.last().map(|b| self.engine.download(b));
        let mut map = last.unwrap_or_else(|| Ok(Tensor::zeros(&self.dims[..])?))?;
        if self.reduce == Reduce::Variance {
            for v in map.data_mut() {
                *v /= self.draws as f32;
            }
        }
        Ok(map)
    }
}
