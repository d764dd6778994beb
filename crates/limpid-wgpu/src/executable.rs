use crate::arena::{Arena, Arenas};
use crate::gpu::{Gpu, lock};
use crate::kernel::{Dispatch, Kernel, Profile, Signature, Slot};
use crate::layout::{Stored, storage_bytes};
use crate::pipelines::{Pipeline, Pipelines};
use crate::select::{select, unsupported};
use crate::source::Binding;
use crate::weights::{Resident, WeightCache, Weights};
use limpid_device::{DeviceError, Executable, Timing};
use limpid_graph::{Location, Plan, ValueId};
use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where the parameters of a launch begin: what every adapter allows.
const PARAMS: usize = 256;

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

/// A bind group for each launch that has a lasting one.
type Groups = Arc<Vec<Option<wgpu::BindGroup>>>;

/// A plan with its compiled kernels and its weights on the device.
pub(crate) struct WgpuExecutable {
    plan: Plan,
    steps: Vec<Step>,
    launches: Vec<Launch>,
    params: wgpu::Buffer,
    working_bytes: usize,
    /// The bind groups of launches that bind neither inputs nor outputs, for
    /// the arena that was used last.
    bound: Mutex<Option<(u64, Groups)>>,
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
            bound: Mutex::default(),
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
        if dispatch.rounds >= self.profile.rounds {
            let op = &self.plan.graph().nodes()[node].op;
            let reason = "its sums are longer than this adapter's driver lets a loop run";
            return Err(unsupported(op, reason.to_owned()));
        }
        let pipeline = self.caches.pipelines.get(self.gpu, &dispatch)?;
        let wide = u64::from(self.gpu.limits.max_compute_workgroups_per_dimension);
        let bound = self.profile.tuning.submission.max(1);
        let pieces = dispatch
            .work
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
            let places = dispatch.slots.iter().zip(&pipeline.bindings);
            let places = places.map(|(slot, kind)| self.place(node, slot, *kind, workspace));
            self.launches.push(Launch {
                pipeline: Arc::clone(&pipeline),
                places: places.collect::<Result<_, _>>()?,
                params,
                grid: [x as u32, groups.div_ceil(x) as u32],
                work: dispatch.work / pieces,
            });
            base += groups;
        }
        Ok(())
    }

    fn place(
        &self,
        node: usize,
        slot: &Slot,
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
                // Two buffers: one cannot be read-only and not in the same launch.
                let nothing = Weights::table(vec![u32::from(kind == Binding::Write); 64]);
                let resident = self.caches.weights.get(self.gpu, &nothing)?;
                Place::Resident(resident, 0..256)
            }
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
    fn bind(&self, gpu: &Gpu, launch: &Launch, bound: Bound<'_>, arena: &Arena) -> wgpu::BindGroup {
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
            Place::Arena(range) => part(&arena.buffer, range),
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

    /// The bind groups that only depend on the arena.
    fn lasting(&self, gpu: &Gpu, arena: &Arena) -> Groups {
        let mut kept = lock(&self.bound);
        if let Some((id, groups)) = &*kept
            && *id == arena.id
        {
            return Arc::clone(groups);
        }
        let none = Bound {
            inputs: &[],
            outputs: &[],
        };
        let own = |l: &Launch| {
            let outside = |p: &Place| matches!(p, Place::Input(_) | Place::Output(_));
            let lasts = !l.places.iter().any(outside);
            lasts.then(|| self.bind(gpu, l, none, arena))
        };
        let groups = Arc::new(self.launches.iter().map(own).collect::<Vec<_>>());
        *kept = Some((arena.id, Arc::clone(&groups)));
        groups
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
                None => pass.set_bind_group(0, &self.bind(gpu, launch, bound, arena), &[]),
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
        let arena = arenas.take(gpu, self.working_bytes as u64)?;
        let submitted = gpu.attempt(|| {
            let lasting = self.lasting(gpu, &arena);
            let mut first = 0;
            loop {
                let mut last = first;
                let mut work = 0;
                while last < self.launches.len() && (last == first || work < submission) {
                    work += self.launches[last].work;
                    last += 1;
                }
                let mut encoder = gpu
                    .device
                    .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                {
                    let mut pass =
                        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                    self.record(gpu, &mut pass, first..last, &lasting, bound, &arena);
                }
                let index = gpu.queue.submit([encoder.finish()]);
                if last == self.launches.len() {
                    return index;
                }
                first = last;
            }
        });
        arenas.give(arena);
        submitted
    }

    /// Runs step by step and measures each.
    pub(crate) fn timings(
        &self,
        gpu: &Gpu,
        arenas: &Arenas,
        bound: Bound<'_>,
    ) -> Result<Vec<Timing>, DeviceError> {
        let arena = arenas.take(gpu, self.working_bytes as u64)?;
        let lasting = self.lasting(gpu, &arena);
        let clock = match gpu.has(wgpu::Features::TIMESTAMP_QUERY) {
            true => Some(Clock::new(gpu)?),
            false => None,
        };
        let mut all = Vec::new();
        for step in &self.steps {
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
                self.record(
                    gpu,
                    &mut pass,
                    step.launches.clone(),
                    &lasting,
                    bound,
                    &arena,
                );
            }
            if let Some(clock) = &clock {
                clock.resolve(&mut encoder);
            }
            gpu.queue.submit([encoder.finish()]);
            gpu.wait()?;
            let wall = start.elapsed();
            let node = &self.plan.graph().nodes()[step.node];
            all.push(Timing {
                nodes: step.node..step.node + 1,
                node: node.name.clone(),
                op: node.op.name(),
                kernel: step.kernel,
                duration: match &clock {
                    Some(clock) => clock.read(gpu)?,
                    None => wall,
                },
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
