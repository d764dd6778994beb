use crate::arena::{Arena, Arenas, Groups};
use crate::gpu::Gpu;
use crate::kernel::{Dispatch, Kernel, Profile, Signature, Slot};
use crate::layout::{Stored, storage_bytes};
use crate::pipelines::{Pipeline, Pipelines};
use crate::select::select;
use crate::source::Binding;
use crate::weights::{Resident, WeightCache, Weights};
use limpid_device::{DeviceError, Executable, Timing};
use limpid_graph::{Location, Plan, ValueId};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Where the parameters of a launch begin: what every adapter allows.
const PARAMS: usize = 256;

/// Storage buffers of a launch at most.
const SLOTS: usize = 8;

/// Operations in the time of a byte, where memory is slow beside arithmetic.
const PER_BYTE: u64 = 32;

/// What a device shares among its executables.
#[derive(Default)]
pub(crate) struct Caches {
    pub(crate) pipelines: Pipelines,
    pub(crate) weights: WeightCache,
}

/// What a launch binds.
enum Place {
    Input(usize),
    Output(usize),
    Arena(Range<u64>),
    Resident(Arc<Resident>, Range<u64>),
}

/// A recorded launch.
struct Launch {
    pipeline: Arc<Pipeline>,
    places: Vec<Place>,
    /// Where its parameters are.
    params: u64,
    grid: [u32; 2],
    work: u64,
}

/// A node's launches.
struct Step {
    node: usize,
    kernel: &'static str,
    launches: Range<usize>,
}

/// A plan with its compiled kernels and its weights on the device.
pub(crate) struct WgpuExecutable {
    plan: Plan,
    steps: Vec<Step>,
    launches: Vec<Launch>,
    params: wgpu::Buffer,
    working_bytes: usize,
    /// By which arenas tell its bind groups.
    token: Arc<()>,
    /// The device that it was made by.
    pub(crate) owner: u64,
}

impl Executable for WgpuExecutable {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn working_bytes(&self) -> usize {
        self.working_bytes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Puts launches together.
struct Builder<'a> {
    gpu: &'a Gpu,
    caches: &'a Caches,
    profile: &'a Profile,
    plan: &'a Plan,
    stored: &'a [Stored],
    launches: Vec<Launch>,
    params: Vec<u8>,
    working_bytes: usize,
}

impl WgpuExecutable {
    pub(crate) fn new(
        plan: Plan,
        stored: &[Stored],
        gpu: &Gpu,
        caches: &Caches,
        profile: &Profile,
        owner: u64,
    ) -> Result<Self, DeviceError> {
        let mut builder = Builder {
            gpu,
            caches,
            profile,
            plan: &plan,
            stored,
            launches: Vec::new(),
            params: Vec::new(),
            working_bytes: plan.arena_bytes(),
        };
        let mut steps = Vec::new();
        for node in 0..plan.graph().nodes().len() {
            let first = builder.launches.len();
            let kernel = builder.node(node).map_err(|source| DeviceError::Node {
                node: plan.graph().nodes()[node].name.clone(),
                source: Box::new(source),
            })?;
            steps.push(Step {
                node,
                kernel,
                launches: first..builder.launches.len(),
            });
        }
        gpu.fits(builder.working_bytes as u64)?;
        let Builder {
            launches,
            params,
            working_bytes,
            ..
        } = builder;
        let params = gpu.filled("parameters", wgpu::BufferUsages::UNIFORM, &params)?;
        Ok(Self {
            steps,
            launches,
            params,
            working_bytes,
            token: Arc::default(),
            owner,
            plan,
        })
    }
}

/// The node of this position, as kernels are chosen for it.
pub(crate) fn signature<'a>(plan: &'a Plan, stored: &[Stored], node: usize) -> Signature<'a> {
    let graph = plan.graph();
    let node = &graph.nodes()[node];
    let of = |values: &[ValueId]| values.iter().map(|v| stored[v.index()]).collect();
    let used = |v: &ValueId| {
        let mut readers = graph.nodes().iter();
        graph.outputs().contains(v) || readers.any(|n| n.inputs.contains(v))
    };
    Signature {
        op: &node.op,
        inputs: node.inputs.iter().map(|v| graph.fact(*v)).collect(),
        outputs: node.outputs.iter().map(|v| graph.fact(*v)).collect(),
        constants: node.inputs.iter().map(|v| graph.constant_of(*v)).collect(),
        reads: of(&node.inputs),
        writes: of(&node.outputs),
        used: node.outputs.iter().map(used).collect(),
    }
}

impl Builder<'_> {
    /// Adds a node's launches; returns the kernel's name.
    fn node(&mut self, node: usize) -> Result<&'static str, DeviceError> {
        let signature = signature(self.plan, self.stored, node);
        let Kernel {
            name,
            dispatches,
            workspace,
        } = select(&signature, self.profile)?;
        let start = self
            .plan
            .free(node..node + 1, workspace.next_multiple_of(PARAMS));
        self.working_bytes = self
            .working_bytes
            .max(start + workspace.next_multiple_of(PARAMS));
        for dispatch in dispatches {
            self.dispatch(node, dispatch, start as u64)?;
        }
        Ok(name)
    }

    /// Adds a launch, or several where the grid or the time of a submission is bounded.
    fn dispatch(
        &mut self,
        node: usize,
        dispatch: Dispatch,
        workspace: u64,
    ) -> Result<(), DeviceError> {
        let pipeline = self.caches.pipelines.get(self.gpu, &dispatch)?;
        let wide = u64::from(self.gpu.limits.max_compute_workgroups_per_dimension);
        let bound = self.profile.tuning.submission.max(1);
        let mut bytes = 0;
        for slot in &dispatch.slots {
            bytes += self.bytes(node, slot)?;
        }
        let work = dispatch.work.max(bytes * PER_BYTE);
        let pieces = work
            .div_ceil(bound)
            .max(dispatch.groups.div_ceil(wide * wide))
            .max(1);
        let piece = dispatch.groups.div_ceil(pieces).max(1);
        let mut base = 0;
        while base < dispatch.groups {
            let groups = piece.min(dispatch.groups - base);
            let params = self.params.len() as u64;
            let words = [base as u32, (base + groups) as u32].into_iter();
            for word in words.chain(dispatch.params.iter().copied()) {
                self.params.extend(word.to_ne_bytes());
            }
            self.params
                .resize(self.params.len().next_multiple_of(PARAMS), 0);
            let x = groups.min(wide);
            let places = dispatch.slots.iter().zip(&pipeline.bindings).enumerate();
            let places =
                places.map(|(i, (slot, kind))| self.place(node, (i, slot), *kind, workspace));
            self.launches.push(Launch {
                pipeline: Arc::clone(&pipeline),
                places: places.collect::<Result<_, _>>()?,
                params,
                grid: [x as u32, groups.div_ceil(x) as u32],
                work: work / pieces,
            });
            base += groups;
        }
        Ok(())
    }

    fn place(
        &self,
        node: usize,
        (at, slot): (usize, &Slot),
        kind: Binding,
        workspace: u64,
    ) -> Result<Place, DeviceError> {
        let node = &self.plan.graph().nodes()[node];
        Ok(match slot {
            Slot::Input(i) => self.value(node.inputs[*i])?,
            Slot::Output(i) => self.value(node.outputs[*i])?,
            Slot::Weights(weights) => {
                let resident = self.caches.weights.get(self.gpu, weights)?;
                let all = 0..resident.buffer.size();
                self.bounded(&all)?;
                Place::Resident(resident, all)
            }
            Slot::Part(weights, range) => {
                let resident = self.caches.weights.get(self.gpu, weights)?;
                self.bounded(range)?;
                Place::Resident(resident, range.clone())
            }
            Slot::Workspace(range) => {
                let range = workspace + range.start as u64..workspace + range.end as u64;
                self.bounded(&range)?;
                Place::Arena(range)
            }
            Slot::Missing => {
                // Two buffers: one cannot be read-only and not in the same launch;
                // and no two slots may be writable in the same place.
                let words = vec![u32::from(kind == Binding::Write); SLOTS * PARAMS / 4];
                let nothing = Weights::table(words);
                let resident = self.caches.weights.get(self.gpu, &nothing)?;
                let start = (at % SLOTS * PARAMS) as u64;
                Place::Resident(resident, start..start + PARAMS as u64)
            }
        })
    }

    /// What a launch reads or writes of a node's value or working memory.
    fn bytes(&self, node: usize, slot: &Slot) -> Result<u64, DeviceError> {
        let graph = self.plan.graph();
        let node = &graph.nodes()[node];
        let of = |v: ValueId| storage_bytes(graph.fact(v), self.stored[v.index()]);
        Ok(match slot {
            Slot::Input(i) => of(node.inputs[*i])? as u64,
            Slot::Output(i) => of(node.outputs[*i])? as u64,
            Slot::Workspace(range) => range.len() as u64,
            Slot::Weights(_) | Slot::Part(..) | Slot::Missing => 0,
        })
    }

    fn value(&self, v: ValueId) -> Result<Place, DeviceError> {
        let graph = self.plan.graph();
        let bytes = storage_bytes(graph.fact(v), self.stored[v.index()])? as u64;
        self.bounded(&(0..bytes))?;
        Ok(match self.plan.location(v) {
            Location::Input(k) => Place::Input(*k),
            Location::Output(k) => Place::Output(*k),
            Location::Arena(range) => {
                let start = range.start as u64;
                Place::Arena(start..start + bytes)
            }
            Location::Constant => {
                let constant = graph
                    .constant_of(v)
                    .ok_or(DeviceError::Foreign("the plan"))?;
                let weights = Weights::Plain(constant.clone());
                let resident = self.caches.weights.get(self.gpu, &weights)?;
                Place::Resident(resident, 0..bytes.max(4))
            }
        })
    }

    /// Whether a kernel can be given so many bytes at once.
    fn bounded(&self, range: &Range<u64>) -> Result<(), DeviceError> {
        let (bytes, most) = (range.end - range.start, self.profile.binding);
        if bytes <= most {
            return Ok(());
        }
        Err(DeviceError::TooLarge {
            what: "a value".to_owned(),
            bytes,
            most,
        })
    }
}

/// The buffers of an execution.
#[derive(Clone, Copy)]
pub(crate) struct Bound<'a> {
    pub(crate) inputs: &'a [&'a wgpu::Buffer],
    pub(crate) outputs: &'a [&'a wgpu::Buffer],
}

impl WgpuExecutable {
    fn bind(
        &self,
        gpu: &Gpu,
        launch: &Launch,
        bound: Bound<'_>,
        arena: &wgpu::Buffer,
    ) -> wgpu::BindGroup {
        let whole = |buffer| wgpu::BufferBinding {
            buffer,
            offset: 0,
            size: None,
        };
        let part = |buffer, range: &Range<u64>| wgpu::BufferBinding {
            buffer,
            offset: range.start,
            size: wgpu::BufferSize::new(range.end - range.start),
        };
        let params = launch.params..launch.params + PARAMS as u64;
        let places = launch.places.iter().map(|place| match place {
            Place::Input(k) => whole(bound.inputs[*k]),
            Place::Output(k) => whole(bound.outputs[*k]),
            Place::Arena(range) => part(arena, range),
            Place::Resident(resident, range) => part(&resident.buffer, range),
        });
        let all = std::iter::once(part(&self.params, &params)).chain(places);
        let entries: Vec<wgpu::BindGroupEntry<'_>> = all
            .enumerate()
            .map(|(i, binding)| wgpu::BindGroupEntry {
                binding: i as u32,
                resource: wgpu::BindingResource::Buffer(binding),
            })
            .collect();
        gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &launch.pipeline.layout,
            entries: &entries,
        })
    }

    /// The bind groups of launches that bind neither inputs nor outputs.
    fn lasting(&self, gpu: &Gpu, arena: &mut Arena) -> Groups {
        let none = Bound {
            inputs: &[],
            outputs: &[],
        };
        arena.groups(&self.token, |buffer| {
            let own = |l: &Launch| {
                let outside = |p: &Place| matches!(p, Place::Input(_) | Place::Output(_));
                let lasts = !l.places.iter().any(outside);
                lasts.then(|| self.bind(gpu, l, none, buffer))
            };
            Arc::new(self.launches.iter().map(own).collect())
        })
    }

    fn record(
        &self,
        gpu: &Gpu,
        pass: &mut wgpu::ComputePass<'_>,
        launches: Range<usize>,
        lasting: &[Option<wgpu::BindGroup>],
        bound: Bound<'_>,
        arena: &Arena,
    ) {
        for i in launches {
            let launch = &self.launches[i];
            pass.set_pipeline(&launch.pipeline.pipeline);
            match &lasting[i] {
                Some(group) => pass.set_bind_group(0, group, &[]),
                None => pass.set_bind_group(0, &self.bind(gpu, launch, bound, &arena.buffer), &[]),
            }
            pass.dispatch_workgroups(launch.grid[0], launch.grid[1], 1);
        }
    }

    /// Submits the whole plan: one compute pass, or several submissions where
    /// one would run for long.
    pub(crate) fn run(
        &self,
        gpu: &Gpu,
        arenas: &Arenas,
        bound: Bound<'_>,
        submission: u64,
    ) -> Result<wgpu::SubmissionIndex, DeviceError> {
        let mut arena = arenas.take(gpu, self.working_bytes as u64)?;
        let submitted = gpu.attempt(|| {
            let lasting = self.lasting(gpu, &mut arena);
            let mut rest = 0..self.launches.len();
            loop {
                let part = self.first_part(&mut rest, submission);
                let mut encoder = gpu
                    .device
                    .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                {
                    let mut pass =
                        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                    self.record(gpu, &mut pass, part, &lasting, bound, &arena);
                }
                let index = gpu.queue.submit([encoder.finish()]);
                if rest.is_empty() {
                    return index;
                }
            }
        });
        arenas.give(arena);
        submitted
    }

    /// Takes from `rest` what one submission may have.
    fn first_part(&self, rest: &mut Range<usize>, submission: u64) -> Range<usize> {
        let first = rest.start;
        let mut work = 0;
        while let Some(launch) = self.launches[..rest.end].get(rest.start) {
            if rest.start > first && work + launch.work > submission {
                break;
            }
            work += launch.work;
            rest.start += 1;
        }
        first..rest.start
    }

    /// Runs step by step and measures each.
    pub(crate) fn timings(
        &self,
        gpu: &Gpu,
        arenas: &Arenas,
        bound: Bound<'_>,
        submission: u64,
    ) -> Result<Vec<Timing>, DeviceError> {
        let mut arena = arenas.take(gpu, self.working_bytes as u64)?;
        let lasting = self.lasting(gpu, &mut arena);
        let clock = match gpu.has(wgpu::Features::TIMESTAMP_QUERY) {
            true => Some(Clock::new(gpu)?),
            false => None,
        };
        let mut all = Vec::new();
        for step in &self.steps {
            let mut duration = Duration::ZERO;
            let mut rest = step.launches.clone();
            while !rest.is_empty() {
                let part = self.first_part(&mut rest, submission);
                gpu.wait()?;
                let start = std::time::Instant::now();
                let mut encoder = gpu
                    .device
                    .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                {
                    let writes = clock.as_ref().map(Clock::writes);
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                        label: None,
                        timestamp_writes: writes,
                    });
                    self.record(gpu, &mut pass, part, &lasting, bound, &arena);
                }
                if let Some(clock) = &clock {
                    clock.resolve(&mut encoder);
                }
                gpu.queue.submit([encoder.finish()]);
                gpu.wait()?;
                duration += match &clock {
                    Some(clock) => clock.read(gpu)?,
                    None => start.elapsed(),
                };
            }
            let node = &self.plan.graph().nodes()[step.node];
            all.push(Timing {
                nodes: step.node..step.node + 1,
                node: node.name.clone(),
                op: node.op.name(),
                kernel: step.kernel,
                duration,
            });
        }
        arenas.give(arena);
        Ok(all)
    }
}

/// The adapter's clock.
struct Clock {
    queries: wgpu::QuerySet,
    buffer: wgpu::Buffer,
}

impl Clock {
    fn new(gpu: &Gpu) -> Result<Self, DeviceError> {
        gpu.attempt(|| Self {
            queries: gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }),
            buffer: gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: 16,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            }),
        })
    }

    fn writes(&self) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        }
    }

    fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..2, &self.buffer, 0);
    }

    fn read(&self, gpu: &Gpu) -> Result<Duration, DeviceError> {
        let bytes = gpu.read(&self.buffer, 16)?;
        let tick = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        let ticks = tick(8).saturating_sub(tick(0)) as f64;
        let nanoseconds = ticks * f64::from(gpu.queue.get_timestamp_period());
        Ok(Duration::from_nanos(nanoseconds as u64))
    }
}
