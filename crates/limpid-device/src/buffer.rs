use crate::DeviceError;
use limpid_graph::{Fact, Graph, ValueId};
use std::any::Any;

/// A value's memory on a device, in the device's own layout.
pub struct Buffer {
    fact: Fact,
    storage: Box<dyn Any + Send + Sync>,
}

impl Buffer {
    /// A buffer; for devices.
    pub fn new(fact: Fact, storage: impl Any + Send + Sync) -> Self {
        let storage = Box::new(storage);
        Self { fact, storage }
    }

    /// Type and shape of the value.
    #[must_use]
    pub fn fact(&self) -> &Fact {
        &self.fact
    }

    /// The storage, if it is a `T`; for devices.
    #[must_use]
    pub fn storage<T: Any>(&self) -> Option<&T> {
        self.storage.downcast_ref()
    }

    /// The storage, if it is a `T`, to write; for devices.
    pub fn storage_mut<T: Any>(&mut self) -> Option<&mut T> {
        self.storage.downcast_mut()
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({})", self.fact)
    }
}

/// Checks that buffers fit a graph's inputs and outputs, in number, type and
/// shape; for devices, before they execute.
///
/// # Errors
/// [`DeviceError::Buffer`] with the first that does not.
pub fn check_bindings(
    graph: &Graph,
    inputs: &[&Buffer],
    outputs: &[&mut Buffer],
) -> Result<(), DeviceError> {
    let inputs = inputs.iter().map(|b| b.fact());
    let outputs = outputs.iter().map(|b| b.fact());
    check("input", graph, graph.inputs(), inputs)?;
    check("output", graph, graph.outputs(), outputs)
}

fn check<'a>(
    kind: &str,
    graph: &Graph,
    values: &[ValueId],
    given: impl ExactSizeIterator<Item = &'a Fact>,
) -> Result<(), DeviceError> {
    if given.len() != values.len() {
        return Err(DeviceError::Buffer {
            what: format!("the graph's {kind}s"),
            expected: format!("{} buffers", values.len()),
            found: format!("{} buffers", given.len()),
        });
    }
    for (value, found) in values.iter().map(|v| graph.value(*v)).zip(given) {
        if value.fact != *found {
            return Err(DeviceError::Buffer {
                what: format!("{kind} `{}`", value.name),
                expected: value.fact.to_string(),
                found: found.to_string(),
            });
        }
    }
    Ok(())
}

/// Host data in C order.
#[derive(Debug, Clone, Copy)]
pub enum HostData<'a> {
    /// Floats. Into a buffer of bits, zero is unset and anything else is set; into
    /// one of bytes they are whole numbers.
    F32(&'a [f32]),
    /// Words.
    U32(&'a [u32]),
}
