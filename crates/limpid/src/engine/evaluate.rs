//! Evaluations on the device: buffers that are bound once, points written
//! batch by batch, sums that stay where they are made.

use super::Engine;
use super::graphs::{self, Role, Tail};
use crate::Error;
use limpid_device::{Buffer, Executable, HostData};
use limpid_explain::Subject;
use limpid_graph::Graph;
use limpid_tensor::philox;
use std::sync::Arc;

/// A point to evaluate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) draw: u64,
    pub(super) position: f64,
    pub(super) weight: f64,
}

/// An executable for batches of one size, and its buffers.
pub(super) struct Evaluator<'a> {
    engine: &'a Engine,
    subject: Subject<'a>,
    roles: Vec<Role>,
    executable: Arc<dyn Executable>,
    inputs: Vec<Buffer>,
    output: Buffer,
    pub(super) batch: usize,
}

impl<'a> Evaluator<'a> {
    /// The graph for batches of `batch` points.
    pub(super) fn graph(
        engine: &Engine,
        subject: &Subject<'_>,
        tail: Tail,
        batch: usize,
    ) -> Result<graphs::Evaluation, Error> {
        graphs::evaluation(
            engine.network(),
            subject.path,
            subject.noise.is_some(),
            subject.image.dims(),
            batch,
            tail,
        )
    }

    pub(super) fn new(
        engine: &'a Engine,
        subject: Subject<'a>,
        tail: Tail,
        batch: usize,
    ) -> Result<Self, Error> {
        let graphs::Evaluation { graph, roles } = Self::graph(engine, &subject, tail, batch)?;
        let executable = engine.prepare(&graph)?;
        let inputs = Self::bind(engine, &subject, &graph, &roles)?;
        let output = engine.device.alloc(graph.fact(graph.outputs()[0]))?;
        Ok(Self {
            engine,
            subject,
            roles,
            executable,
            inputs,
            output,
            batch,
        })
    }

    /// Buffers for the inputs; those that never change are written here.
    fn bind(
        engine: &Engine,
        subject: &Subject<'_>,
        graph: &Graph,
        roles: &[Role],
    ) -> Result<Vec<Buffer>, Error> {
        let statics = subject.path.statics();
        let mut buffers = Vec::with_capacity(roles.len());
        for (role, v) in roles.iter().zip(graph.inputs()) {
            let fact = graph.fact(*v);
            buffers.push(match (role, subject.noise) {
                (Role::Image, _) => engine.upload(fact, HostData::F32(subject.image.data()))?,
                (Role::Static(i), _) => engine.upload(fact, HostData::F32(statics[*i].data()))?,
                (Role::Key, Some(n)) => engine.upload(fact, HostData::U32(&philox::key(n.seed)))?,
                (Role::Scale, Some(n)) => engine.upload(fact, HostData::F32(&[n.scale]))?,
                (Role::Cotangent, _) => {
                    let (rows, classes) = (fact.shape[0], fact.shape[1]);
                    let row = subject.objective.cotangent(classes);
                    engine.upload(fact, HostData::F32(&row.repeat(rows)))?
                }
                _ => engine.device.alloc(fact)?,
            });
        }
        Ok(buffers)
    }

    /// Evaluates `batch` points. A sum is added to `sum`; anything else is in
    /// [`output`](Self::output) until the next run.
    pub(super) fn run(&mut self, points: &[Point], sum: Option<&mut Buffer>) -> Result<(), Error> {
        let device = &self.engine.device;
        let positions: Vec<f64> = points.iter().map(|p| p.position).collect();
        let controls = self.subject.path.controls(&positions);
        for (role, buffer) in self.roles.iter().zip(&mut self.inputs) {
            match role {
                Role::Control(i) => device.write(buffer, HostData::F32(&controls[*i]))?,
                Role::Weights => {
                    let weights: Vec<f32> = points.iter().map(|p| p.weight as f32).collect();
                    device.write(buffer, HostData::F32(&weights))?;
                }
                Role::Samples => {
                    let words: Vec<u32> = points.iter().flat_map(|p| philox::key(p.draw)).collect();
                    device.write(buffer, HostData::U32(&words))?;
                }
                _ => {}
            }
        }
        let accumulator = self.roles.iter().position(|r| *r == Role::Accumulator);
        match (accumulator, sum) {
            (Some(i), Some(sum)) => {
                // The old sum is read, the new one written beside it, then they change places.
                std::mem::swap(&mut self.inputs[i], sum);
                self.execute()?;
                std::mem::swap(&mut self.output, sum);
                Ok(())
            }
            _ => self.execute(),
        }
    }

    fn execute(&mut self) -> Result<(), Error> {
        let inputs: Vec<&Buffer> = self.inputs.iter().collect();
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
/// left at the end, of a smaller one.
pub(super) struct Sweep<'a> {
    main: Evaluator<'a>,
    rest: Option<Evaluator<'a>>,
}

impl<'a> Sweep<'a> {
    /// For sweeps of `total` points each.
    pub(super) fn new(
        engine: &'a Engine,
        subject: Subject<'a>,
        tail: Tail,
        total: u64,
    ) -> Result<Self, Error> {
        let build = |batch| Ok(Evaluator::graph(engine, &subject, tail, batch)?.graph);
        let batch = engine.batch(total, build)?;
        let rest = match (total % batch as u64) as usize {
            0 => None,
            rest => Some(Evaluator::new(engine, subject, tail, rest)?),
        };
        let main = Evaluator::new(engine, subject, tail, batch)?;
        Ok(Self { main, rest })
    }

    /// Puts all points through; `each` is shown every batch's output.
    pub(super) fn run(
        &mut self,
        mut points: impl Iterator<Item = Point>,
        mut sum: Option<&mut Buffer>,
        mut each: impl FnMut(&Buffer, &[Point]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            let batch: Vec<Point> = points.by_ref().take(self.main.batch).collect();
            let evaluator = match (&mut self.rest, batch.len()) {
                (_, 0) => return Ok(()),
                (Some(rest), n) if n == rest.batch => rest,
                _ => &mut self.main,
            };
            evaluator.run(&batch, sum.as_deref_mut())?;
            each(evaluator.output(), &batch)?;
        }
    }
}
