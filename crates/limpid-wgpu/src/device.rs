use crate::adapter::{Adapter, AdapterClass, needed};
use crate::arena::Arenas;
use crate::executable::{Bound, Caches, WgpuExecutable};
use crate::gpu::{Gpu, lock};
use crate::half::halves;
use crate::kernel::{Profile, Signature, Units};
use crate::layout::{MaskShape, Stored, storage_bytes};
use crate::select::{select, unsupported};
use crate::tuning::Tuning;
use limpid_device::{
    Buffer, Capabilities, Device, DeviceError, DeviceKind, Executable, HostData, Timing,
    check_bindings,
};
use limpid_graph::ops::ReduceSum;
use limpid_graph::{Fact, Graph, Op, Plan, ValueId};
use limpid_tensor::DType;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Every binding may begin at a multiple of this on every adapter.
const ALIGNMENT: usize = 256;

/// Executions that may wait on the adapter for their turn; who submits more
/// waits, so that progress is told and a run can be cancelled.
const IN_FLIGHT: usize = 3;

/// Which of an adapter's limits are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LimitSet {
    /// All that it has.
    #[default]
    Adapter,
    /// All that it has, but so many bytes at most in a binding: for tests.
    Binding(u64),
    /// Those that WebGPU guarantees everywhere: bindings of 128 MiB, workgroups of
    /// 256 invocations and 16 KiB.
    WebGpu,
}

/// Which units for small matrices products use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Matrices {
    /// The adapter's, where it has ones whose sums are f32 and subgroups of 32.
    #[default]
    Adapter,
    /// None.
    Off,
    /// Kernels do what units for 8 x 8 f32 and 16 x 16 f16 would, for tests.
    Emulated,
}

/// How a [`WgpuDevice`] is set up.
#[derive(Debug, Clone, Default)]
pub struct WgpuOptions {
    /// The adapter; the best that there is if `None`.
    pub adapter: Option<Adapter>,
    /// The limits that kernels keep to.
    pub limits: LimitSet,
    /// Leave subgroup operations alone.
    pub no_subgroups: bool,
    /// Keep the values between convolutions as f16.
    pub half: bool,
    /// How products are cut; what the table has for the adapter's class if `None`.
    pub tuning: Option<Tuning>,
    /// What multiplies small matrices.
    pub matrices: Matrices,
    /// Compile kernels with checks of their bounds, for tests.
    pub checked: bool,
}

/// A graphics adapter as a device.
pub struct WgpuDevice {
    capabilities: Capabilities,
    gpu: Gpu,
    profile: Profile,
    half: bool,
    caches: Caches,
    arenas: Arenas,
    running: Mutex<VecDeque<wgpu::SubmissionIndex>>,
    id: u64,
}

/// The plan of a graph whose values are made so.
pub(crate) fn plan(graph: Arc<Graph>, stored: &[Stored]) -> Result<Plan, DeviceError> {
    let facts = Arc::clone(&graph);
    let bytes = |v: ValueId| storage_bytes(facts.fact(v), stored[v.index()]);
    Ok(Plan::by_value(graph, bytes, |node| node, ALIGNMENT)?)
}

/// A buffer and the device that it is on.
struct Storage {
    buffer: wgpu::Buffer,
    owner: u64,
}

impl WgpuDevice {
    /// An adapter as `options` say.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] when there is no adapter or it cannot be opened,
    /// [`DeviceError::Precision`] when it has no f16 and that is asked for,
    /// [`DeviceError::Unsupported`] when the tuning asks for what no adapter has.
    pub fn new(options: WgpuOptions) -> Result<Self, DeviceError> {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let adapter = match options.adapter {
            Some(adapter) => adapter,
            None => Adapter::best()?,
        };
        let info = adapter.info();
        if let Some(reason) = &info.reason {
            return Err(DeviceError::Missing {
                device: "wgpu",
                reason: format!("{}: {reason}", info.name),
            });
        }
        if options.half && !info.features.contains(&"f16") {
            return Err(DeviceError::Precision {
                device: "wgpu",
                precision: "f16",
                reason: format!("{} has f32 alone", info.name),
            });
        }
        let tuning = options.tuning.unwrap_or_else(|| Tuning::of(info.class));
        if !tuning.is_sound() {
            return Err(DeviceError::Unsupported {
                device: "wgpu",
                op: "MatMul",
                reason: "the tuning has a tile or a workgroup of which no kernel can be made"
                    .to_owned(),
            });
        }
        // Mesa's software Vulkan gives up after 65,536, without a word. It counts the
        // end of a loop as well, and kernels tell their rounds roughly.
        let rounds = match info.class {
            AdapterClass::Software => (1 << 16) / 3,
            _ => u64::MAX,
        };
        let limits = match options.limits {
            LimitSet::Adapter => adapter.wgpu.limits(),
            LimitSet::Binding(bytes) => wgpu::Limits {
                max_storage_buffer_binding_size: bytes,
                ..adapter.wgpu.limits()
            },
            LimitSet::WebGpu => needed(),
        };
        let without = match options.no_subgroups {
            true => wgpu::Features::SUBGROUP,
            false => wgpu::Features::empty(),
        };
        let gpu = Gpu::open(&adapter, limits, without, options.checked)?;
        let precision = if options.half { "f16" } else { "f32" };
        let capabilities = Capabilities {
            kind: DeviceKind::Wgpu,
            name: info.name.clone(),
            isa: info.driver.clone(),
            precision: precision.to_owned(),
            threads: 1,
            memory: None,
            features: info.features.iter().map(ToString::to_string).collect(),
        };
        let mut device = Self {
            capabilities,
            profile: Profile::new(&gpu, units(&adapter, options.matrices), tuning, rounds),
            gpu,
            half: options.half,
            caches: Caches::default(),
            arenas: Arenas::default(),
            running: Mutex::default(),
            id: OPENED.fetch_add(1, Ordering::Relaxed),
        };
        device.try_subgroups()?;
        Ok(device)
    }

    /// Leaves subgroup operations alone where a sum by them is another than one
    /// without: nobody promises that the lanes of a subgroup are neighbours.
    fn try_subgroups(&mut self) -> Result<(), DeviceError> {
        let lanes = self.profile.lanes;
        if lanes > 1 {
            let sum = match self.sum_of_many() {
                Err(lost @ DeviceError::Lost(_)) => return Err(lost),
                sum => sum.ok(),
            };
            self.profile.lanes = 1;
            if Some(self.sum_of_many()?) == sum {
                self.profile.lanes = lanes;
            }
        }
        Ok(())
    }

    /// The sum of a line of 512 numbers, all different, by 128 lanes.
    fn sum_of_many(&self) -> Result<u32, DeviceError> {
        let mut graph = Graph::new();
        let x = graph.input("x", Fact::f32([512]));
        let y = graph.push("sum", ReduceSum { axes: vec![0] }, &[x])?;
        graph.set_outputs(&y);
        let mut x = self.alloc(&Fact::f32([512]))?;
        let numbers: Vec<f32> = (0..512u16).map(|i| 1.0 / (1.0 + f32::from(i))).collect();
        self.write(&mut x, HostData::F32(&numbers))?;
        let mut y = self.alloc(graph.fact(graph.outputs()[0]))?;
        let executable = self.prepare(self.plan(Arc::new(graph))?)?;
        self.execute(&*executable, &[&x], &mut [&mut y])?;
        let mut sum = [0.0];
        self.read(&y, &mut sum)?;
        Ok(sum[0].to_bits())
    }

    /// Of what each value of a graph is made.
    fn stored(&self, graph: &Graph) -> Vec<Stored> {
        match self.half {
            true => halves(graph),
            false => vec![Stored::F32; graph.values().len()],
        }
    }

    fn storage<'a>(&self, buffer: &'a Buffer) -> Result<&'a wgpu::Buffer, DeviceError> {
        let storage = buffer.storage::<Storage>().filter(|s| s.owner == self.id);
        storage
            .map(|s| &s.buffer)
            .ok_or(DeviceError::Foreign("the buffer"))
    }

    /// Checks and hands on what an execution is given.
    fn with<T>(
        &self,
        executable: &dyn Executable,
        inputs: &[&Buffer],
        outputs: &[&mut Buffer],
        run: impl FnOnce(&WgpuExecutable, Bound<'_>) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        let executable = executable.as_any().downcast_ref::<WgpuExecutable>();
        let executable = executable.filter(|e| e.owner == self.id);
        let executable = executable.ok_or(DeviceError::Foreign("the executable"))?;
        check_bindings(executable.plan().graph(), inputs, outputs)?;
        let inputs = inputs.iter().map(|b| self.storage(b));
        let outputs = outputs.iter().map(|b| self.storage(b));
        let bound = Bound {
            inputs: &inputs.collect::<Result<Vec<_>, _>>()?,
            outputs: &outputs.collect::<Result<Vec<_>, _>>()?,
        };
        run(executable, bound)
    }

    fn fit(&self, buffer: &Buffer, dtype: &str, len: usize) -> Result<(), DeviceError> {
        let fact = buffer.fact();
        let elements = fact.shape.elements()?;
        let expected = match fact.dtype {
            DType::U32 => "u32",
            _ => "f32",
        };
        if elements == len && expected == dtype {
            return Ok(());
        }
        Err(DeviceError::Buffer {
            what: "host data".to_owned(),
            expected: format!("{elements} elements of {expected}"),
            found: format!("{len} elements of {dtype}"),
        })
    }
}

/// The units for matrices that kernels are to use.
fn units(adapter: &Adapter, matrices: Matrices) -> Vec<Units> {
    let unit = |size, operands, emulated| Units {
        size,
        operands,
        emulated,
    };
    match matrices {
        Matrices::Off => Vec::new(),
        Matrices::Emulated => vec![unit(8, Stored::F32, true), unit(16, Stored::F16, true)],
        Matrices::Adapter => {
            let all = adapter.matrices().into_iter();
            all.map(|(size, operands)| unit(size, operands, false))
                .collect()
        }
    }
}

impl Device for WgpuDevice {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn supports(&self, op: &Op, inputs: &[&Fact]) -> Result<(), DeviceError> {
        let outputs = op
            .infer(inputs)
            .map_err(|e| unsupported(op, e.to_string()))?;
        let signature = Signature {
            op,
            inputs: inputs.to_vec(),
            outputs: outputs.iter().collect(),
            constants: vec![None; inputs.len()],
            reads: vec![Stored::F32; inputs.len()],
            writes: vec![Stored::F32; outputs.len()],
            used: vec![true; outputs.len()],
        };
        select(&signature, &self.profile).map(|_| ())
    }

    fn plan(&self, graph: Arc<Graph>) -> Result<Plan, DeviceError> {
        let stored = self.stored(&graph);
        plan(graph, &stored)
    }

    fn prepare(&self, plan: Plan) -> Result<Arc<dyn Executable>, DeviceError> {
        self.arenas.keep(plan.arena_bytes() as u64);
        let stored = self.stored(plan.graph());
        let (gpu, caches, profile) = (&self.gpu, &self.caches, &self.profile);
        let executable = WgpuExecutable::new(plan, &stored, gpu, caches, profile, self.id)?;
        // Whoever prepares a smaller batch where memory is short learns it here.
        let arena = self.arenas.take(gpu, executable.working_bytes() as u64)?;
        self.arenas.give(arena);
        Ok(Arc::new(executable))
    }

    fn alloc(&self, fact: &Fact) -> Result<Buffer, DeviceError> {
        let bytes = storage_bytes(fact, Stored::F32)? as u64;
        let buffer = self.gpu.buffer("value", bytes)?;
        let owner = self.id;
        Ok(Buffer::new(fact.clone(), Storage { buffer, owner }))
    }

    fn write(&self, buffer: &mut Buffer, data: HostData<'_>) -> Result<(), DeviceError> {
        let to = self.storage(buffer)?;
        let fact = buffer.fact();
        match data {
            HostData::U32(words) => {
                self.fit(buffer, "u32", words.len())?;
                self.gpu.write(to, bytemuck::cast_slice(words))
            }
            HostData::F32(values) => {
                self.fit(buffer, "f32", values.len())?;
                match fact.dtype {
                    DType::Bits => {
                        let mask = MaskShape::of(&fact.shape);
                        let mut words = vec![0u32; mask.lines * mask.line_words()];
                        for (i, _) in values.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                            let (word, bit) = mask.place(i);
                            words[word] |= 1 << bit;
                        }
                        self.gpu.write(to, bytemuck::cast_slice(&words))
                    }
                    DType::U8 => {
                        let bytes: Vec<u8> = values.iter().map(|v| *v as u8).collect();
                        self.gpu.write(to, &bytes)
                    }
                    _ => self.gpu.write(to, bytemuck::cast_slice(values)),
                }
            }
        }
    }

    /// Masks are read as zeros and ones, bytes as whole numbers.
    fn read(&self, buffer: &Buffer, data: &mut [f32]) -> Result<(), DeviceError> {
        let from = self.storage(buffer)?;
        let fact = buffer.fact();
        self.fit(buffer, "f32", data.len())?;
        let bytes = storage_bytes(fact, Stored::F32)? as u64;
        let bytes = self.gpu.read(from, bytes)?;
        match fact.dtype {
            DType::Bits => {
                let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
                let mask = MaskShape::of(&fact.shape);
                for (i, v) in data.iter_mut().enumerate() {
                    let (word, bit) = mask.place(i);
                    *v = (words[word] >> bit & 1) as f32;
                }
            }
            DType::U8 => {
                for (v, byte) in data.iter_mut().zip(&bytes) {
                    *v = f32::from(*byte);
                }
            }
            _ => {
                let values: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
                data.copy_from_slice(&values[..data.len()]);
            }
        }
        Ok(())
    }

    fn execute(
        &self,
        executable: &dyn Executable,
        inputs: &[&Buffer],
        outputs: &mut [&mut Buffer],
    ) -> Result<(), DeviceError> {
        self.with(executable, inputs, outputs, |executable, bound| {
            let submission = self.profile.tuning.submission;
            let index = executable.run(&self.gpu, &self.arenas, bound, submission)?;
            let oldest = {
                let mut running = lock(&self.running);
                running.push_back(index);
                match running.len() > IN_FLIGHT {
                    true => running.pop_front(),
                    false => None,
                }
            };
            if oldest.is_some() {
                let wait = wgpu::PollType::Wait {
                    submission_index: oldest,
                    timeout: None,
                };
                self.gpu.poll(wait)?;
            }
            self.gpu.healthy()
        })
    }

    fn synchronize(&self) -> Result<(), DeviceError> {
        lock(&self.running).clear();
        self.gpu.wait()
    }

    fn timings(
        &self,
        executable: &dyn Executable,
        inputs: &[&Buffer],
        outputs: &mut [&mut Buffer],
    ) -> Result<Vec<Timing>, DeviceError> {
        self.with(executable, inputs, outputs, |executable, bound| {
            let submission = self.profile.tuning.submission;
            executable.timings(&self.gpu, &self.arenas, bound, submission)
        })
    }
}
