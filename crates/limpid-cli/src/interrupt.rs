//! Ctrl-C.

use crate::console;
use limpid::render::{self, RenderError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// Set by the first interruption.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What is said of a run that ended by the first interruption.
pub(crate) const KEPT: &str = "; what was finished is kept";

/// Held while a file of results is written.
static WRITING: Mutex<()> = Mutex::new(());

/// How long the second interruption waits for a file that is being written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Catches interruptions from now on: the first one sets the flag that is
/// returned, so that the run ends after what is being written; the second one
/// ends the program at once, but for a file that is almost there.
///
/// # Errors
/// When the system refuses.
pub(crate) fn catch() -> anyhow::Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if !INTERRUPTED.swap(true, Ordering::Relaxed) {
            return;
        }
        let start = Instant::now();
        let writing = loop {
            match WRITING.try_lock() {
                Ok(guard) => break Some(guard),
                Err(TryLockError::Poisoned(guard)) => break Some(guard.into_inner()),
                // A disk that does not answer keeps nobody here.
                Err(TryLockError::WouldBlock) if start.elapsed() > PATIENCE => break None,
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(2)),
            }
        };
        console::say("interrupted twice; ended at once");
        // While the lock is held no other file is begun.
        let _writing = writing;
        std::process::exit(1);
    })?;
    Ok(&INTERRUPTED)
}

/// Writes a whole file of results or none, and leaves no part of it behind
/// when the program is interrupted meanwhile.
///
/// # Errors
/// As [`render::write_atomic`].
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), RenderError> {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    render::write_atomic(path, bytes)
}
