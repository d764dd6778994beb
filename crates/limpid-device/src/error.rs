use limpid_graph::GraphError;
use limpid_tensor::TensorError;

/// What can go wrong on a device.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is no kernel for an operator.
    #[error("the device {device} has no kernel for {op}: {reason}")]
    Unsupported {
        /// The device's name.
        device: &'static str,
        /// The operator.
        op: &'static str,
        /// What about it is not supported.
        reason: String,
    },
    /// The hardware does not compute in a precision.
    #[error("the device {device} cannot compute in {precision}: {reason}; compute in f32")]
    Precision {
        /// The device's name.
        device: &'static str,
        /// The precision.
        precision: &'static str,
        /// What it has instead.
        reason: String,
    },
    /// A node has no kernel.
    #[error("node `{node}`: {source}")]
    Node {
        /// The node's name.
        node: String,
        /// Why.
        source: Box<DeviceError>,
    },
    /// A buffer does not fit what it is used for.
    #[error("{what} is {expected}, the buffer given is {found}")]
    Buffer {
        /// What the buffer was given for.
        what: String,
        /// What fits.
        expected: String,
        /// What was given.
        found: String,
    },
    /// Something made by another device was used.
    #[error("{0} was made by another device")]
    Foreign(&'static str),
    /// There is no such device on this machine, or it cannot be used.
    #[error("there is no device {device}: {reason}; `limpid devices` lists what there is")]
    Missing {
        /// The device's name.
        device: &'static str,
        /// Why.
        reason: String,
    },
    /// The device's memory is full.
    #[error("the memory of the device {device} is full; give a smaller --batch or --memory")]
    OutOfMemory {
        /// The device's name.
        device: &'static str,
    },
    /// Something is larger than the device can hold in one piece.
    #[error(
        "{what} takes {bytes} bytes, the device holds {most} in one piece; give a smaller --batch, or --device cpu"
    )]
    TooLarge {
        /// What it is.
        what: String,
        /// Its bytes.
        bytes: u64,
        /// The bytes that fit.
        most: u64,
    },
    /// The device does not answer any more.
    #[error("the device was lost: {0}; run again, or with --device cpu")]
    Lost(String),
    /// The driver refuses a kernel or a command: a fault of this program or of the driver.
    #[error("the driver refused a command: {0}")]
    Driver(String),
    /// Threads could not be started.
    #[error("{0} threads could not be started; ask for fewer")]
    Threads(usize),
    /// A graph is not consistent, or a size overflows.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Memory is short.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl DeviceError {
    /// Whether something smaller, such as a smaller batch, may fit where this
    /// did not.
    #[must_use]
    pub fn is_of_size(&self) -> bool {
        match self {
            Self::TooLarge { .. } | Self::OutOfMemory { .. } => true,
            Self::Node { source, .. } => source.is_of_size(),
            _ => false,
        }
    }
}
