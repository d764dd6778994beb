//! The interface that every compute device implements.
//!
//! A device is handed whole plans, not operators: [`Device::prepare`] turns a
//! [`Plan`] into an [`Executable`] (kernels chosen, weights packed), and
//! [`Device::execute`] runs it on buffers that live on the device. Which
//! kernel serves which operator is the device's own affair, decided in one
//! place.
#![forbid(unsafe_code)]

mod buffer;
mod error;

pub use buffer::{Buffer, HostData, check_bindings};
pub use error::DeviceError;

use limpid_graph::{Fact, Graph, Op, Plan};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What kind of hardware a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// The processor that the program runs on.
    Cpu,
    /// A graphics adapter of any maker, through wgpu.
    Wgpu,
}

impl DeviceKind {
    /// The name that options and manifests use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
        }
    }
}

/// What a device is and can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// What kind of hardware it is.
    pub kind: DeviceKind,
    /// Its name, for people: a processor's or an adapter's.
    pub name: String,
    /// The instruction set or driver that the kernels use; with it, results are reproducible.
    pub isa: String,
    /// What convolutions and products multiply.
    pub precision: String,
    /// Threads that work at once.
    pub threads: usize,
    /// Bytes of memory that it has, where that is known.
    pub memory: Option<u64>,
    /// Features of the hardware that the kernels know of.
    pub features: Vec<String>,
}

/// A plan made ready for one device: opaque to everybody else. It holds no
/// working memory, so it can be kept for as long as it may be used again.
pub trait Executable: Any + Send + Sync {
    /// The plan.
    fn plan(&self) -> &Plan;
    /// Bytes of working memory that an execution takes beside the buffers that
    /// it is given: the plan's arena, and what kernels need while they run.
    fn working_bytes(&self) -> usize;
    /// For the device's own downcast.
    fn as_any(&self) -> &dyn Any;
}

/// How long a step of an execution took.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// The positions of its nodes: of one, or of several that ran at once.
    pub nodes: Range<usize>,
    /// The name of the one that the step is named after.
    pub node: String,
    /// Its operator's name.
    pub op: &'static str,
    /// The kernel that ran.
    pub kernel: &'static str,
    /// How long it took.
    pub duration: Duration,
}

/// A compute device.
///
/// Results do not depend on the number of threads nor on how images are put
/// into batches.
pub trait Device: Send + Sync {
    /// What it is and can do.
    fn capabilities(&self) -> &Capabilities;

    /// Whether there is a kernel for `op` on inputs of these types and shapes.
    ///
    /// # Errors
    /// [`DeviceError::Unsupported`] with the reason.
    fn supports(&self, op: &Op, inputs: &[&Fact]) -> Result<(), DeviceError>;

    /// Lays out the arena of `graph` for this device.
    ///
    /// # Errors
    /// When a size overflows.
    fn plan(&self, graph: Arc<Graph>) -> Result<Plan, DeviceError>;

    /// Chooses kernels and packs weights.
    ///
    /// # Errors
    /// [`DeviceError::Unsupported`] naming the node that has no kernel,
    /// [`DeviceError::Tensor`] when a weight cannot be read.
    fn prepare(&self, plan: Plan) -> Result<Arc<dyn Executable>, DeviceError>;

    /// A zeroed buffer for a value.
    ///
    /// # Errors
    /// When memory is short.
    fn alloc(&self, fact: &Fact) -> Result<Buffer, DeviceError>;

    /// Copies host data, in C order, into a buffer.
    ///
    /// # Errors
    /// When type or length do not fit the buffer.
    fn write(&self, buffer: &mut Buffer, data: HostData<'_>) -> Result<(), DeviceError>;

    /// Copies a buffer of f32 into `data`, in C order.
    ///
    /// # Errors
    /// When type or length do not fit the buffer.
    fn read(&self, buffer: &Buffer, data: &mut [f32]) -> Result<(), DeviceError>;

    /// Runs an executable: its graph's inputs from `inputs`, its outputs to `outputs`.
    ///
    /// # Errors
    /// When the buffers do not fit the graph, or working memory is short.
    fn execute(
        &self,
        executable: &dyn Executable,
        inputs: &[&Buffer],
        outputs: &mut [&mut Buffer],
    ) -> Result<(), DeviceError>;

    /// Waits until everything that was executed is done.
    ///
    /// # Errors
    /// When the device was lost.
    fn synchronize(&self) -> Result<(), DeviceError>;

    /// Runs an executable once more and measures each step.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    fn timings(
        &self,
        executable: &dyn Executable,
        inputs: &[&Buffer],
        outputs: &mut [&mut Buffer],
    ) -> Result<Vec<Timing>, DeviceError>;
}
