use crate::arch::Backend;
use crate::assign::{Assignment, convert};
use crate::chains;
use crate::executable::CpuExecutable;
use crate::kernels::Context;
use crate::kernels::cosine::BasisCache;
use crate::layout::{Class, Layout, Precision, storage_bytes};
use crate::pack::PackCache;
use crate::pool::Pool;
use crate::select::{Signature, select, unsupported};
use crate::simd::LANES;
use crate::{Isa, host};
use limpid_device::{
    Buffer, Capabilities, Device, DeviceError, DeviceKind, Executable, HostData, Timing,
    check_bindings,
};
use limpid_graph::{Fact, Graph, Op, Plan, ValueId};
use limpid_tensor::{AlignedBuffer, DType};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More threads than any processor has use for.
const MAX_THREADS: usize = 1024;

/// How a [`CpuDevice`] is set up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// Threads, from 1 to 1024; all of the processor's if `None`.
    pub threads: Option<usize>,
    /// The instruction set; the fastest that there is if `None`.
    pub isa: Option<Isa>,
    /// What convolutions and products multiply. Where an instruction set is
    /// given, one without the instructions for it computes the same with
    /// others, for tests.
    pub precision: Precision,
}

/// What executables share.
#[derive(Default)]
pub(crate) struct Caches {
    pub(crate) packs: PackCache,
    pub(crate) bases: BasisCache,
}

/// The processor as a device.
pub struct CpuDevice {
    capabilities: Capabilities,
    pub(crate) backend: Backend,
    pub(crate) precision: Precision,
    pub(crate) pool: Pool,
    caches: Caches,
    /// Working memory that no execution uses now.
    arenas: Mutex<Vec<AlignedBuffer>>,
}

impl CpuDevice {
    /// The processor with all its threads and its fastest instruction set.
    ///
    /// # Errors
    /// [`DeviceError::Threads`] when threads cannot be started.
    pub fn new() -> Result<Self, DeviceError> {
        Self::with(CpuOptions::default())
    }

    /// The processor as `options` say.
    ///
    /// # Errors
    /// [`DeviceError::Threads`] when there are too many threads or they cannot
    /// be started, [`DeviceError::Unsupported`] when the processor lacks the
    /// instruction set, [`DeviceError::Precision`] when it lacks the
    /// instructions for the precision.
    pub fn with(options: CpuOptions) -> Result<Self, DeviceError> {
        let available = Isa::available();
        let isa = options
            .isa
            .or(available.first().copied())
            .unwrap_or(Isa::Scalar);
        let names = || {
            let names: Vec<&str> = available.iter().map(|i| i.name()).collect();
            names.join(", ")
        };
        let backend = Backend::new(isa).ok_or_else(|| DeviceError::Unsupported {
            device: "cpu",
            op: isa.name(),
            reason: format!("this processor has {}", names()),
        })?;
        let precision = options.precision;
        if precision == Precision::Bf16 && options.isa.is_none() && !backend.has_bf16() {
            return Err(DeviceError::Precision {
                device: "cpu",
                precision: precision.name(),
                reason: format!("this processor has {}, but not avx512_bf16", names()),
            });
        }
        let threads = options.threads.unwrap_or_else(|| {
            let all = std::thread::available_parallelism().map_or(1, usize::from);
            all.min(MAX_THREADS)
        });
        if threads == 0 || threads > MAX_THREADS {
            return Err(DeviceError::Threads(threads));
        }
        let pool = Pool::new(threads)?;
        let mut features: Vec<String> = available.iter().map(ToString::to_string).collect();
        if backend.has_bf16() {
            features.push("avx512_bf16".to_owned());
        }
        let capabilities = Capabilities {
            kind: DeviceKind::Cpu,
            name: host::processor(),
            isa: isa.name().to_owned(),
            precision: precision.name().to_owned(),
            threads: pool.count(),
            memory: host::memory(),
            features,
        };
        Ok(Self {
            capabilities,
            backend,
            precision,
            pool,
            caches: Caches::default(),
            arenas: Mutex::default(),
        })
    }

    fn free_arenas(&self) -> MutexGuard<'_, Vec<AlignedBuffer>> {
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Working memory of at least `bytes`, from what is free or new.
    fn arena(&self, bytes: usize) -> Result<AlignedBuffer, DeviceError> {
        let free = self.free_arenas().pop();
        match free {
            Some(arena) if arena.len() >= bytes => Ok(arena),
            // One that is too small goes, so that there are never more than ran at once.
            _ => Ok(AlignedBuffer::zeroed(bytes)?),
        }
    }

    fn run(
        &self,
        executable: &dyn Executable,
        inputs: &[&Buffer],
        outputs: &mut [&mut Buffer],
        timings: Option<&mut Vec<Timing>>,
    ) -> Result<(), DeviceError> {
        let executable = executable.as_any().downcast_ref::<CpuExecutable>();
        let foreign = DeviceError::Foreign("the executable");
        let executable = executable
            .filter(|e| e.backend == self.backend && e.precision == self.precision)
            .ok_or(foreign)?;
        check_bindings(executable.plan().graph(), inputs, outputs)?;
        let read = inputs.iter().map(|b| Ok(storage(b)?.bytes()));
        let read = read.collect::<Result<Vec<_>, DeviceError>>()?;
        let written = outputs.iter_mut().map(|b| Ok(storage_mut(b)?.bytes_mut()));
        let mut written = written.collect::<Result<Vec<_>, DeviceError>>()?;
        let mut arena = self.arena(executable.working_bytes())?;
        let cx = Context {
            backend: self.backend,
            pool: &self.pool,
        };
        let bytes = &mut arena.bytes_mut()[..executable.working_bytes()];
        let done = self
            .pool
            .enter(|| executable.run(&read, &mut written, bytes, cx, timings));
        self.free_arenas().push(arena);
        done
    }
}

fn storage(buffer: &Buffer) -> Result<&AlignedBuffer, DeviceError> {
    buffer.storage().ok_or(DeviceError::Foreign("the buffer"))
}

fn storage_mut(buffer: &mut Buffer) -> Result<&mut AlignedBuffer, DeviceError> {
    buffer
        .storage_mut()
        .ok_or(DeviceError::Foreign("the buffer"))
}

fn fit(what: &str, expected: String, found: String) -> Result<(), DeviceError> {
    if expected == found {
        return Ok(());
    }
    let what = what.to_owned();
    Err(DeviceError::Buffer {
        what,
        expected,
        found,
    })
}

impl Device for CpuDevice {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn supports(&self, op: &Op, inputs: &[&Fact]) -> Result<(), DeviceError> {
        // As a graph of its own, with the conversions that it would have there.
        let mut graph = Graph::new();
        let inputs: Vec<_> = inputs
            .iter()
            .map(|f| graph.input("", (*f).clone()))
            .collect();
        let pushed = graph.push("", op.clone(), &inputs);
        let outputs = pushed.map_err(|e| unsupported(op, e.to_string()))?;
        graph.set_outputs(&outputs);
        let graph = convert(Arc::new(graph), self.precision)?;
        let assignment = Assignment::new(&graph, self.precision);
        for i in 0..graph.nodes().len() {
            let signature = Signature::new(&graph, &assignment, i)?;
            select(&signature, self.backend.isa(), self.precision)?;
        }
        Ok(())
    }

    fn plan(&self, graph: Arc<Graph>) -> Result<Plan, DeviceError> {
        let graph = convert(graph, self.precision)?;
        let assignment = Assignment::new(&graph, self.precision);
        let (turns, inner) = chains::turns(&graph, self.pool.count(), self.precision);
        let bytes = |v: ValueId| match inner[v.index()] {
            true => Ok(0),
            false => storage_bytes(graph.fact(v), assignment.value(v)),
        };
        let (all, turn) = (Arc::clone(&graph), |node: usize| turns[node]);
        let alignment = AlignedBuffer::ALIGNMENT;
        Ok(Plan::by_value(all, bytes, turn, alignment)?)
    }

    fn prepare(&self, plan: Plan) -> Result<Arc<dyn Executable>, DeviceError> {
        // Working memory that the plan will find too small makes room for packs.
        let enough = |arena: &AlignedBuffer| arena.len() >= plan.arena_bytes();
        self.free_arenas().retain(enough);
        Ok(Arc::new(CpuExecutable::new(
            plan,
            self.backend,
            self.precision,
            self.pool.count(),
            &self.caches,
        )?))
    }

    fn alloc(&self, fact: &Fact) -> Result<Buffer, DeviceError> {
        let storage = AlignedBuffer::zeroed(storage_bytes(fact, Class::Image)?)?;
        Ok(Buffer::new(fact.clone(), storage))
    }

    fn write(&self, buffer: &mut Buffer, data: HostData<'_>) -> Result<(), DeviceError> {
        let fact = buffer.fact().clone();
        let elements = fact.shape.elements()?;
        let (dtype, len) = match data {
            HostData::F32(data) => ("f32", data.len()),
            HostData::U32(data) => ("u32", data.len()),
        };
        let expected = if fact.dtype == DType::U32 {
            "u32"
        } else {
            "f32"
        };
        let of = |n: usize, dtype: &str| format!("{n} elements of {dtype}");
        fit("host data", of(elements, expected), of(len, dtype))?;
        let storage = storage_mut(buffer)?;
        match data {
            HostData::U32(data) => storage.as_mut_slice().copy_from_slice(data),
            HostData::F32(data) if fact.dtype == DType::Bits => {
                let words = storage.as_mut_slice::<u16>();
                words.fill(0);
                Layout::of(&fact.shape)?.place_c(|element, lane| {
                    let bit = u16::from(data[element] != 0.0);
                    words[lane / LANES] |= bit << (lane % LANES);
                });
            }
            HostData::F32(data) if fact.dtype == DType::U8 => {
                let bytes = storage.bytes_mut();
                Layout::of(&fact.shape)?.place_c(|element, lane| bytes[lane] = data[element] as u8);
            }
            HostData::F32(data) => Layout::of(&fact.shape)?.load_c(data, storage.as_mut_slice()),
        }
        Ok(())
    }

    /// Masks are read as zeros and ones, bytes as whole numbers.
    fn read(&self, buffer: &Buffer, data: &mut [f32]) -> Result<(), DeviceError> {
        let fact = buffer.fact();
        let elements = fact.shape.elements()?;
        let storage = storage(buffer)?;
        let of = |n: usize| format!("{n} elements");
        fit("host data", of(elements), of(data.len()))?;
        let layout = Layout::of(&fact.shape)?;
        match fact.dtype {
            DType::F32 => layout.store_c(storage.as_slice(), data),
            DType::Bits => {
                let words = storage.as_slice::<u16>();
                let bit = |lane: usize| words[lane / LANES] >> (lane % LANES) & 1;
                layout.place_c(|element, lane| data[element] = f32::from(bit(lane)));
            }
            DType::U8 => {
                let bytes = storage.bytes();
                layout.place_c(|element, lane| data[element] = f32::from(bytes[lane]));
            }
            _ => return fit("a buffer to read", "f32".into(), fact.to_string()),
        }
        Ok(())
    }

    fn execute(
        &self,
        executable: &dyn Executable,
        inputs: &[&Buffer],
        outputs: &mut [&mut Buffer],
    ) -> Result<(), DeviceError> {
        self.run(executable, inputs, outputs, None)
    }

    fn synchronize(&self) -> Result<(), DeviceError> {
        // Executions are done when they return.
        Ok(())
    }

    fn timings(
        &self,
        executable: &dyn Executable,
        inputs: &[&Buffer],
        outputs: &mut [&mut Buffer],
    ) -> Result<Vec<Timing>, DeviceError> {
        let mut timings = Vec::new();
        self.run(executable, inputs, outputs, Some(&mut timings))?;
        Ok(timings)
    }
}
