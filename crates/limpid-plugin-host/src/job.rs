//! A job: one explanation by a plugin, and what belongs to it.

use crate::Expected;
use crate::library::capability_names;
use crate::path::Broken;
use limpid_explain::{Attribution, Context, DeviceTensor, ExplainError, Pictures};
use limpid_plugin::table::panic_message;
use limpid_plugin_abi as abi;
use limpid_tensor::Tensor;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

/// What goes wrong in a service.
#[derive(Debug)]
pub(crate) enum Fault {
    /// What the service itself reports.
    Explain(ExplainError),
    /// A breach of the interface's rules.
    Rule(abi::limpid_status, String),
    /// A callback of the plugin ended with this status.
    Callback(abi::limpid_status),
}

impl<E: Into<ExplainError>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Explain(error.into())
    }
}

pub(crate) fn invalid(message: impl Into<String>) -> Fault {
    Fault::Rule(abi::LIMPID_INVALID, message.into())
}

/// What a method may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Uses {
    /// The capabilities that it has declared.
    pub(crate) declared: u64,
    /// Those that the host has.
    pub(crate) offered: u64,
}

/// A tensor that a job keeps. What the host has made is copied to where the model
/// runs once something there reads it.
#[derive(Clone)]
enum Kept {
    /// Where the model runs.
    Device(DeviceTensor),
    /// In the host's memory.
    Host(Rc<Tensor>),
    /// The picture that is explained, as `[1, C, H, W]`.
    Picture,
}

/// One explanation by a plugin.
pub(crate) struct Job {
    id: u64,
    uses: Uses,
    /// The context, but while a service uses it.
    context: Cell<Option<NonNull<dyn Context>>>,
    /// The picture, `[C, H, W]`.
    picture: NonNull<Tensor>,
    tensors: RefCell<HashMap<abi::limpid_tensor, Kept>>,
    bytes: Cell<u64>,
    most_bytes: u64,
    pub(crate) pictures: RefCell<HashMap<abi::limpid_pictures, std::sync::Arc<dyn Pictures>>>,
    /// What the last service that failed said: the status, the words and, where
    /// it was an error of the host's, that.
    failed: RefCell<Option<(String, Option<ExplainError>)>>,
    /// How many services have failed.
    failures: Cell<u64>,
    /// What the plugin said.
    said: RefCell<Option<String>>,
    pub(crate) expected: Expected,
    pub(crate) maps: RefCell<Vec<Attribution>>,
    /// How many maps came that nobody asked for.
    pub(crate) surplus: Cell<usize>,
}

thread_local! {
    /// The jobs that this thread runs; the last is the innermost.
    static RUNNING: RefCell<Vec<Rc<Job>>> = const { RefCell::new(Vec::new()) };
}

/// The jobs of all threads, and how often each was called by a wrong one.
static STRAYS: LazyLock<Mutex<HashMap<u64, u64>>> = LazyLock::new(Mutex::default);

/// The next [`number`].
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number for a job, a tensor, a folder or a plan: none is used twice, so that
/// one of a job that is over is known to be stale.
pub(crate) fn number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn strays<R>(work: impl FnOnce(&mut HashMap<u64, u64>) -> R) -> R {
    let mut strays = STRAYS.lock().unwrap_or_else(PoisonError::into_inner);
    work(&mut strays)
}

/// How a job has ended, besides what the plugin returned.
pub(crate) struct Ended {
    pub(crate) maps: Vec<Attribution>,
    /// How many maps came besides.
    pub(crate) surplus: usize,
    /// What the plugin or, where it said nothing, the last failed service said.
    pub(crate) words: Option<String>,
    /// The error of the last failed service.
    pub(crate) error: Option<ExplainError>,
    pub(crate) leaked: usize,
    pub(crate) strays: u64,
}

/// Lets `work` call services of a job, by its number.
pub(crate) fn run<R>(
    cx: &mut dyn Context,
    uses: Uses,
    expected: Expected,
    picture: &Tensor,
    work: impl FnOnce(&Job) -> R,
) -> (R, Ended) {
    /// Takes the job off its thread's list, however `work` ends.
    struct Over(u64);
    impl Drop for Over {
        fn drop(&mut self) {
            RUNNING.with_borrow_mut(|jobs| jobs.retain(|j| j.id != self.0));
        }
    }
    let id = number();
    let most_bytes = cx.limits().bytes;
    // SAFETY: the lifetime is dropped from the type alone: the pointer is used
    // while `cx` is borrowed, since the job leaves the list before that ends and
    // the job's number is all that anybody else has of it.
    let context = unsafe {
        std::mem::transmute::<NonNull<dyn Context + '_>, NonNull<dyn Context + 'static>>(
            NonNull::from(cx),
        )
    };
    let job = Rc::new(Job {
        id,
        uses,
        context: Cell::new(Some(context)),
        picture: NonNull::from(picture),
        tensors: RefCell::default(),
        bytes: Cell::new(0),
        most_bytes,
        pictures: RefCell::default(),
        failed: RefCell::default(),
        failures: Cell::new(0),
        said: RefCell::default(),
        expected,
        maps: RefCell::default(),
        surplus: Cell::new(0),
    });
    strays(|s| s.insert(id, 0));
    RUNNING.with_borrow_mut(|jobs| jobs.push(Rc::clone(&job)));
    let result = {
        let _over = Over(id);
        work(&job)
    };
    let strays = strays(|s| s.remove(&id)).unwrap_or(0);
    let (failed, error) = job.failed.take().unzip();
    let ended = Ended {
        maps: job.maps.take(),
        surplus: job.surplus.get(),
        words: job.said.take().or(failed).filter(|w| !w.is_empty()),
        error: error.flatten(),
        leaked: job.tensors.borrow().len(),
        strays,
    };
    (result, ended)
}

/// The job of this number, if this thread runs it.
pub(crate) fn find(id: abi::limpid_job) -> Option<Rc<Job>> {
    let running = |jobs: &RefCell<Vec<Rc<Job>>>| {
        let jobs = jobs.borrow();
        jobs.iter().rfind(|j| j.id == id).cloned()
    };
    // A thread that ends runs nothing any more.
    let found = RUNNING.try_with(running).ok().flatten();
    if found.is_none() {
        strays(|s| s.get_mut(&id).map(|n| *n += 1));
    }
    found
}

/// What anybody is told who is not the job's thread.
pub(crate) const STRAY: &str =
    "a service was called by a thread that does not run the job, or after the job had ended";

/// Runs what returns no status; nothing of what goes wrong leaves it.
pub(crate) fn quietly(id: abi::limpid_job, work: impl FnOnce(&Job)) {
    let _ = catch_unwind(AssertUnwindSafe(|| find(id).map(|job| work(&job))));
}

/// Runs a service that needs no context.
pub(crate) fn light(
    id: abi::limpid_job,
    work: impl FnOnce(&Job) -> Result<(), Fault>,
) -> abi::limpid_status {
    let Some(job) = find(id) else {
        return abi::LIMPID_WRONG_THREAD;
    };
    let before = job.failures.get();
    let first = NEXT.load(Ordering::Relaxed);
    let done = catch_unwind(AssertUnwindSafe(|| work(&job)));
    if !matches!(done, Ok(Ok(()))) {
        // Nobody knows the tensors that a service made before it failed.
        job.release_since(first);
    }
    job.status(done, before)
}

/// Runs a service with the job's context, which needs a capability.
pub(crate) fn service(
    id: abi::limpid_job,
    needs: u64,
    work: impl FnOnce(&Job, &mut dyn Context) -> Result<(), Fault>,
) -> abi::limpid_status {
    light(id, |job| {
        let lacking = needs & !job.uses.offered;
        if lacking != 0 {
            let message = format!(
                "this version of Limpid does not offer plugins {}",
                capability_names(lacking)
            );
            return Err(Fault::Rule(abi::LIMPID_UNSUPPORTED, message));
        }
        if needs & !job.uses.declared != 0 {
            let names = capability_names(needs);
            let message = format!("the method has not declared that it uses {names}");
            return Err(Fault::Rule(abi::LIMPID_UNSUPPORTED, message));
        }
        job.with_context(|cx| work(job, cx))
    })
}

impl Job {
    pub(crate) fn id(&self) -> abi::limpid_job {
        self.id
    }

    /// Hands out the context; nobody else has it meanwhile.
    pub(crate) fn with_context<R>(
        &self,
        work: impl FnOnce(&mut dyn Context) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        /// Puts the context back, however `work` ends.
        struct Back<'a>(&'a Job, NonNull<dyn Context>);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.context.set(Some(self.1));
            }
        }
        let Some(context) = self.context.take() else {
            let message = "a service that runs the model was called from a callback of another";
            return Err(Fault::Rule(abi::LIMPID_BUSY, message.into()));
        };
        let mut back = Back(self, context);
        // SAFETY: the context is borrowed for as long as the job runs, and was
        // taken out of its place, so this is the one reference to it.
        work(unsafe { back.1.as_mut() })
    }

    /// The status of a service, whose words are kept; `before` services had
    /// failed when it began.
    fn status(
        &self,
        done: std::thread::Result<Result<(), Fault>>,
        before: u64,
    ) -> abi::limpid_status {
        let (status, words, error) = match done {
            Ok(Ok(())) => return abi::LIMPID_OK,
            // A service that the callback used has said why.
            Ok(Err(Fault::Callback(status))) if self.failures.get() > before => return status,
            Ok(Err(Fault::Callback(status))) => {
                let name = status_name(status);
                (status, format!("its callback failed with {name}"), None)
            }
            Ok(Err(Fault::Rule(status, words))) => (status, words, None),
            // A breach of the rules is the plugin's, not an error of the host's.
            Ok(Err(Fault::Explain(ExplainError::Run(e)))) if e.is::<Broken>() => {
                (abi::LIMPID_INVALID, e.to_string(), None)
            }
            Ok(Err(Fault::Explain(error))) => {
                let words = error.to_string();
                (status_of(&error), words, Some(error))
            }
            Err(panic) => {
                let words = panic_message(&*panic);
                (
                    abi::LIMPID_PANIC,
                    format!("the host panicked: {words}"),
                    None,
                )
            }
        };
        *self.failed.borrow_mut() = Some((words, error));
        self.failures.set(self.failures.get() + 1);
        status
    }

    /// The words of the last service that failed.
    pub(crate) fn last_words(&self) -> String {
        let failed = self.failed.borrow();
        failed.as_ref().map_or_else(String::new, |(w, _)| w.clone())
    }

    /// What the plugin says went wrong.
    pub(crate) fn say(&self, words: String) {
        *self.said.borrow_mut() = Some(words);
    }

    /// The bytes that may still be taken.
    pub(crate) fn left(&self) -> u64 {
        self.most_bytes.saturating_sub(self.bytes.get())
    }

    /// Whether so many bytes more may be taken.
    pub(crate) fn room(&self, bytes: u64) -> Result<(), Fault> {
        let all = self.bytes.get().saturating_add(bytes);
        if all <= self.most_bytes {
            return Ok(());
        }
        let message = format!(
            "tensors of {all} bytes were asked for; a job may have {} (--memory)",
            self.most_bytes
        );
        Err(Fault::Rule(abi::LIMPID_OUT_OF_MEMORY, message))
    }

    /// The picture, `[C, H, W]`.
    pub(crate) fn picture(&self) -> &Tensor {
        // SAFETY: the picture is borrowed for as long as the job runs, and is
        // only read.
        unsafe { self.picture.as_ref() }
    }

    /// A number for a tensor where the model runs, which the job now keeps.
    pub(crate) fn keep(&self, tensor: DeviceTensor) -> Result<abi::limpid_tensor, Fault> {
        self.insert(Kept::Device(tensor))
    }

    /// The same for a tensor in the host's memory.
    pub(crate) fn keep_host(&self, tensor: Tensor) -> Result<abi::limpid_tensor, Fault> {
        self.insert(Kept::Host(Rc::new(tensor)))
    }

    /// The same for the picture.
    pub(crate) fn keep_picture(&self) -> Result<abi::limpid_tensor, Fault> {
        self.insert(Kept::Picture)
    }

    fn insert(&self, tensor: Kept) -> Result<abi::limpid_tensor, Fault> {
        let bytes = bytes(&self.shape(&tensor));
        self.room(bytes)?;
        self.bytes.set(self.bytes.get() + bytes);
        let id = number();
        self.tensors.borrow_mut().insert(id, tensor);
        Ok(id)
    }

    fn kept(&self, id: abi::limpid_tensor) -> Result<Kept, Fault> {
        let found = self.tensors.borrow().get(&id).cloned();
        found.ok_or_else(|| invalid(format!("the job has no tensor {id}: was it released?")))
    }

    fn shape(&self, tensor: &Kept) -> Vec<usize> {
        match tensor {
            Kept::Device(tensor) => tensor.dims().to_vec(),
            Kept::Host(tensor) => tensor.dims().to_vec(),
            Kept::Picture => [&[1], self.picture().dims()].concat(),
        }
    }

    /// The extents of a tensor.
    pub(crate) fn dims(&self, id: abi::limpid_tensor) -> Result<Vec<usize>, Fault> {
        Ok(self.shape(&self.kept(id)?))
    }

    /// A tensor where the model runs.
    pub(crate) fn tensor(
        &self,
        id: abi::limpid_tensor,
        cx: &mut dyn Context,
    ) -> Result<DeviceTensor, Fault> {
        let tensor = match self.kept(id)? {
            Kept::Device(tensor) => return Ok(tensor),
            Kept::Host(tensor) => cx.upload(&tensor)?,
            Kept::Picture => {
                let dims = self.shape(&Kept::Picture);
                cx.upload(&self.picture().clone().reshape(dims)?)?
            }
        };
        let kept = Kept::Device(tensor.clone());
        self.tensors.borrow_mut().insert(id, kept);
        Ok(tensor)
    }

    /// Shows a tensor's numbers.
    pub(crate) fn with_numbers<R>(
        &self,
        id: abi::limpid_tensor,
        cx: &mut dyn Context,
        work: impl FnOnce(&[f32]) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        match self.kept(id)? {
            Kept::Device(tensor) => work(cx.download(&tensor)?.data()),
            Kept::Host(tensor) => work(tensor.data()),
            Kept::Picture => work(self.picture().data()),
        }
    }

    fn release_since(&self, first: abi::limpid_tensor) {
        let made: Vec<u64> = self.tensors.borrow().keys().copied().collect();
        for id in made.into_iter().filter(|id| *id >= first) {
            let _ = self.release(id);
        }
    }

    pub(crate) fn release(&self, id: abi::limpid_tensor) -> Result<(), Fault> {
        let bytes = bytes(&self.dims(id)?);
        self.bytes.set(self.bytes.get() - bytes);
        self.tensors.borrow_mut().remove(&id);
        Ok(())
    }
}

/// Four bytes an element.
pub(crate) fn bytes(dims: &[usize]) -> u64 {
    dims.iter().fold(4, |n, d| n.saturating_mul(*d as u64))
}

/// A status in words.
pub(crate) fn status_name(status: abi::limpid_status) -> String {
    let name = match status {
        abi::LIMPID_OK => "OK",
        abi::LIMPID_CANCELLED => "CANCELLED",
        abi::LIMPID_UNSUPPORTED => "UNSUPPORTED",
        abi::LIMPID_INVALID => "INVALID",
        abi::LIMPID_OUT_OF_MEMORY => "OUT_OF_MEMORY",
        abi::LIMPID_DEVICE_LOST => "DEVICE_LOST",
        abi::LIMPID_PANIC => "PANIC",
        abi::LIMPID_FAILED => "FAILED",
        abi::LIMPID_WRONG_THREAD => "WRONG_THREAD",
        abi::LIMPID_BUSY => "BUSY",
        unknown => return format!("status {unknown}, which this version does not know"),
    };
    format!("status {name}")
}

/// The status that tells a plugin of an error.
fn status_of(error: &ExplainError) -> abi::limpid_status {
    match error {
        ExplainError::Cancelled => abi::LIMPID_CANCELLED,
        ExplainError::Tensor(_) => abi::LIMPID_OUT_OF_MEMORY,
        ExplainError::Parameter { .. }
        | ExplainError::Conflict { .. }
        | ExplainError::Input(_)
        | ExplainError::NotSpatial { .. }
        | ExplainError::Graph(_)
        | ExplainError::Shape { .. }
        | ExplainError::Baseline { .. } => abi::LIMPID_INVALID,
        ExplainError::NoAttention(_) | ExplainError::NoCamLayer { .. } => abi::LIMPID_UNSUPPORTED,
        _ => abi::LIMPID_FAILED,
    }
}
