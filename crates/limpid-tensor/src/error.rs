use crate::Shape;

/// What can go wrong when a tensor is made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The number of elements does not fit the shape.
    #[error("a tensor of shape {shape} needs {expected} elements, {found} were given")]
    Length {
        /// The shape asked for.
        shape: Shape,
        /// The elements that the shape needs.
        expected: usize,
        /// The elements given.
        found: usize,
    },
    /// The element count or byte size of a shape overflows.
    #[error("the shape {0} is too large for this machine's address space")]
    Overflow(Shape),
    /// The operating system refused the memory.
    #[error("out of memory: {bytes} bytes could not be allocated")]
    OutOfMemory {
        /// The size of the refused allocation.
        bytes: usize,
    },
    /// The elements cannot be read again from where they were found.
    #[error("{file}: tensor `{tensor}` {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// What is wrong and what to do.
        reason: String,
    },
}
