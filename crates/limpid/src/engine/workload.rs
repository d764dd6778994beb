//! One execution of the model that can be repeated, whole or step by step, to
//! be measured.

use super::Engine;
use crate::{Error, Session};
use limpid_device::{Buffer, Device, Executable, HostData};
use limpid_explain::Objective;
use limpid_explain::paths::{HeatBlur, Path};
use limpid_graph::passes::{Rule, vjp};
use limpid_graph::{Fact, Graph, Node, ValueId};
use limpid_tensor::{DType, Tensor, philox};
use std::sync::Arc;

/// What is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The logits of each picture of a batch.
    Forward,
    /// The gradient of the first class's logit with respect to each picture.
    Gradient,
    /// So many Gaussian blurs of one picture as the batch has, with standard
    /// deviations from 0 to 50 pixels in even steps; no model.
    Blurs,
}

/// A step of an execution: a node of the graph as the device runs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The node's name.
    pub node: String,
    /// The operator's name.
    pub op: &'static str,
    /// The kernel that ran.
    pub kernel: &'static str,
    /// The shape of the first output.
    pub output: Vec<usize>,
    /// How long it took.
    pub seconds: f64,
    /// Operations, a multiply-add being two, as the operator's definition has
    /// them: a kernel may need fewer.
    pub operations: u64,
    /// Bytes of its operands and results.
    pub bytes: u64,
}

/// An execution with its buffers. Pictures are normal numbers until
/// [`write`](Self::write) is called.
pub struct Workload {
    device: Arc<dyn Device>,
    executable: Arc<dyn Executable>,
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
}

/// So many standard normal numbers, always the same.
#[must_use]
pub fn normals(count: usize) -> Vec<f32> {
    let key = philox::key(0);
    let quads = (0..count.div_ceil(4)).map(|q| philox::normal4(key, 0, [0, 0], q as u32));
    let mut values: Vec<f32> = quads.flatten().map(|v| v as f32).collect();
    values.truncate(count);
    values
}

impl Session {
    /// Prepares `work` on a batch of pictures of shape `[C, H, W]`.
    ///
    /// # Errors
    /// When the model does not take pictures of this size, or memory is short.
    #[doc(hidden)]
    pub fn workload(&self, work: Work, batch: usize, dims: [usize; 3]) -> Result<Workload, Error> {
        self.engine().workload(work, batch, dims)
    }
}

impl Engine {
    fn workload(&self, work: Work, batch: usize, dims: [usize; 3]) -> Result<Workload, Error> {
        let (graph, rest) = match work {
            Work::Forward => (self.scores(&dims, batch)?, None),
            Work::Gradient => {
                let forward = self.scores(&dims, batch)?;
                let [x, logits] = [forward.inputs()[0], forward.outputs()[0]];
                let gradient = vjp(&forward, logits, &[x], Rule::Standard)?;
                let mut graph = gradient.graph;
                graph.set_outputs(&gradient.gradients);
                let row = Objective::class(0).cotangent(self.info.classes);
                (graph, Some(row.repeat(batch)))
            }
            Work::Blurs => {
                let mut graph = Graph::new();
                let x = graph.input("x", Fact::f32([&[1], &dims[..]].concat()));
                let path = HeatBlur { max_sigma: 50.0 };
                let blurred = path.build(&mut graph, x, batch)?.point;
                graph.set_outputs(&[blurred]);
                let last = (batch.max(2) - 1) as f32;
                let sigmas = (0..batch).map(|i| 50.0 * i as f32 / last).collect();
                (graph, Some(sigmas))
            }
        };
        let fact = |v: &ValueId| graph.fact(*v);
        let pictures = normals(fact(&graph.inputs()[0]).shape.elements()?);
        let data = std::iter::once(pictures).chain(rest);
        let inputs = graph.inputs().iter().map(fact).zip(data);
        let inputs = inputs.map(|(fact, data)| self.upload(fact, HostData::F32(&data)));
        let outputs = graph.outputs().iter().map(fact);
        let outputs = outputs.map(|fact| Ok(self.device.alloc(fact)?));
        Ok(Workload {
            device: Arc::clone(&self.device),
            executable: self.prepare(&graph)?,
            inputs: inputs.collect::<Result<_, Error>>()?,
            outputs: outputs.collect::<Result<_, Error>>()?,
        })
    }
}

impl Workload {
    /// The bytes of the arena.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.executable.plan().arena_bytes()
    }

    /// The numbers of the pictures.
    #[must_use]
    pub fn picture_elements(&self) -> usize {
        self.inputs[0].fact().shape.iter().product()
    }

    /// Sets the pictures.
    ///
    /// # Errors
    /// When the number of values is another.
    pub fn write(&mut self, pictures: &[f32]) -> Result<(), Error> {
        Ok(self
            .device
            .write(&mut self.inputs[0], HostData::F32(pictures))?)
    }

    /// Executes once, to the end.
    ///
    /// # Errors
    /// When memory is short.
    pub fn run(&mut self) -> Result<(), Error> {
        let inputs: Vec<&Buffer> = self.inputs.iter().collect();
        let mut outputs: Vec<&mut Buffer> = self.outputs.iter_mut().collect();
        self.device
            .execute(&*self.executable, &inputs, &mut outputs)?;
        Ok(self.device.synchronize()?)
    }

    /// Executes once and measures each step.
    ///
    /// # Errors
    /// When memory is short.
    pub fn steps(&mut self) -> Result<Vec<Step>, Error> {
        let inputs: Vec<&Buffer> = self.inputs.iter().collect();
        let mut outputs: Vec<&mut Buffer> = self.outputs.iter_mut().collect();
        let timings = self
            .device
            .timings(&*self.executable, &inputs, &mut outputs)?;
        let plan = self.executable.plan();
        let graph = plan.graph();
        let uses = graph.uses();
        let facts =
            |ids: &[ValueId]| -> Vec<&Fact> { ids.iter().map(|v| graph.fact(*v)).collect() };
        let steps = timings.into_iter().map(|timing| {
            let nodes = &graph.nodes()[timing.nodes];
            let cost = |node: &Node| {
                let cost = node.op.cost(&facts(&node.inputs), &facts(&node.outputs));
                2 * cost.multiply_adds + cost.elementwise
            };
            // What nodes that run at once pass on is not read; what they alone
            // read is not written.
            let made: Vec<ValueId> = nodes.iter().flat_map(|n| n.outputs.clone()).collect();
            let (passed, read): (Vec<ValueId>, Vec<ValueId>) = nodes
                .iter()
                .flat_map(|node| node.inputs.clone())
                .partition(|v| made.contains(v));
            let written = made.iter().filter(|v| {
                let own = passed.iter().filter(|p| p == v).count();
                own == 0 || own < uses[v.index()]
            });
            let operands = read.iter().chain(written);
            Step {
                node: timing.node,
                op: timing.op,
                kernel: timing.kernel,
                output: graph.fact(nodes[nodes.len() - 1].outputs[0]).shape.to_vec(),
                seconds: timing.duration.as_secs_f64(),
                operations: nodes.iter().map(cost).sum(),
                bytes: operands.map(|v| bytes(graph.fact(*v))).sum(),
            }
        });
        Ok(steps.collect())
    }

    /// What the last execution put out, in C order.
    ///
    /// # Errors
    /// When memory is short.
    pub fn output(&self) -> Result<Vec<f32>, Error> {
        let mut tensor = Tensor::zeros(&self.outputs[0].fact().shape)?;
        self.device.read(&self.outputs[0], tensor.data_mut())?;
        Ok(tensor.data().to_vec())
    }
}

/// The bytes of a value, without padding.
fn bytes(fact: &Fact) -> u64 {
    let elements: u64 = fact.shape.iter().map(|d| *d as u64).product();
    match fact.dtype {
        DType::Bits => elements.div_ceil(8),
        DType::U8 => elements,
        _ => 4 * elements,
    }
}
