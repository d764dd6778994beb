//! How a session runs what explainers ask for: graphs are put together,
//! differentiated, fused and planned; plans are kept; loops run on the device.

mod context;
mod evaluate;
mod folder;
mod graphs;
mod layers;
mod reducer;
mod resident;
pub(crate) mod workload;

pub(crate) use context::RunContext;

use crate::{Error, Model, SessionOptions};
use limpid_device::{Buffer, Device, Executable, HostData};
use limpid_explain::{Limits, ModelInfo};
use limpid_graph::grid::{Grid, Maps};
use limpid_graph::ops::HeatKernel;
use limpid_graph::passes::{
    eliminate_dead_code, fold_batch_norm, fold_constants, fuse, fuse_attention, fuse_elementwise,
    keep_slopes, lower,
};
use limpid_graph::{Fact, Graph, Op, Plan, ValueId};
use limpid_tensor::Tensor;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The largest batch that is chosen by itself: larger ones only push
/// activations out of the cache.
const BATCH: u64 = 8;

/// Plans kept at once. A session of one input size needs about ten.
const PLANS: usize = 32;

/// Graphs with layers pinned kept at once.
const PINNED: usize = 16;

pub(crate) struct Engine {
    device: Arc<dyn Device>,
    options: SessionOptions,
    info: ModelInfo,
    /// The most evaluations that the model can do at once, if it has such a number.
    max_batch: Option<usize>,
    /// The graph before folding, for layers that folding removes.
    original: Graph,
    /// Where the original graph attends between all tokens, if it does.
    attentions: Result<layers::AttentionPlaces, String>,
    /// The maps among the layers' outputs, by name.
    grids: HashMap<String, Grid>,
    /// The graph with batch normalisation folded in.
    folded: Arc<Graph>,
    /// Graphs that keep layers which folding removes, by the layers' names.
    pinned: Mutex<HashMap<Vec<String>, Arc<Graph>>>,
    plans: Mutex<HashMap<u64, Arc<dyn Executable>>>,
}

impl Engine {
    pub(crate) fn new(
        model: &Model,
        device: Arc<dyn Device>,
        options: SessionOptions,
    ) -> Result<Self, Error> {
        Self::of_network(model, lower(&model.graph()?)?, device, options)
    }

    /// For a network of the model's kind that is already lowered, such as one
    /// with other weights.
    fn of_network(
        model: &Model,
        original: Graph,
        device: Arc<dyn Device>,
        options: SessionOptions,
    ) -> Result<Self, Error> {
        let folded = Arc::new(fold(&original)?);
        let pre = model.preprocess();
        let pixel = |value: f64| {
            let channels = pre.mean().iter().zip(pre.std());
            channels.map(|(m, s)| ((value - m) / s) as f32).collect()
        };
        let classes = original.fact(original.outputs()[0]).shape[1];
        let maps = Maps::of(&original);
        let layers = original.layers().iter();
        let grids: HashMap<String, Grid> = layers
            .filter_map(|(name, v)| Some((name.clone(), maps.grid(*v)?)))
            .collect();
        let info = ModelInfo {
            classes,
            black: pixel(0.0),
            white: pixel(1.0),
            cam_layer: maps.default_layer(),
            cam_layers: layers::maps(&original, &grids),
        };
        let attentions = layers::attentions(&original, &maps);
        Ok(Self {
            device,
            options,
            info,
            max_batch: model.max_batch(),
            attentions,
            grids,
            original,
            folded,
            pinned: Mutex::default(),
            plans: Mutex::default(),
        })
    }

    /// The engine of the same network, changed by `change`.
    pub(crate) fn changed(
        &self,
        model: &Model,
        change: impl FnOnce(&mut Graph) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut network = self.original.clone();
        change(&mut network)?;
        Self::of_network(model, network, Arc::clone(&self.device), self.options)
    }

    /// The network before folding.
    pub(crate) fn original(&self) -> &Graph {
        &self.original
    }

    pub(crate) fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The graph that puts out its logits.
    fn network(&self) -> &Graph {
        &self.folded
    }

    /// How the output of a layer is a map, if it is one.
    fn grid(&self, layer: &str) -> Option<&Grid> {
        self.grids.get(layer)
    }

    /// The graph in which these values of the original one exist, and where:
    /// the folded one where folding has left all of them, so that weights are
    /// shared.
    fn network_with(
        &self,
        names: &[String],
        values: &[ValueId],
    ) -> Result<(Arc<Graph>, Vec<ValueId>), Error> {
        let kept = self.folded.layers();
        let places = names.iter().map(|n| kept.get(n).copied());
        if let Some(places) = places.collect::<Option<Vec<_>>>() {
            return Ok((Arc::clone(&self.folded), places));
        }
        let mut pinned = lock(&self.pinned);
        let key = names.to_vec();
        let graph = match pinned.get(&key) {
            Some(graph) => Arc::clone(graph),
            None => {
                let mut graph = self.original.clone();
                let outputs = [graph.outputs(), values].concat();
                graph.set_outputs(&outputs);
                let graph = Arc::new(fold(&graph)?);
                if pinned.len() >= PINNED {
                    pinned.clear();
                }
                pinned.insert(key, Arc::clone(&graph));
                graph
            }
        };
        let places = graph.outputs()[1..].to_vec();
        Ok((graph, places))
    }

    /// The executable of a graph, from the cache where it was made before.
    fn prepare(&self, graph: &Graph) -> Result<Arc<dyn Executable>, Error> {
        let key = graph.fingerprint();
        if let Some(found) = lock(&self.plans).get(&key) {
            return Ok(Arc::clone(found));
        }
        let plan = self
            .device
            .plan(Arc::new(optimise(graph, &*self.device)?))?;
        // Before weights are packed for nothing; then with what kernels need.
        self.within_memory(&plan, plan.arena_bytes())?;
        let executable = self.device.prepare(plan)?;
        self.within_memory(executable.plan(), executable.working_bytes())?;
        let mut plans = lock(&self.plans);
        if plans.len() >= PLANS {
            let any = plans.keys().next().copied();
            any.map(|key| plans.remove(&key));
        }
        plans.insert(key, Arc::clone(&executable));
        Ok(executable)
    }

    /// Refuses an execution that would take more than the bound with so many
    /// bytes of working memory.
    fn within_memory(&self, plan: &Plan, bytes: usize) -> Result<(), Error> {
        let needed = bytes as u64 + bound_bytes(plan);
        match self.options.memory {
            Some(bound) if needed > bound => Err(Error::Memory { needed, bound }),
            _ => Ok(()),
        }
    }

    /// The batch for `total` evaluations: what was asked for, or what pays
    /// off; fewer where the memory bound or the device's own wants it.
    fn batch(
        &self,
        total: u64,
        build: impl Fn(usize) -> Result<Graph, Error>,
    ) -> Result<usize, Error> {
        let wanted = self.options.batch.map_or(BATCH, |b| b as u64);
        let most = self.max_batch.map_or(u64::MAX, |b| b as u64);
        let mut batch = wanted.min(total).min(most).max(1) as usize;
        // A batch of one that is too large is refused when it is prepared.
        while batch > 1 {
            match self.prepare(&build(batch)?) {
                Err(e) if e.is_of_size() => batch /= 2,
                fits => return fits.map(|_| batch),
            }
        }
        Ok(batch)
    }

    /// What a run may take.
    pub(crate) fn limits(&self) -> Limits {
        let capabilities = self.device.capabilities();
        let half = capabilities.memory.map(|bytes| bytes / 2);
        Limits {
            batch: self.options.batch.map_or(BATCH, |b| b as u64),
            threads: capabilities.threads as u64,
            bytes: self.options.memory.or(half).unwrap_or(1 << 30),
        }
    }

    /// A buffer with these contents.
    fn upload(&self, fact: &Fact, data: HostData<'_>) -> Result<Buffer, Error> {
        let mut buffer = self.device.alloc(fact)?;
        self.device.write(&mut buffer, data)?;
        Ok(buffer)
    }

    /// A zeroed map, `[1, C, H, W]` for an image of `[C, H, W]`.
    fn zeros(&self, image: &Tensor) -> Result<Buffer, Error> {
        let shape = [&[1], image.dims()].concat();
        Ok(self.device.alloc(&Fact::f32(shape))?)
    }

    fn download(&self, buffer: &Buffer) -> Result<Tensor, Error> {
        let mut tensor = Tensor::zeros(&buffer.fact().shape)?;
        self.device.read(buffer, tensor.data_mut())?;
        Ok(tensor)
    }

    /// Runs a graph once on f32 inputs.
    fn run(&self, graph: &Graph, inputs: &[&Tensor]) -> Result<Vec<Tensor>, Error> {
        let mut tensors = Vec::with_capacity(graph.outputs().len());
        self.run_each(graph, inputs, |tensor| {
            tensors.push(tensor);
            Ok(())
        })?;
        Ok(tensors)
    }

    /// Runs a graph once on f32 inputs and shows its outputs in turn; each is
    /// freed on the device before the next is copied.
    fn run_each(
        &self,
        graph: &Graph,
        inputs: &[&Tensor],
        mut each: impl FnMut(Tensor) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let facts = graph.inputs().iter().map(|v| graph.fact(*v));
        let inputs = facts
            .zip(inputs)
            .map(|(fact, t)| self.upload(fact, HostData::F32(t.data())))
            .collect::<Result<Vec<_>, _>>()?;
        let outputs = self.execute(graph, &inputs.iter().collect::<Vec<_>>())?;
        self.device.synchronize()?;
        outputs
            .into_iter()
            .try_for_each(|buffer| each(self.download(&buffer)?))
    }

    /// Runs a graph once on buffers.
    fn execute(&self, graph: &Graph, inputs: &[&Buffer]) -> Result<Vec<Buffer>, Error> {
        let executable = self.prepare(graph)?;
        let alloc = |v: &ValueId| self.device.alloc(graph.fact(*v));
        let outputs = graph.outputs().iter().map(alloc);
        let mut outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let mut bound: Vec<&mut Buffer> = outputs.iter_mut().collect();
        self.device.execute(&*executable, inputs, &mut bound)?;
        Ok(outputs)
    }

    /// Shows a picture, `[C, H, W]`, under Gaussian blurs in turn.
    pub(crate) fn blurred(
        &self,
        image: &Tensor,
        sigmas: &[f32],
        mut each: impl FnMut(&Tensor),
    ) -> Result<(), Error> {
        let shape = [&[1], image.dims()].concat();
        let build = |batch: usize| {
            let mut graph = Graph::new();
            let x = graph.input("x", Fact::f32(&*shape));
            let sigma = graph.input("sigma", Fact::f32([batch]));
            let blurred = graph.push("blurred", HeatKernel {}, &[x, sigma])?;
            graph.set_outputs(&blurred[..1]);
            Ok(graph)
        };
        let batch = self.batch(sigmas.len() as u64, build)?;
        let graph = build(batch)?;
        let executable = self.prepare(&graph)?;
        let facts: Vec<&Fact> = graph.inputs().iter().map(|v| graph.fact(*v)).collect();
        let x = self.upload(facts[0], HostData::F32(image.data()))?;
        let mut sigma = self.device.alloc(facts[1])?;
        let mut output = self.device.alloc(graph.fact(graph.outputs()[0]))?;
        let mut pictures = Tensor::zeros(&output.fact().shape)?;
        for sigmas in sigmas.chunks(batch) {
            let mut all = sigmas.to_vec();
            all.resize(batch, 0.0);
            self.device.write(&mut sigma, HostData::F32(&all))?;
            let inputs = [&x, &sigma];
            self.device
                .execute(&*executable, &inputs, &mut [&mut output])?;
            self.device.synchronize()?;
            self.device.read(&output, pictures.data_mut())?;
            let size = image.data().len().max(1);
            for picture in pictures.data().chunks(size).take(sigmas.len()) {
                each(&Tensor::from_slice(image.dims(), picture)?);
            }
        }
        Ok(())
    }

    /// The logits of one picture `[C, H, W]`.
    fn logits(&self, dims: &[usize], picture: &Buffer) -> Result<Vec<f32>, Error> {
        let logits = self.execute(&self.scores(dims, 1)?, &[picture])?.remove(0);
        Ok(self.download(&logits)?.data().to_vec())
    }

    /// The graph of the logits of `batch` pictures.
    fn scores(&self, dims: &[usize], batch: usize) -> Result<Graph, Error> {
        let (mut graph, _) = graphs::forward(self.network(), dims, batch)?;
        let logits = graph.outputs()[0];
        graph.set_outputs(&[logits]);
        Ok(graph)
    }
}

/// The bytes of a plan's inputs and outputs.
fn bound_bytes(plan: &Plan) -> u64 {
    let graph = plan.graph();
    let bound = graph.inputs().iter().chain(graph.outputs());
    let bytes = bound.map(|v| {
        graph
            .fact(*v)
            .shape
            .iter()
            .map(|d| *d as u64)
            .product::<u64>()
            * 4
    });
    bytes.sum()
}

/// The passes before differentiation.
fn fold(graph: &Graph) -> Result<Graph, Error> {
    Ok(fold_batch_norm(&fold_constants(graph)?)?)
}

/// The passes after differentiation.
fn optimise(graph: &Graph, device: &dyn Device) -> Result<Graph, Error> {
    let supports = |op: &Op, inputs: &[&Fact]| device.supports(op, inputs).is_ok();
    let attention = fuse_attention(&eliminate_dead_code(graph)?, supports)?;
    let fused = fuse_elementwise(&fuse(&attention)?)?;
    Ok(keep_slopes(&fused)?)
}

/// A lock whose data stays good when a thread panics while it holds it: the
/// maps behind it are only ever whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
