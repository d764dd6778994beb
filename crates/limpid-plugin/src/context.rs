//! The host's services as a [`Context`].

use crate::callbacks::{each_attention, next, sample, vary, visit};
use crate::error::HostError;
use crate::path::{Callback, extents, picture_extents, rule, with_subject};
use crate::table::{Objectives, sink};
use limpid_explain::{
    Accumulation, Attentions, Context, DeviceTensor, Evaluations, ExplainError, Gradients,
    Integration, LayerGradients, LayerVariants, Limits, ModelInfo, Noise, Objective, Passed,
    Passes, Pictures, Planner, Points, Reduce, Sample, Subject, Vary, Visit,
};
use limpid_graph::ops::{Concat, Reshape};
use limpid_graph::{Fact, Graph, ValueId, text};
use limpid_plugin_abi as abi;
use limpid_tensor::Tensor;
use std::ops::Range;
use std::sync::Arc;

/// The host's table and the job that it is used for.
#[derive(Clone, Copy)]
pub(crate) struct Job {
    pub(crate) host: abi::limpid_host,
    pub(crate) id: abi::limpid_job,
}

/// The table's function, or the error that the host has none.
macro_rules! service {
    ($job:expr, $name:ident) => {
        $job.host
            .$name
            .ok_or_else(|| HostError::missing(stringify!($name)))?
    };
}

impl Job {
    /// What a service's status says.
    pub(crate) fn check(&self, status: abi::limpid_status) -> Result<(), ExplainError> {
        if status == abi::LIMPID_OK {
            return Ok(());
        }
        if status == abi::LIMPID_CANCELLED {
            return Err(ExplainError::Cancelled);
        }
        let mut message = String::new();
        if let Some(last_error) = self.host.last_error {
            // SAFETY: the sink lives until the call returns.
            unsafe { last_error(self.id, sink(&mut message)) }
        }
        Err(ExplainError::Run(Box::new(HostError { status, message })))
    }

    /// A tensor that the host has made.
    fn tensor(self, id: abi::limpid_tensor) -> Result<DeviceTensor, ExplainError> {
        let handle = Handle { job: self, id };
        let shape = service!(self, tensor_shape);
        let (mut dims, mut rank) = ([0; 16], 0);
        // SAFETY: `dims` has room for so many extents.
        let status = unsafe { shape(self.id, id, dims.as_mut_ptr(), 16, &raw mut rank) };
        self.check(status)?;
        let dims = dims.iter().take(rank as usize).map(|d| *d as usize);
        let dims: Vec<usize> = dims.collect();
        Ok(DeviceTensor::new(dims.into(), Arc::new(handle)))
    }

    /// The numbers of a tensor that the host has made.
    pub(crate) fn fetch(self, id: abi::limpid_tensor) -> Result<Tensor, ExplainError> {
        self.read(&self.tensor(id)?)
    }

    fn read(self, tensor: &DeviceTensor) -> Result<Tensor, ExplainError> {
        let read = service!(self, tensor_read);
        let mut numbers = Tensor::zeros(tensor.dims())?;
        let (out, len) = (numbers.data_mut().as_mut_ptr(), numbers.data().len() as u64);
        // SAFETY: `out` has room for `len` numbers.
        self.check(unsafe { read(self.id, handle(&self, tensor)?, out, len) })?;
        Ok(numbers)
    }
}

/// A tensor of the host, released with the last copy.
struct Handle {
    job: Job,
    id: abi::limpid_tensor,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(release) = self.job.host.tensor_release {
            // SAFETY: a number that the host checks. What it makes of one that
            // is stale is no matter here.
            unsafe { release(self.job.id, self.id) };
        }
    }
}

fn handle(job: &Job, tensor: &DeviceTensor) -> Result<abi::limpid_tensor, ExplainError> {
    let handle = tensor.storage::<Handle>()?;
    match handle.job.id == job.id {
        true => Ok(handle.id),
        false => Err(ExplainError::Foreign),
    }
}

fn names(layers: &[String]) -> Vec<abi::limpid_str> {
    layers.iter().map(|l| abi::limpid_str::new(l)).collect()
}

fn samples(points: &[Sample]) -> Vec<abi::limpid_sample> {
    let points = points.iter();
    points.map(|s| sample(*s)).collect()
}

/// The result, unless a callback had an error of its own, which is the cause.
fn or_cause<T, R>(
    callback: Callback<T>,
    result: Result<R, ExplainError>,
) -> Result<R, ExplainError> {
    match callback.error {
        Some(error) => Err(error),
        None => result,
    }
}

/// What an explainer of a plugin sees of the host.
pub(crate) struct HostContext {
    pub(crate) job: Job,
    pub(crate) model: ModelInfo,
    /// The picture that is explained, where it is here and where at the host.
    pub(crate) pictures: [*const f32; 2],
}

impl HostContext {
    /// Where the host finds a picture's numbers: its own need not be copied.
    fn numbers(&self, image: &Tensor) -> *const f32 {
        match image.data().as_ptr() {
            here if here == self.pictures[0] => self.pictures[1],
            other => other,
        }
    }

    fn subject<R>(
        &self,
        subject: &Subject<'_>,
        work: impl FnOnce(*const abi::limpid_subject) -> Result<R, ExplainError>,
    ) -> Result<R, ExplainError> {
        with_subject(subject, self.numbers(subject.image), work)
    }

    fn layers<R>(
        &self,
        image: &Tensor,
        layers: &[String],
        objectives: &[Objective],
        work: impl FnOnce(*const abi::limpid_layers) -> Result<R, ExplainError>,
    ) -> Result<R, ExplainError> {
        let (names, objectives) = (names(layers), Objectives::of(objectives));
        work(&abi::limpid_layers {
            head: abi::limpid_head::of::<abi::limpid_layers>(),
            picture: self.numbers(image),
            shape: picture_extents(image.dims())?,
            layers: names.as_ptr(),
            layer_count: names.len() as u64,
            objectives: objectives.rows().as_ptr(),
            objective_count: objectives.rows().len() as u64,
        })
    }
}

/// A folder's pictures, read by the host.
struct Folder {
    job: Job,
    id: abi::limpid_pictures,
    count: usize,
    dims: Vec<usize>,
}

impl Pictures for Folder {
    fn count(&self) -> usize {
        self.count
    }

    fn picture(&self, index: usize) -> Result<Arc<Tensor>, ExplainError> {
        let read = service!(self.job, pictures_read);
        let mut picture = Tensor::zeros(&self.dims[..])?;
        let (out, len) = (picture.data_mut().as_mut_ptr(), picture.data().len() as u64);
        // SAFETY: `out` has room for `len` numbers.
        let status = unsafe { read(self.job.id, self.id, index as u64, out, len) };
        self.job.check(status)?;
        Ok(Arc::new(picture))
    }
}

impl Context for HostContext {
    fn model(&self) -> &ModelInfo {
        &self.model
    }

    fn integrate(&mut self, request: &Integration<'_>) -> Result<Tensor, ExplainError> {
        let job = self.job;
        let integrate = service!(job, integrate);
        let objective = Objectives::of([request.objective]);
        let nodes = request.schedule.nodes.iter().map(|n| abi::limpid_node {
            position: n.position,
            weight: n.weight,
        });
        let nodes: Vec<abi::limpid_node> = nodes.collect();
        let map = self.subject(&request.subject, |subject| {
            let mut out = 0;
            let request = abi::limpid_integration {
                head: abi::limpid_head::of::<abi::limpid_integration>(),
                subject,
                objective: objective.rows().as_ptr(),
                draws: request.schedule.draws,
                nodes: nodes.as_ptr(),
                node_count: nodes.len() as u64,
                reduce: match request.reduce {
                    Reduce::Mean => abi::LIMPID_MEAN,
                    Reduce::Squared => abi::LIMPID_SQUARED,
                    Reduce::Variance => abi::LIMPID_VARIANCE,
                },
                reserved: 0,
            };
            // SAFETY: all that the request points to lives until the call returns.
            job.check(unsafe { integrate(job.id, &raw const request, &raw mut out) })?;
            Ok(out)
        })?;
        job.fetch(map)
    }

    fn accumulate(
        &mut self,
        request: &Accumulation<'_>,
        planner: &mut dyn Planner,
    ) -> Result<DeviceTensor, ExplainError> {
        let job = self.job;
        let accumulate = service!(job, accumulate);
        let objective = Objectives::of([request.objective]);
        let initial: Vec<f32> = request
            .initial
            .iter()
            .flat_map(|t| t.data())
            .copied()
            .collect();
        let dims = request.subject.image.dims().to_vec();
        let wanted = request.rows * request.subject.image.data().len();
        if !initial.is_empty() && initial.len() != wanted {
            return Err(ExplainError::Shape {
                what: "what sums begin with".into(),
                expected: format!("{wanted} numbers"),
                found: initial.len().to_string(),
            });
        }
        let mut callback = Callback::new((job, request.rows, dims, planner));
        let result = self.subject(&request.subject, |subject| {
            let mut out = vec![0; request.rows];
            let request = abi::limpid_accumulation {
                head: abi::limpid_head::of::<abi::limpid_accumulation>(),
                subject,
                objective: objective.rows().as_ptr(),
                rows: request.rows as u64,
                initial: match initial.is_empty() {
                    true => std::ptr::null(),
                    false => initial.as_ptr(),
                },
                expected: request.expected,
                object: callback.object(),
                next: Some(next),
            };
            // SAFETY: all that the request points to lives until the call
            // returns, and `out` has room for a tensor for each row.
            job.check(unsafe { accumulate(job.id, &raw const request, out.as_mut_ptr()) })?;
            Ok(out)
        });
        let sums = or_cause(callback, result)?.into_iter();
        let sums: Vec<DeviceTensor> = sums.map(|id| job.tensor(id)).collect::<Result<_, _>>()?;
        let mut graph = Graph::new();
        let values = sums.iter().map(|t| graph.input("sum", Fact::f32(t.dims())));
        let values: Vec<ValueId> = values.collect();
        let joined = graph.push("sums", Concat { axis: 0 }, &values)?[0];
        let shape = [&[request.rows], request.subject.image.dims()].concat();
        let shape = shape.into_iter().map(|d| d as i64).collect();
        let joined = graph.push("sums", Reshape { shape }, &[joined])?[0];
        graph.set_outputs(&[joined]);
        let made = self.compute(&graph, &sums.iter().collect::<Vec<_>>())?;
        made.into_iter().next().ok_or(ExplainError::Foreign)
    }

    fn gradients(
        &mut self,
        request: &Gradients<'_>,
        shown: &mut Visit<'_>,
    ) -> Result<(), ExplainError> {
        let job = self.job;
        let gradients = service!(job, gradients);
        let objective = Objectives::of([request.objective]);
        let points = samples(request.points);
        let mut callback = Callback::new(shown);
        let result = self.subject(&request.subject, |subject| {
            let request = abi::limpid_points {
                head: abi::limpid_head::of::<abi::limpid_points>(),
                subject,
                objectives: objective.rows().as_ptr(),
                objective_count: 1,
                points: points.as_ptr(),
                point_count: points.len() as u64,
                times_velocity: u32::from(request.times_velocity),
                reserved: 0,
                object: callback.object(),
                visit: Some(visit),
            };
            // SAFETY: all that the request points to lives until the call returns.
            job.check(unsafe { gradients(job.id, &raw const request) })
        });
        or_cause(callback, result)
    }

    fn scores(&mut self, request: &Points<'_>) -> Result<Vec<f64>, ExplainError> {
        let job = self.job;
        let scores = service!(job, scores);
        let objectives = Objectives::of(request.objectives);
        let points = samples(request.points);
        self.subject(&request.subject, |subject| {
            let mut out = vec![0.0; points.len() * objectives.rows().len()];
            let request = abi::limpid_points {
                head: abi::limpid_head::of::<abi::limpid_points>(),
                subject,
                objectives: objectives.rows().as_ptr(),
                objective_count: objectives.rows().len() as u64,
                points: points.as_ptr(),
                point_count: points.len() as u64,
                times_velocity: 0,
                reserved: 0,
                object: std::ptr::null_mut(),
                visit: None,
            };
            let len = out.len() as u64;
            // SAFETY: all that the request points to lives until the call
            // returns, and `out` has room for `len` numbers.
            job.check(unsafe { scores(job.id, &raw const request, out.as_mut_ptr(), len) })?;
            Ok(out)
        })
    }

    fn layer_gradients(
        &mut self,
        image: &Tensor,
        layers: &[String],
        objectives: &[Objective],
    ) -> Result<Vec<LayerGradients>, ExplainError> {
        let job = self.job;
        let layer_gradients = service!(job, layer_gradients);
        let mut activations = vec![0; layers.len()];
        let mut gradients = vec![0; layers.len() * objectives.len()];
        self.layers(image, layers, objectives, |request| {
            let (a, g) = (activations.as_mut_ptr(), gradients.as_mut_ptr());
            // SAFETY: all that the request points to lives until the call
            // returns, and there is room for each tensor.
            job.check(unsafe { layer_gradients(job.id, request, a, g) })
        })?;
        let mut gradients = gradients.into_iter();
        let found = activations.into_iter().map(|activation| {
            let gradients = gradients.by_ref().take(objectives.len());
            Ok(LayerGradients {
                activation: job.fetch(activation)?,
                gradients: gradients.map(|g| job.fetch(g)).collect::<Result<_, _>>()?,
            })
        });
        found.collect()
    }

    fn layer_scores(
        &mut self,
        request: &LayerVariants<'_>,
        made: &mut Vary<'_>,
    ) -> Result<Vec<f64>, ExplainError> {
        let job = self.job;
        let layer_scores = service!(job, layer_scores);
        let mut callback = Callback::new(made);
        let mut out = vec![0.0; request.count * request.objectives.len()];
        let layer = [request.layer.to_owned()];
        let result = self.layers(request.image, &layer, request.objectives, |at| {
            let request = abi::limpid_variants {
                head: abi::limpid_head::of::<abi::limpid_variants>(),
                at,
                count: request.count as u64,
                object: callback.object(),
                vary: Some(vary),
            };
            let len = out.len() as u64;
            // SAFETY: all that the request points to lives until the call
            // returns, and `out` has room for `len` numbers.
            job.check(unsafe { layer_scores(job.id, &raw const request, out.as_mut_ptr(), len) })
        });
        or_cause(callback, result)?;
        Ok(out)
    }

    fn attentions(
        &mut self,
        image: &Tensor,
        objectives: &[Objective],
    ) -> Result<Attentions, ExplainError> {
        let job = self.job;
        let extension = service!(job, get_extension);
        // SAFETY: the host returns null or the table of this name.
        let table = unsafe {
            let name = abi::limpid_str::new(abi::LIMPID_ATTENTIONS);
            abi::read(extension(name).cast::<abi::limpid_attentions>())
        };
        let read = table.and_then(|t| t.read);
        let read = read.ok_or_else(|| HostError::missing(abi::LIMPID_ATTENTIONS))?;
        let mut tokens = abi::limpid_tokens {
            head: abi::limpid_head::of::<abi::limpid_tokens>(),
            ..abi::limpid_tokens::default()
        };
        let mut callback = Callback::new((job, Vec::new()));
        let result = self.layers(image, &[], objectives, |request| {
            let object = callback.object();
            // SAFETY: all that the request points to lives until the call returns.
            let status = unsafe {
                read(
                    job.id,
                    request,
                    &raw mut tokens,
                    object,
                    Some(each_attention),
                )
            };
            job.check(status)
        });
        if let Some(error) = callback.error {
            return Err(error);
        }
        result?;
        Ok(Attentions {
            layers: callback.state.1,
            before: tokens.before as usize,
            rows: tokens.rows as usize,
            columns: tokens.columns as usize,
            class_token: tokens.class_token != 0,
        })
    }

    fn upload(&mut self, tensor: &Tensor) -> Result<DeviceTensor, ExplainError> {
        let job = self.job;
        let new = service!(job, tensor_new);
        let shape = extents(tensor.dims());
        let (rank, data, mut out) = (shape.len() as u64, tensor.data().as_ptr(), 0);
        // SAFETY: the data are as many as the shape says.
        job.check(unsafe { new(job.id, shape.as_ptr(), rank, data, &raw mut out) })?;
        job.tensor(out)
    }

    fn download(&mut self, tensor: &DeviceTensor) -> Result<Tensor, ExplainError> {
        self.job.read(tensor)
    }

    fn compute(
        &mut self,
        graph: &Graph,
        inputs: &[&DeviceTensor],
    ) -> Result<Vec<DeviceTensor>, ExplainError> {
        let job = self.job;
        let compute = service!(job, compute);
        let written = text::write(graph, graph.inputs(), graph.outputs());
        let written = written.map_err(|e| ExplainError::Run(Box::new(e)))?;
        let inputs = inputs.iter().map(|t| handle(&job, t));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let mut out = vec![0; graph.outputs().len()];
        // SAFETY: the arrays have these lengths.
        let status = unsafe {
            compute(
                job.id,
                abi::limpid_str::new(&written),
                inputs.as_ptr(),
                inputs.len() as u64,
                out.as_mut_ptr(),
                out.len() as u64,
            )
        };
        job.check(status)?;
        out.into_iter().map(|id| job.tensor(id)).collect()
    }

    fn noise(
        &mut self,
        pictures: &DeviceTensor,
        noise: Noise,
        draws: Range<u64>,
    ) -> Result<DeviceTensor, ExplainError> {
        let job = self.job;
        let add = service!(job, noise);
        let count = draws.end.saturating_sub(draws.start);
        let (pictures, mut out) = (handle(&job, pictures)?, 0);
        let Noise { scale, seed } = noise;
        // SAFETY: numbers, and room for one.
        let status = unsafe {
            add(
                job.id,
                pictures,
                scale,
                seed,
                draws.start,
                count,
                &raw mut out,
            )
        };
        job.check(status)?;
        job.tensor(out)
    }

    fn pass(&mut self, request: &Passes<'_>) -> Result<Passed, ExplainError> {
        let job = self.job;
        let pass = service!(job, pass);
        let objective = Objectives::of(request.objective);
        let (layers, rule) = (names(request.layers), rule(request.rule)?);
        let mut activations = vec![0; layers.len()];
        let mut gradients = vec![0; layers.len() * objective.rows().len()];
        let wanted = abi::limpid_pass {
            head: abi::limpid_head::of::<abi::limpid_pass>(),
            pictures: handle(&job, request.pictures)?,
            objective: match objective.rows().is_empty() {
                true => std::ptr::null(),
                false => objective.rows().as_ptr(),
            },
            rule: abi::limpid_str::new(&rule),
            layers: layers.as_ptr(),
            layer_count: layers.len() as u64,
        };
        let mut passed = abi::limpid_passed {
            head: abi::limpid_head::of::<abi::limpid_passed>(),
            logits: 0,
            activations: activations.as_mut_ptr(),
            gradients: match gradients.is_empty() {
                true => std::ptr::null_mut(),
                false => gradients.as_mut_ptr(),
            },
        };
        // SAFETY: all that is pointed to lives until the call returns, and there
        // is room for each tensor.
        job.check(unsafe { pass(job.id, &raw const wanted, &raw mut passed) })?;
        let tensors = |ids: Vec<abi::limpid_tensor>| ids.into_iter().map(|id| job.tensor(id));
        Ok(Passed {
            logits: job.tensor(passed.logits)?,
            activations: tensors(activations).collect::<Result<_, _>>()?,
            gradients: tensors(gradients).collect::<Result<_, _>>()?,
        })
    }

    fn picture(&mut self, path: &str) -> Result<Tensor, ExplainError> {
        let job = self.job;
        let picture = service!(job, picture);
        let mut out = 0;
        // SAFETY: the text lives until the call returns.
        job.check(unsafe { picture(job.id, abi::limpid_str::new(path), &raw mut out) })?;
        job.fetch(out)
    }

    fn pictures(&mut self, folder: &str) -> Result<Arc<dyn Pictures>, ExplainError> {
        let job = self.job;
        let open = service!(job, pictures_open);
        let (mut id, mut count) = (0, 0);
        let name = abi::limpid_str::new(folder);
        let mut shape = [0; 3];
        // SAFETY: the text lives until the call returns, and there is room for
        // what is written.
        let status = unsafe {
            open(
                job.id,
                name,
                &raw mut id,
                &raw mut count,
                shape.as_mut_ptr(),
            )
        };
        job.check(status)?;
        Ok(Arc::new(Folder {
            job,
            id,
            count: count as usize,
            dims: shape.map(|d: u64| d as usize).to_vec(),
        }))
    }

    fn evaluations(&self) -> Evaluations {
        let mut found = abi::limpid_evaluations::default();
        if let Some(evaluations) = self.job.host.evaluations {
            // SAFETY: there is room for what is written.
            unsafe { evaluations(self.job.id, &raw mut found) };
        }
        Evaluations {
            gradients: found.gradients,
            forwards: found.forwards,
        }
    }

    fn limits(&self) -> Limits {
        let mut found = abi::limpid_limits {
            head: abi::limpid_head::of::<abi::limpid_limits>(),
            batch: 1,
            threads: 1,
            bytes: 1 << 30,
        };
        if let Some(limits) = self.job.host.limits {
            // SAFETY: the struct has a head that tells its size.
            unsafe { limits(self.job.id, &raw mut found) };
        }
        Limits {
            batch: found.batch,
            threads: found.threads,
            bytes: found.bytes,
        }
    }

    fn check(&self) -> Result<(), ExplainError> {
        let Some(is_cancelled) = self.job.host.is_cancelled else {
            return Ok(());
        };
        // SAFETY: a number that the host checks.
        match unsafe { is_cancelled(self.job.id) } {
            0 => Ok(()),
            _ => Err(ExplainError::Cancelled),
        }
    }

    fn progress(&mut self, done: u64, total: u64) {
        if let Some(progress) = self.job.host.progress {
            // SAFETY: numbers that the host checks.
            unsafe { progress(self.job.id, done, total) }
        }
    }

    fn note(&mut self, text: &str) {
        if let Some(log) = self.job.host.log {
            // SAFETY: the text lives until the call returns.
            unsafe { log(self.job.id, abi::LIMPID_NOTE, abi::limpid_str::new(text)) }
        }
    }
}
