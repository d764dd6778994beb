//! Services that are called by who may not.

use crate::call::{Call, Method, service};
use limpid_plugin::abi;
use std::sync::{Mutex, PoisonError};
use std::thread;

pub(crate) const METHODS: &[Method] = &[Method::new("other-thread", other_thread)];

/// The job of the last run, which has ended.
static BEFORE: Mutex<Option<abi::limpid_job>> = Mutex::new(None);

/// Calls services of this job from another thread, and of the last job, which
/// has ended, from this and another.
fn other_thread(call: &Call) -> abi::limpid_status {
    let host = call.host;
    let (job, len) = (call.job, call.len());
    let picture = call.request.tensor;
    let during = thread::spawn(move || strays(host, job, picture, len)).join();
    let mut answers = during.unwrap_or_default();
    let before = BEFORE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .replace(job);
    if let Some(ended) = before {
        answers.extend(strays(host, ended, picture, len));
        let after = thread::spawn(move || strays(host, ended, picture, len)).join();
        answers.extend(after.unwrap_or_default());
    }
    if answers.is_empty() || answers.iter().any(|a| *a != abi::LIMPID_WRONG_THREAD) {
        call.say(&format!("the host answered {answers:?}"));
        return abi::LIMPID_FAILED;
    }
    call.zeros()
}

/// What the host answers to services of a job that is not this thread's.
fn strays(
    host: abi::limpid_host,
    job: abi::limpid_job,
    tensor: abi::limpid_tensor,
    len: usize,
) -> Vec<abi::limpid_status> {
    // SAFETY: of a request, the job alone is looked at by a host that refuses.
    let request = unsafe { std::mem::zeroed() };
    let call = Call { host, job, request };
    let mut numbers = vec![0.0; len];
    let mut evaluations = abi::limpid_evaluations::default();
    let shape = [len as u64];
    // What has no answer must do no harm.
    call.say("said by nobody");
    service!(call, progress, 1, 1);
    let text = abi::limpid_str::new("a note by nobody");
    service!(call, log, abi::LIMPID_NOTE, text);
    let cancelled = service!(call, is_cancelled);
    vec![
        call.tensor(&shape).err().unwrap_or(abi::LIMPID_OK),
        service!(call, tensor_read, tensor, numbers.as_mut_ptr(), len as u64),
        service!(call, tensor_release, tensor),
        service!(call, evaluations, &raw mut evaluations),
        call.emit(&call.map(&numbers, &shape)),
        // Who has no job is told to stop.
        match cancelled {
            1 => abi::LIMPID_WRONG_THREAD,
            other => other,
        },
    ]
}
