//! Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set by the first interruption.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Catches interruptions from now on: the first one sets the flag that is
/// returned, so that the run ends after what is being written; the second one
/// ends the program at once.
///
/// # Errors
/// When the system refuses.
pub(crate) fn catch() -> anyhow::Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    Ok(&INTERRUPTED)
}
