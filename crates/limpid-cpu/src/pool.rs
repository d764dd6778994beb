use limpid_device::DeviceError;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// The threads of a device. How work is split between them changes no result.
pub(crate) struct Pool {
    threads: Option<rayon::ThreadPool>,
}

impl Pool {
    /// A pool of `count` threads; one thread is the caller's own.
    pub(crate) fn new(count: usize) -> Result<Self, DeviceError> {
        if count <= 1 {
            return Ok(Self { threads: None });
        }
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|i| format!("limpid-cpu-{i}"))
            .build()
            .map_err(|_| DeviceError::Threads(count))?;
        Ok(Self {
            threads: Some(threads),
        })
    }

    /// How many threads work.
    pub(crate) fn count(&self) -> usize {
        let count = self
            .threads
            .as_ref()
            .map(rayon::ThreadPool::current_num_threads);
        count.unwrap_or(1)
    }

    /// Runs `f` in the pool, so that what it hands to `each` starts at once.
    pub(crate) fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.threads {
            None => f(),
            Some(threads) => threads.install(f),
        }
    }

    /// Does `f` to each task, neighbouring ones on the same thread where it can be.
    pub(crate) fn each<T: Send>(&self, tasks: Vec<T>, f: impl Fn(T) + Sync + Send) {
        match &self.threads {
            Some(_) if tasks.len() > 1 => {
                self.enter(|| tasks.into_par_iter().with_max_len(1).for_each(f));
            }
            _ => tasks.into_iter().for_each(f),
        }
    }
}
