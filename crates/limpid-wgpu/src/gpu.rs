//! An open adapter: memory, submissions, read-back, and what can go wrong there.

use crate::adapter::{Adapter, FEATURES};
use limpid_device::DeviceError;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

/// Waits for something that the driver does on its own.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    pollster::block_on(future)
}

/// In a browser nothing can be waited for in a function, but what wgpu returns
/// there is polled by the page; whoever ports this crate has to hand the
/// futures on. Until then the first poll must do.
#[cfg(target_arch = "wasm32")]
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    use std::task::{Context, Poll, Waker};
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("waiting is not possible in a browser"),
    }
}

/// Does something whose panic is an error that is told otherwise.
fn quietly<T>(work: impl FnOnce() -> T) -> std::thread::Result<T> {
    static HOOK: Once = Once::new();
    thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                before(panic);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    result
}

/// A lock whose data stays good when a thread panics while it holds it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open adapter.
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) limits: wgpu::Limits,
    pub(crate) features: wgpu::Features,
    /// Whether kernels are compiled with checks of bounds.
    pub(crate) checked: bool,
    /// The first error that nobody waited for: the device was lost, or it is a
    /// fault of this crate.
    failure: Arc<Mutex<Option<DeviceError>>>,
    /// Buffers to read through that nobody uses now.
    staging: Mutex<Vec<wgpu::Buffer>>,
}

impl Gpu {
    pub(crate) fn open(
        adapter: &Adapter,
        limits: wgpu::Limits,
        without: wgpu::Features,
        checked: bool,
    ) -> Result<Self, DeviceError> {
        let known = FEATURES
            .iter()
            .fold(wgpu::Features::empty(), |all, (f, _)| all | *f);
        let features = (adapter.wgpu.features() & known).difference(without);
        #[allow(unsafe_code)]
        let experimental = match features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX)
        {
            // SAFETY: of what is experimental only cooperative matrices are asked
            // for, and kernels use them in bounds.
            true => unsafe { wgpu::ExperimentalFeatures::enabled() },
            false => wgpu::ExperimentalFeatures::disabled(),
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("limpid"),
            required_features: features,
            required_limits: limits.clone(),
            experimental_features: experimental,
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            trace: wgpu::Trace::Off,
        };
        let opened = wait(adapter.wgpu.request_device(&descriptor));
        let (device, queue) = opened.map_err(|e| DeviceError::Missing {
            device: "wgpu",
            reason: format!("{} cannot be opened: {e}", adapter.info().name),
        })?;
        let failure = Arc::new(Mutex::new(None));
        let on_error = Arc::clone(&failure);
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            lock(&on_error).get_or_insert(device_error(e));
        }));
        let on_loss = Arc::clone(&failure);
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                lock(&on_loss).get_or_insert(DeviceError::Lost(message));
            }
        });
        Ok(Self {
            device,
            queue,
            limits,
            features,
            checked,
            failure,
            staging: Mutex::default(),
        })
    }

    /// Does something that may fail for want of memory or for a fault of ours.
    pub(crate) fn attempt<T>(&self, work: impl FnOnce() -> T) -> Result<T, DeviceError> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let made = work();
        let errors = [
            wait(internal.pop()),
            wait(validation.pop()),
            wait(memory.pop()),
        ];
        match errors.into_iter().flatten().next() {
            None => self.healthy().map(|()| made),
            Some(e) => Err(device_error(e)),
        }
    }

    /// Whether nothing has gone wrong that nobody waited for.
    pub(crate) fn healthy(&self) -> Result<(), DeviceError> {
        match &*lock(&self.failure) {
            None => Ok(()),
            Some(e) => Err(e.clone()),
        }
    }

    /// A buffer of values, zeroed.
    pub(crate) fn buffer(&self, label: &str, bytes: u64) -> Result<wgpu::Buffer, DeviceError> {
        self.fits(bytes)?;
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        self.attempt(|| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: bytes.max(4).next_multiple_of(4),
                usage,
                mapped_at_creation: false,
            })
        })
    }

    /// A buffer that kernels read alone, with these bytes.
    pub(crate) fn filled(
        &self,
        label: &str,
        usage: wgpu::BufferUsages,
        bytes: &[u8],
    ) -> Result<wgpu::Buffer, DeviceError> {
        self.fits(bytes.len() as u64)?;
        let usage = usage | wgpu::BufferUsages::COPY_DST;
        let buffer = self.attempt(|| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: (bytes.len() as u64).max(4).next_multiple_of(4),
                usage,
                mapped_at_creation: false,
            })
        })?;
        self.write(&buffer, bytes)?;
        Ok(buffer)
    }

    /// Whether a buffer can be as large.
    pub(crate) fn fits(&self, bytes: u64) -> Result<(), DeviceError> {
        let most = self.limits.max_buffer_size;
        if bytes <= most {
            return Ok(());
        }
        Err(DeviceError::TooLarge {
            what: "a buffer".to_owned(),
            bytes,
            most,
        })
    }

    /// Copies bytes to a buffer's begin, before whatever is submitted next.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, bytes: &[u8]) -> Result<(), DeviceError> {
        // Copies are of whole words; the staging copies are submitted piece by
        // piece so that a large weight is not in memory three times.
        const PIECE: usize = 64 << 20;
        let whole = bytes.len() / 4 * 4;
        self.attempt(|| {
            for (i, piece) in bytes[..whole].chunks(PIECE).enumerate() {
                self.queue.write_buffer(buffer, (i * PIECE) as u64, piece);
                if bytes.len() > PIECE {
                    self.queue.submit([]);
                }
            }
            if whole < bytes.len() {
                let mut last = [0; 4];
                last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
                self.queue.write_buffer(buffer, whole as u64, &last);
            }
        })
    }

    /// A buffer's first bytes, after everything that was submitted before.
    pub(crate) fn read(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>, DeviceError> {
        let bytes = bytes.max(4).next_multiple_of(4);
        let free = {
            let mut free = lock(&self.staging);
            let fitting = free.iter().enumerate().filter(|(_, b)| b.size() >= bytes);
            let at = fitting.min_by_key(|(_, b)| b.size()).map(|(at, _)| at);
            at.map(|at| free.swap_remove(at))
        };
        let staging = match free {
            Some(buffer) => buffer,
            None => self.attempt(|| {
                self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("staging"),
                    size: bytes
                        .next_power_of_two()
                        .min(self.limits.max_buffer_size & !3),
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            })?,
        };
        let mut encoder = self
            .device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, bytes);
        self.queue.submit([encoder.finish()]);
        let (told, asked) = std::sync::mpsc::sync_channel(1);
        staging.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
            // Nobody asks any more where waiting has failed.
            let _ = told.send(result);
        });
        self.wait()?;
        let lost = |e: String| DeviceError::Lost(e);
        match asked.try_recv() {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(self.healthy().err().unwrap_or_else(|| lost(e.to_string()))),
            Err(_) => return Err(lost("the copy to the host never ended".to_owned())),
        }
        let data = match staging.get_mapped_range(0..bytes) {
            Ok(view) => view.to_vec(),
            Err(e) => return Err(lost(e.to_string())),
        };
        staging.unmap();
        let mut free = lock(&self.staging);
        free.push(staging);
        // Two of the largest are enough for maps and pictures.
        free.sort_by_key(|b| std::cmp::Reverse(b.size()));
        free.truncate(2);
        Ok(data)
    }

    /// Waits until everything that was submitted is done.
    pub(crate) fn wait(&self) -> Result<(), DeviceError> {
        self.poll(wgpu::PollType::wait_indefinitely())
    }

    /// Waits for a submission.
    pub(crate) fn poll(&self, until: wgpu::PollType) -> Result<(), DeviceError> {
        // wgpu panics where a driver has reset the device while it waits.
        let polled = quietly(|| self.device.poll(until));
        self.healthy()?;
        match polled {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(DeviceError::Lost(e.to_string())),
            Err(_) => {
                let lost = DeviceError::Lost("the driver has given it up".to_owned());
                Err(lock(&self.failure).get_or_insert(lost).clone())
            }
        }
    }

    pub(crate) fn has(&self, feature: wgpu::Features) -> bool {
        self.features.contains(feature)
    }
}

fn device_error(e: wgpu::Error) -> DeviceError {
    match e {
        wgpu::Error::OutOfMemory { .. } => DeviceError::OutOfMemory { device: "wgpu" },
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            DeviceError::Driver(description)
        }
    }
}
