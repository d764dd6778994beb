//! What concerns the job itself.

use crate::job::{Fault, STRAY, find, invalid, quietly, service};
use limpid_plugin_abi as abi;
use std::ffi::c_void;

pub(super) unsafe extern "C" fn last_error(job: abi::limpid_job, out: abi::limpid_sink) {
    let words = find(job).map_or_else(|| STRAY.to_owned(), |job| job.last_words());
    // SAFETY: the sink was passed to this function.
    unsafe { out.put(&words) }
}

pub(super) unsafe extern "C" fn set_error(job: abi::limpid_job, text: abi::limpid_str) {
    quietly(job, |job| {
        // SAFETY: the text is borrowed until this returns.
        let text = unsafe { text.get() }.unwrap_or("its error is no text in UTF-8");
        job.say(shown(text));
    });
}

/// A plugin's text as it is shown: of a sane length, without control characters,
/// which a terminal would obey.
#[must_use]
pub fn shown(text: &str) -> String {
    let safe = |c: char| match c.is_control() && c != '\n' {
        true => '\u{fffd}',
        false => c,
    };
    text.chars().take(4096).map(safe).collect()
}

pub(super) unsafe extern "C" fn is_cancelled(job: abi::limpid_job) -> u32 {
    // Who runs no job is to stop.
    let mut cancelled = true;
    quietly(job, |job| {
        // While a service runs it is the service that ends a cancelled run.
        let checked = job.with_context(|cx| Ok(cx.check().is_err()));
        cancelled = checked.unwrap_or(false);
    });
    u32::from(cancelled)
}

pub(super) unsafe extern "C" fn progress(job: abi::limpid_job, done: u64, total: u64) {
    quietly(job, |job| {
        // While a service runs it is the service that reports.
        let _ = job.with_context(|cx| {
            cx.progress(done, total);
            Ok(())
        });
    });
}

pub(super) unsafe extern "C" fn log(job: abi::limpid_job, level: u32, text: abi::limpid_str) {
    if level != abi::LIMPID_NOTE {
        return;
    }
    quietly(job, |job| {
        // SAFETY: the text is borrowed until this returns.
        let text = shown(unsafe { text.get() }.unwrap_or_default());
        let _ = job.with_context(|cx| {
            cx.note(&text);
            Ok(())
        });
    });
}

pub(super) unsafe extern "C" fn evaluations(
    job: abi::limpid_job,
    out: *mut abi::limpid_evaluations,
) -> abi::limpid_status {
    service(job, 0, |_, cx| {
        if out.is_null() {
            return Err(invalid("no room for the evaluations"));
        }
        let found = cx.evaluations();
        let found = abi::limpid_evaluations {
            gradients: found.gradients,
            forwards: found.forwards,
        };
        // SAFETY: there is room for the struct.
        unsafe { out.write(found) };
        Ok(())
    })
}

pub(super) unsafe extern "C" fn limits(
    job: abi::limpid_job,
    out: *mut abi::limpid_limits,
) -> abi::limpid_status {
    service(job, 0, |_, cx| {
        let found = cx.limits();
        let found = abi::limpid_limits {
            head: abi::limpid_head::default(),
            batch: found.batch,
            threads: found.threads,
            bytes: found.bytes,
        };
        // SAFETY: `out` is null or has a head that tells its size.
        match unsafe { abi::fill(out, &found) } {
            true => Ok(()),
            false => Err(invalid("limits without a head")),
        }
    })
}

pub(super) unsafe extern "C" fn get_extension(id: abi::limpid_str) -> *const c_void {
    // SAFETY: the text is borrowed until this returns.
    match unsafe { id.get() } {
        Some(abi::LIMPID_ATTENTIONS) => (&raw const super::layers::ATTENTIONS).cast(),
        _ => std::ptr::null(),
    }
}

/// What a callback of the plugin has answered.
pub(super) fn answered(status: abi::limpid_status) -> Result<(), Fault> {
    match status {
        abi::LIMPID_OK => Ok(()),
        status => Err(Fault::Callback(status)),
    }
}
