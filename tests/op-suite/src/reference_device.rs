use limpid_device::{
    Buffer, Capabilities, Device, DeviceError, DeviceKind, Executable, HostData, Timing,
    check_bindings,
};
use limpid_graph::reference::RefTensor;
use limpid_graph::{Fact, Graph, Location, Op, Plan, Step, ValueId};
use limpid_tensor::{DType, TensorError};
use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

/// The working memory of one execution: words of 32 bits, a mask's element
/// being a word of 0 or 1.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The arena that the plan lays out.
    pub arena: Vec<u32>,
    /// The buffers bound to the graph's outputs.
    pub outputs: Vec<Vec<u32>>,
}

impl Memory {
    /// The words of a value that the execution writes.
    pub fn words(&mut self, plan: &Plan, value: ValueId) -> Option<&mut [u32]> {
        match plan.location(value) {
            Location::Arena(bytes) => {
                let n = elements(plan.graph().fact(value)).ok()?;
                Some(&mut self.arena[bytes.start / 4..][..n])
            }
            Location::Output(k) => Some(&mut self.outputs[*k]),
            _ => None,
        }
    }
}

type Hook = dyn Fn(&Plan, &Step<'_>, &mut Memory) + Send + Sync;

/// A device that runs the f64 reference, with values stored as f32 in an arena
/// as other devices do: the simplest device there can be, and one that
/// passes the suite by construction.
pub struct ReferenceDevice {
    capabilities: Capabilities,
    after_step: Option<Box<Hook>>,
}

impl Default for ReferenceDevice {
    fn default() -> Self {
        Self::new()
    }
}

impl ReferenceDevice {
    /// The device.
    #[must_use]
    pub fn new() -> Self {
        Self {
            capabilities: Capabilities {
                kind: DeviceKind::Cpu,
                name: "reference interpreter".into(),
                isa: "f64".into(),
                precision: "f32".into(),
                threads: 1,
                memory: None,
                features: Vec::new(),
            },
            after_step: None,
        }
    }

    /// A device whose memory is handed to `hook` after each step: for devices
    /// with a fault, which the suite has to find.
    #[must_use]
    pub fn with_hook(hook: impl Fn(&Plan, &Step<'_>, &mut Memory) + Send + Sync + 'static) -> Self {
        Self {
            after_step: Some(Box::new(hook)),
            ..Self::new()
        }
    }
}

struct Prepared(Plan);

impl Executable for Prepared {
    fn plan(&self) -> &Plan {
        &self.0
    }

    fn working_bytes(&self) -> usize {
        self.0.arena_bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn elements(fact: &Fact) -> Result<usize, TensorError> {
    fact.shape.elements()
}

fn zeroed(n: usize) -> Result<Vec<u32>, TensorError> {
    let mut words = Vec::new();
    let refused = TensorError::OutOfMemory {
        bytes: n.saturating_mul(4),
    };
    words.try_reserve_exact(n).map_err(|_| refused)?;
    words.resize(n, 0);
    Ok(words)
}

fn decode(fact: &Fact, words: &[u32]) -> RefTensor {
    RefTensor::from_fn(&fact.shape, |i| match fact.dtype {
        DType::F32 => f64::from(f32::from_bits(words[i])),
        _ => f64::from(words[i]),
    })
}

fn encode(fact: &Fact, value: f64) -> u32 {
    match fact.dtype {
        DType::F32 => (value as f32).to_bits(),
        _ => value as u32,
    }
}

fn words(buffer: &Buffer) -> Result<&Vec<u32>, DeviceError> {
    buffer.storage().ok_or(DeviceError::Foreign("a buffer"))
}

impl Device for ReferenceDevice {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn supports(&self, _op: &Op, _inputs: &[&Fact]) -> Result<(), DeviceError> {
        Ok(())
    }

    fn plan(&self, graph: Arc<Graph>) -> Result<Plan, DeviceError> {
        let bytes = |f: &Fact| {
            let bytes = elements(f)?.checked_mul(4);
            bytes.ok_or_else(|| TensorError::Overflow(f.shape.clone()))
        };
        Ok(Plan::new(graph, bytes, 4)?)
    }

    fn prepare(&self, plan: Plan) -> Result<Arc<dyn Executable>, DeviceError> {
        Ok(Arc::new(Prepared(plan)))
    }

    fn alloc(&self, fact: &Fact) -> Result<Buffer, DeviceError> {
        Ok(Buffer::new(fact.clone(), zeroed(elements(fact)?)?))
    }

    fn write(&self, buffer: &mut Buffer, data: HostData<'_>) -> Result<(), DeviceError> {
        let fact = buffer.fact().clone();
        let (found, new): (_, Vec<u32>) = match (data, fact.dtype) {
            (HostData::F32(v), DType::F32) => ("f32", v.iter().map(|v| v.to_bits()).collect()),
            (HostData::F32(v), DType::Bits) => {
                ("f32", v.iter().map(|v| u32::from(*v != 0.0)).collect())
            }
            (HostData::F32(v), DType::U8) => ("f32", v.iter().map(|v| *v as u32).collect()),
            (HostData::U32(v), DType::U32) => ("u32", v.to_vec()),
            (HostData::F32(_), _) => ("f32", Vec::new()),
            (HostData::U32(_), _) => ("u32", Vec::new()),
        };
        let old = buffer
            .storage_mut::<Vec<u32>>()
            .ok_or(DeviceError::Foreign("a buffer"))?;
        if old.len() != new.len() {
            return Err(DeviceError::Buffer {
                what: "host data".into(),
                expected: fact.to_string(),
                found: format!("{} elements of {found}", new.len()),
            });
        }
        *old = new;
        Ok(())
    }

    fn read(&self, buffer: &Buffer, data: &mut [f32]) -> Result<(), DeviceError> {
        let words = words(buffer)?;
        if buffer.fact().dtype != DType::F32 || words.len() != data.len() {
            return Err(DeviceError::Buffer {
                what: "the room for host data".into(),
                expected: buffer.fact().to_string(),
                found: format!("{} elements of f32", data.len()),
            });
        }
        for (to, from) in data.iter_mut().zip(words) {
            *to = f32::from_bits(*from);
        }
        Ok(())
    }

    fn execute(
        &self,
        executable: &dyn Executable,
        inputs: &[&Buffer],
        outputs: &mut [&mut Buffer],
    ) -> Result<(), DeviceError> {
        self.timings(executable, inputs, outputs).map(drop)
    }

    fn synchronize(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn timings(
        &self,
        executable: &dyn Executable,
        inputs: &[&Buffer],
        outputs: &mut [&mut Buffer],
    ) -> Result<Vec<Timing>, DeviceError> {
        let Prepared(plan) = executable
            .as_any()
            .downcast_ref()
            .ok_or(DeviceError::Foreign("an executable"))?;
        let graph = plan.graph();
        check_bindings(graph, inputs, outputs)?;
        let mut memory = Memory {
            arena: zeroed(plan.arena_bytes() / 4)?,
            outputs: outputs
                .iter()
                .map(|b| words(b).cloned())
                .collect::<Result<_, _>>()?,
        };
        let load = |memory: &mut Memory, v: ValueId| -> Result<RefTensor, DeviceError> {
            let fact = graph.fact(v);
            Ok(match (plan.location(v), graph.constant_of(v)) {
                (Location::Input(k), _) => decode(fact, words(inputs[*k])?),
                (_, Some(c)) => RefTensor::from(&*c.load()?),
                _ => decode(fact, memory.words(plan, v).unwrap_or_default()),
            })
        };
        let mut timings = Vec::new();
        for step in plan.steps() {
            let start = Instant::now();
            let node = step.node;
            let ins = node.inputs.iter().map(|v| load(&mut memory, *v));
            let ins = ins.collect::<Result<Vec<_>, _>>()?;
            let outs = node.op.reference(&ins.iter().collect::<Vec<_>>());
            for (v, out) in node.outputs.iter().zip(outs) {
                let slot = memory.words(plan, *v).unwrap_or_default();
                for (to, from) in slot.iter_mut().zip(&out.data) {
                    *to = encode(graph.fact(*v), *from);
                }
            }
            if let Some(hook) = &self.after_step {
                hook(plan, &step, &mut memory);
            }
            timings.push(Timing {
                nodes: step.index..step.index + 1,
                node: node.name.clone(),
                op: node.op.name(),
                kernel: "reference",
                duration: start.elapsed(),
            });
        }
        for (buffer, new) in outputs.iter_mut().zip(memory.outputs) {
            if let Some(old) = buffer.storage_mut::<Vec<u32>>() {
                *old = new;
            }
        }
        Ok(timings)
    }
}
