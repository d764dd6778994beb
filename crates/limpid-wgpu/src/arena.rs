//! Working memory, kept for the next execution.

use crate::gpu::{Gpu, lock};
use limpid_device::DeviceError;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) struct Arena {
    pub(crate) buffer: wgpu::Buffer,
    /// What tells arenas apart.
    pub(crate) id: u64,
}

/// Arenas that no execution records into now. One that a submission still uses
/// can be used by the next, which runs after it.
#[derive(Default)]
pub(crate) struct Arenas {
    free: Mutex<Vec<Arena>>,
    made: AtomicU64,
}

impl Arenas {
    pub(crate) fn take(&self, gpu: &Gpu, bytes: u64) -> Result<Arena, DeviceError> {
        let free = lock(&self.free).pop();
        match free {
            Some(arena) if arena.buffer.size() >= bytes => Ok(arena),
            // One that is too small goes, so that there are never more than were used at once.
            _ => Ok(Arena {
                buffer: gpu.buffer("arena", bytes)?,
                id: self.made.fetch_add(1, Ordering::Relaxed),
            }),
        }
    }

    pub(crate) fn give(&self, arena: Arena) {
        lock(&self.free).push(arena);
    }

    /// Frees what is too small for a plan.
    pub(crate) fn keep(&self, bytes: u64) {
        lock(&self.free).retain(|a| a.buffer.size() >= bytes);
    }
}
