//! Tensors that stay where the model runs, and what is done with them.

use super::Engine;
use super::graphs::{self, NOISE, copied};
use crate::Error;
use limpid_device::{Buffer, HostData};
use limpid_explain::{DeviceTensor, ExplainError, Noise, Passed, Passes};
use limpid_graph::ops::{Concat, Slice};
use limpid_graph::passes::{lower, vjp};
use limpid_graph::{Fact, Graph, ValueId};
use limpid_tensor::{Shape, Tensor, philox};
use std::ops::Range;
use std::sync::Arc;

/// The tensor that a buffer is.
pub(super) fn tensor(buffer: Buffer) -> DeviceTensor {
    DeviceTensor::new(buffer.fact().shape.clone(), Arc::new(buffer))
}

/// Where a value of a pass is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// It is what was put in.
    Given,
    /// Among the outputs.
    Output(usize),
}

impl Place {
    /// A value among outputs, of which it becomes one where it is none.
    fn among(outputs: &mut Vec<ValueId>, v: ValueId) -> Self {
        let known = outputs.iter().position(|o| *o == v);
        Self::Output(known.unwrap_or_else(|| {
            outputs.push(v);
            outputs.len() - 1
        }))
    }
}

/// The graph of a pass and where what was asked for is among its outputs.
struct PassGraph {
    graph: Graph,
    activations: Vec<Place>,
    gradients: Vec<Place>,
}

impl Engine {
    pub(super) fn upload_tensor(&self, data: &Tensor) -> Result<DeviceTensor, Error> {
        let fact = Fact::f32(data.shape().clone());
        Ok(tensor(self.upload(&fact, HostData::F32(data.data()))?))
    }

    pub(super) fn download_tensor(&self, tensor: &DeviceTensor) -> Result<Tensor, Error> {
        self.download(tensor.storage()?)
    }

    /// Runs a graph of f32 inputs once, where they lie.
    pub(super) fn compute(
        &self,
        graph: &Graph,
        inputs: &[&DeviceTensor],
    ) -> Result<Vec<DeviceTensor>, Error> {
        let graph = lower(&with_own_outputs(graph)?)?;
        let inputs = inputs.iter().map(|t| t.storage::<Buffer>());
        self.tensors(&graph, &inputs.collect::<Result<Vec<_>, _>>()?)
    }

    fn tensors(&self, graph: &Graph, inputs: &[&Buffer]) -> Result<Vec<DeviceTensor>, Error> {
        let outputs = self.execute(graph, inputs)?;
        Ok(outputs.into_iter().map(tensor).collect())
    }

    /// Pictures under noise, one for each draw.
    pub(super) fn noise(
        &self,
        pictures: &DeviceTensor,
        noise: Noise,
        draws: Range<u64>,
    ) -> Result<DeviceTensor, Error> {
        let count = draws.end.saturating_sub(draws.start) as usize;
        let samples: Vec<u32> = draws.flat_map(philox::key).collect();
        let mut graph = Graph::new();
        let facts = [
            Fact::f32(pictures.dims()),
            Fact::u32([count, 2]),
            Fact::u32([2]),
            Fact::f32([1]),
        ];
        let names = ["pictures", "samples", "key", "scale"];
        let named = names.into_iter().zip(facts.clone());
        let values: Vec<ValueId> = named.map(|(name, fact)| graph.input(name, fact)).collect();
        let out = graph.push("noise", NOISE, &values)?;
        graph.set_outputs(&out);
        let [_, samples_fact, key_fact, scale_fact] = facts;
        let samples = self.upload(&samples_fact, HostData::U32(&samples))?;
        let key = self.upload(&key_fact, HostData::U32(&philox::key(noise.seed)))?;
        let scale = self.upload(&scale_fact, HostData::F32(&[noise.scale]))?;
        let inputs = [pictures.storage()?, &samples, &key, &scale];
        Ok(self.tensors(&graph, &inputs)?.remove(0))
    }

    /// Puts pictures through the network, a batch at a time.
    pub(super) fn pass(
        &self,
        request: &Passes<'_>,
        mut advance: impl FnMut(u64) -> Result<(), ExplainError>,
    ) -> Result<Passed, Error> {
        let pictures = request.pictures;
        let dims = pictures.dims();
        let ([count @ 1..=usize::MAX, image @ ..], 4) = (dims, dims.len()) else {
            return Err(ExplainError::Shape {
                what: "pictures".into(),
                expected: "[N,C,H,W]".into(),
                found: Shape::from(dims).to_string(),
            }
            .into());
        };
        let build = |batch| Ok(self.pass_graph(request, image, batch)?.graph);
        let batch = self.batch(*count as u64, build)?;
        let mut parts: Vec<Vec<DeviceTensor>> = Vec::new();
        let mut pass = self.pass_graph(request, image, batch)?;
        for first in (0..*count).step_by(batch) {
            let size = batch.min(count - first);
            let part = match size == *count {
                true => pictures.clone(),
                false => self.rows(pictures, first, size)?,
            };
            if size != batch {
                pass = self.pass_graph(request, image, size)?;
            }
            let mut inputs: Vec<&Buffer> = vec![part.storage()?];
            let cotangents = request.objective.filter(|_| !request.layers.is_empty());
            let cotangents = cotangents.map(|o| {
                let row = o.cotangent(self.info.classes).repeat(size);
                let fact = Fact::f32([size, self.info.classes]);
                self.upload(&fact, HostData::F32(&row))
            });
            let cotangents = cotangents.transpose()?;
            inputs.extend(&cotangents);
            let made = self.tensors(&pass.graph, &inputs)?;
            self.within_limits(*count as u64, size as u64, &made)?;
            parts.push(made);
            advance(size as u64)?;
        }
        let outputs = match parts.len() {
            1 => parts.remove(0),
            _ => (0..parts.first().map_or(0, Vec::len))
                .map(|i| self.joined(parts.iter().map(|p| &p[i]).collect()))
                .collect::<Result<_, _>>()?,
        };
        let taken = |places: Vec<Place>| {
            let take = |place| match place {
                Place::Given => pictures.clone(),
                Place::Output(i) => DeviceTensor::clone(&outputs[i]),
            };
            places.into_iter().map(take).collect()
        };
        Ok(Passed {
            logits: outputs[0].clone(),
            activations: taken(pass.activations),
            gradients: taken(pass.gradients),
        })
    }

    /// Refuses a pass of `count` pictures whose results, by those of `size` of
    /// them, would take more than an explainer's tensors may.
    fn within_limits(&self, count: u64, size: u64, made: &[DeviceTensor]) -> Result<(), Error> {
        let bytes: u64 = made.iter().map(DeviceTensor::bytes).sum();
        let needed = (bytes / size).saturating_mul(count);
        match self.limits().bytes {
            bound if needed > bound => Err(Error::Results { needed, bound }),
            _ => Ok(()),
        }
    }

    /// Outputs: the logits, then each layer's output, then each gradient; what
    /// is asked for twice is made once.
    fn pass_graph(
        &self,
        request: &Passes<'_>,
        image: &[usize],
        batch: usize,
    ) -> Result<PassGraph, Error> {
        let mut names: Vec<String> = request.layers.to_vec();
        names.retain(|n| !n.is_empty());
        let (network, places) = self.places(&names)?;
        let (mut graph, map) = graphs::forward(&network, image, batch)?;
        let (x, logits) = (graph.inputs()[0], graph.outputs()[0]);
        let mut places = places.iter().map(|v| map[v.index()]);
        let values = request.layers.iter().map(|name| match name.is_empty() {
            true => x,
            false => places.next().expect("a place for each name"),
        });
        let values: Vec<ValueId> = values.collect();
        let mut outputs = vec![logits];
        let activations = values.iter().map(|v| match *v == x {
            true => Place::Given,
            false => Place::among(&mut outputs, *v),
        });
        let activations = activations.collect();
        let mut gradients = Vec::new();
        if let Some(objective) = request.objective.filter(|_| !values.is_empty()) {
            let scores = graphs::read(&mut graph, logits, objective.readout())?;
            let mut once = values.clone();
            once.sort_unstable();
            once.dedup();
            graph.set_outputs(&outputs);
            let made = vjp(&graph, scores, &once, request.rule)?;
            graph = made.graph;
            for v in &values {
                let i = once.binary_search(v).unwrap_or_default();
                let mut g = made.gradients[i];
                if g == made.cotangent {
                    g = copied(&mut graph, g)?;
                }
                gradients.push(Place::among(&mut outputs, g));
            }
        }
        graph.set_outputs(&outputs);
        Ok(PassGraph {
            graph: lower(&graph)?,
            activations,
            gradients,
        })
    }

    /// Some rows of a tensor.
    fn rows(&self, of: &DeviceTensor, start: usize, count: usize) -> Result<DeviceTensor, Error> {
        let mut graph = Graph::new();
        let x = graph.input("x", Fact::f32(of.dims()));
        let op = Slice {
            axis: 0,
            start,
            step: 1,
            count: count as i64,
        };
        let out = graph.push("rows", op, &[x])?;
        graph.set_outputs(&out);
        Ok(self.compute(&graph, &[of])?.remove(0))
    }

    /// Tensors one behind the other.
    fn joined(&self, parts: Vec<&DeviceTensor>) -> Result<DeviceTensor, Error> {
        let mut graph = Graph::new();
        let values = parts.iter().map(|t| graph.input("x", Fact::f32(t.dims())));
        let values: Vec<ValueId> = values.collect();
        let out = graph.push("joined", Concat { axis: 0 }, &values)?;
        graph.set_outputs(&out);
        Ok(self.compute(&graph, &parts)?.remove(0))
    }
}

/// The graph with outputs that are nodes' and none of them twice.
fn with_own_outputs(graph: &Graph) -> Result<Graph, Error> {
    let mut graph = graph.clone();
    let mut outputs: Vec<ValueId> = Vec::with_capacity(graph.outputs().len());
    for v in graph.outputs().to_vec() {
        let own = graph.producer(v).is_some() && !outputs.contains(&v);
        outputs.push(if own { v } else { copied(&mut graph, v)? });
    }
    graph.set_outputs(&outputs);
    Ok(graph)
}
