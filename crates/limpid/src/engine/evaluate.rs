//! Evaluations on the device: buffers that are bound once, points written
//! batch by batch, sums that stay where they are made.

use super::Engine;
use super::graphs::{self, Role, Tail};
use crate::Error;
use limpid_device::{Buffer, Executable, HostData};
use limpid_explain::{Objective, Readout, Sample, Subject, Weighted};
use limpid_graph::Graph;
use limpid_tensor::philox;
use std::sync::Arc;

/// What is evaluated at the points of a sweep.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) subject: Subject<'a>,
    /// The subject's picture on the device.
    pub(super) picture: &'a Buffer,
    /// The score whose gradient is taken; none for logits.
    pub(super) objective: Option<&'a Objective>,
    pub(super) tail: Tail,
}

/// An executable for batches of one size, and its buffers.
pub(super) struct Evaluator<'a> {
    engine: &'a Engine,
    task: Task<'a>,
    roles: Vec<Role>,
    executable: Arc<dyn Executable>,
    /// All inputs but the first, which is the picture.
    inputs: Vec<Buffer>,
    output: Buffer,
    pub(super) batch: usize,
}

impl<'a> Evaluator<'a> {
    /// The graph for batches of `batch` points.
    pub(super) fn graph(
        engine: &Engine,
        task: &Task<'_>,
        batch: usize,
    ) -> Result<graphs::Evaluation, Error> {
        let readout = task.objective.map_or(Readout::Logit, Objective::readout);
        graphs::evaluation(engine.network(), &task.subject, readout, batch, task.tail)
    }

    pub(super) fn new(engine: &'a Engine, task: Task<'a>, batch: usize) -> Result<Self, Error> {
        let graphs::Evaluation { graph, mut roles } = Self::graph(engine, &task, batch)?;
        roles.remove(0);
        let executable = engine.prepare(&graph)?;
        let inputs = Self::bind(engine, &task, &graph, &roles)?;
        let output = engine.device.alloc(graph.fact(graph.outputs()[0]))?;
        Ok(Self {
            engine,
            task,
            roles,
            executable,
            inputs,
            output,
            batch,
        })
    }

    /// Buffers for the inputs behind the picture; those that never change are
    /// written here.
    fn bind(
        engine: &Engine,
        task: &Task<'_>,
        graph: &Graph,
        roles: &[Role],
    ) -> Result<Vec<Buffer>, Error> {
        let subject = &task.subject;
        let statics = subject.path.statics();
        let mut buffers = Vec::with_capacity(roles.len());
        for (role, v) in roles.iter().zip(&graph.inputs()[1..]) {
            let fact = graph.fact(*v);
            buffers.push(match (role, subject.noise) {
                (Role::Static(i), _) => engine.upload(fact, HostData::F32(statics[*i].data()))?,
                (Role::Key, Some(n)) => engine.upload(fact, HostData::U32(&philox::key(n.seed)))?,
                (Role::Scale, Some(n)) => engine.upload(fact, HostData::F32(&[n.scale]))?,
                (Role::Cotangent, _) => {
                    let (rows, classes) = (fact.shape[0], fact.shape[1]);
                    let row = task
                        .objective
                        .map_or_else(Vec::new, |o| o.cotangent(classes));
                    engine.upload(fact, HostData::F32(&row.repeat(rows)))?
                }
                _ => engine.device.alloc(fact)?,
            });
        }
        Ok(buffers)
    }

    /// Evaluates `batch` points. Sums are added to `sums`; anything else is in
    /// [`output`](Self::output) until the next run.
    pub(super) fn run(
        &mut self,
        points: &[Weighted],
        sums: Option<&mut Buffer>,
    ) -> Result<(), Error> {
        let device = &self.engine.device;
        let samples: Vec<Sample> = points.iter().map(|p| p.sample).collect();
        let controls = self.task.subject.path.controls(&samples)?;
        for (role, buffer) in self.roles.iter().zip(&mut self.inputs) {
            match role {
                Role::Control(i) => device.write(buffer, HostData::F32(&controls[*i]))?,
                Role::Weights => {
                    let mut weights = vec![0.0; buffer.fact().shape.iter().product()];
                    for (i, p) in points.iter().enumerate() {
                        weights[p.row * points.len() + i] = p.weight as f32;
                    }
                    device.write(buffer, HostData::F32(&weights))?;
                }
                Role::Samples => {
                    let words = samples.iter().flat_map(|s| philox::key(s.draw));
                    device.write(buffer, HostData::U32(&words.collect::<Vec<_>>()))?;
                }
                _ => {}
            }
        }
        let accumulator = self.roles.iter().position(|r| *r == Role::Accumulator);
        match (accumulator, sums) {
            (Some(i), Some(sums)) => {
                // The old sums are read, the new ones written beside them, then
                // they change places.
                std::mem::swap(&mut self.inputs[i], sums);
                self.execute()?;
                std::mem::swap(&mut self.output, sums);
                Ok(())
            }
            _ => self.execute(),
        }
    }

    fn execute(&mut self) -> Result<(), Error> {
        let inputs = std::iter::once(self.task.picture).chain(&self.inputs);
        let inputs: Vec<&Buffer> = inputs.collect();
        let mut output = [&mut self.output];
        Ok(self
            .engine
            .device
            .execute(&*self.executable, &inputs, &mut output)?)
    }

    /// The output of the last run.
    pub(super) fn output(&self) -> &Buffer {
        &self.output
    }
}

/// Points in order, put through evaluators of one batch size and, for what is
/// left at the end, of smaller ones.
pub(super) struct Sweep<'a> {
    engine: &'a Engine,
    task: Task<'a>,
    main: Evaluator<'a>,
    rest: Option<Evaluator<'a>>,
}

impl<'a> Sweep<'a> {
    /// For sweeps of some `total` points each.
    pub(super) fn new(engine: &'a Engine, task: Task<'a>, total: u64) -> Result<Self, Error> {
        let build = |batch| Ok(Evaluator::graph(engine, &task, batch)?.graph);
        let batch = engine.batch(total, build)?;
        Ok(Self {
            engine,
            task,
            main: Evaluator::new(engine, task, batch)?,
            rest: None,
        })
    }

    /// Puts all points through; `each` is shown every batch's output.
    pub(super) fn run(
        &mut self,
        mut points: impl Iterator<Item = Weighted>,
        mut sums: Option<&mut Buffer>,
        mut each: impl FnMut(&Buffer, &[Weighted]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            let batch: Vec<Weighted> = points.by_ref().take(self.main.batch).collect();
            let evaluator = match batch.len() {
                0 => return Ok(()),
                n if n == self.main.batch => &mut self.main,
                n => {
                    let other = self.rest.take().filter(|rest| rest.batch == n);
                    let rest = match other {
                        Some(rest) => rest,
                        None => Evaluator::new(self.engine, self.task, n)?,
                    };
                    self.rest.insert(rest)
                }
            };
            evaluator.run(&batch, sums.as_deref_mut())?;
            each(evaluator.output(), &batch)?;
        }
    }
}
