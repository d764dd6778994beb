//! How large a network may be.

use limpid_graph::{Cost, Fact};

/// The most nodes, and the most layer names: planning compares every value
/// with those that are alive at the same time.
pub(crate) const MAX_NODES: usize = 1 << 14;

/// The most numbers that a description's own constants have.
pub(crate) const MAX_CONSTANTS: usize = 1 << 24;

/// The most axes of a value.
pub(crate) const MAX_RANK: usize = 8;

/// The most elements of one value for one picture, 8 GiB of floats.
const MAX_ELEMENTS: u64 = 1 << 31;

/// The most elements of all values for one picture.
const MAX_TOTAL_ELEMENTS: u64 = 1 << 33;

/// The most multiply-adds for one picture, some thirty times those of the
/// largest published classifiers.
const MAX_MULTIPLY_ADDS: u64 = 1 << 44;

/// What the nodes of a network have taken of the limits so far.
pub(crate) struct Budget {
    batch: u64,
    elements: u64,
    multiply_adds: u64,
}

impl Budget {
    /// The budget of a graph for `batch` pictures.
    pub(crate) fn new(batch: usize) -> Self {
        Self {
            batch: (batch as u64).max(1),
            elements: 0,
            multiply_adds: 0,
        }
    }

    /// Accounts for a node, or says why it is too much.
    pub(crate) fn take(&mut self, outputs: &[&Fact], cost: Cost) -> Result<(), String> {
        for fact in outputs {
            let rank = fact.shape.len();
            if rank > MAX_RANK {
                return Err(format!(
                    "makes a value of {rank} axes; at most {MAX_RANK} are possible"
                ));
            }
            let elements = fact.shape.elements().map_or(u64::MAX, |n| n as u64);
            if elements > MAX_ELEMENTS.saturating_mul(self.batch) {
                return Err(format!(
                    "makes a value of the shape {}; at most {MAX_ELEMENTS} elements a picture are possible, so use a smaller input",
                    fact.shape
                ));
            }
            self.elements = self.elements.saturating_add(elements);
        }
        if self.elements > MAX_TOTAL_ELEMENTS.saturating_mul(self.batch) {
            return Err(format!(
                "brings the values of the graph to more than {MAX_TOTAL_ELEMENTS} elements a picture; use a smaller input"
            ));
        }
        self.multiply_adds = self.multiply_adds.saturating_add(cost.multiply_adds);
        if self.multiply_adds > MAX_MULTIPLY_ADDS.saturating_mul(self.batch) {
            return Err(format!(
                "brings the work of the graph to more than {MAX_MULTIPLY_ADDS} multiply-adds a picture; use a smaller input"
            ));
        }
        Ok(())
    }
}
