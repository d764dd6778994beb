//! Working memory, kept for the next execution with the bind groups made for it.

use crate::gpu::{Gpu, lock};
use limpid_device::DeviceError;
use std::sync::{Arc, Mutex, Weak};

/// A bind group for each launch that has a lasting one.
pub(crate) type Groups = Arc<Vec<Option<wgpu::BindGroup>>>;

pub(crate) struct Arena {
    pub(crate) buffer: wgpu::Buffer,
    /// Of executables that have run in it, each told by its token. A bind group
    /// keeps its buffers alive, so groups end with the arena, or when a
    /// plan is prepared after the executable's end.
    groups: Vec<(Weak<()>, Groups)>,
}

impl Arena {
    /// Drops the bind groups of executables that are gone.
    fn forget(&mut self) {
        self.groups.retain(|(owner, _)| owner.strong_count() > 0);
    }

    /// The bind groups of the executable with this token.
    pub(crate) fn groups(
        &mut self,
        token: &Arc<()>,
        make: impl FnOnce(&wgpu::Buffer) -> Groups,
    ) -> Groups {
        self.forget();
        let own = |(owner, _): &&(Weak<()>, Groups)| owner.as_ptr() == Arc::as_ptr(token);
        if let Some((_, groups)) = self.groups.iter().find(own) {
            return Arc::clone(groups);
        }
        let groups = make(&self.buffer);
        self.groups
            .push((Arc::downgrade(token), Arc::clone(&groups)));
        groups
    }
}

/// Arenas that no execution records into now. One that a submission still uses
/// can be used by the next, which runs after it.
#[derive(Default)]
pub(crate) struct Arenas {
    free: Mutex<Vec<Arena>>,
}

impl Arenas {
    pub(crate) fn take(&self, gpu: &Gpu, bytes: u64) -> Result<Arena, DeviceError> {
        let free = lock(&self.free).pop();
        match free {
            Some(arena) if arena.buffer.size() >= bytes => Ok(arena),
            // One that is too small goes, so that there are never more than were used at once.
            _ => Ok(Arena {
                buffer: gpu.buffer("arena", bytes)?,
                groups: Vec::new(),
            }),
        }
    }

    pub(crate) fn give(&self, arena: Arena) {
        lock(&self.free).push(arena);
    }

    /// Frees what is too small for a plan, and what was bound for plans that are gone.
    pub(crate) fn keep(&self, bytes: u64) {
        let mut free = lock(&self.free);
        free.retain(|a| a.buffer.size() >= bytes);
        free.iter_mut().for_each(Arena::forget);
    }
}
