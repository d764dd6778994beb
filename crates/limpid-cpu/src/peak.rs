//! What the processor itself gives, for comparison with what kernels reach.

use crate::simd::{LANES, Simd, Vectorize};
use crate::{CpuDevice, CpuOptions};
use limpid_device::DeviceError;
use limpid_tensor::AlignedBuffer;
use std::hint::black_box;
use std::time::Instant;

/// Vectors that each thread multiplies and adds: some milliseconds.
const PRODUCTS: usize = 1 << 23;

/// Bytes that are copied, more than caches hold.
const COPIED: usize = 64 << 20;

/// Bytes that are copied by one task.
const TASK: usize = 256 << 10;

/// The most that the threads of a device have been seen to do together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Floating-point operations a second, a multiply-add being two: f32, in registers.
    pub flops: f64,
    /// Bytes a second, read and written, of a copy of 64 MB.
    pub bytes: f64,
}

/// Measures the [`Peak`] of a processor, whose clock and memory may change
/// from one second to the next: measure it beside what is compared with it.
pub struct PeakMeter {
    device: CpuDevice,
    from: AlignedBuffer,
    to: AlignedBuffer,
}

impl PeakMeter {
    /// For a device of these options.
    ///
    /// # Errors
    /// As [`CpuDevice::with`], or when memory is short.
    pub fn new(options: CpuOptions) -> Result<Self, DeviceError> {
        let mut meter = Self {
            device: CpuDevice::with(options)?,
            from: AlignedBuffer::zeroed(COPIED)?,
            to: AlignedBuffer::zeroed(COPIED)?,
        };
        // Pages that were never written share one page of zeros.
        meter.from.bytes_mut().fill(1);
        meter.measure();
        Ok(meter)
    }

    /// Measures once, for a few hundredths of a second.
    ///
    /// ```
    /// use limpid_cpu::{CpuOptions, PeakMeter};
    /// let peak = PeakMeter::new(CpuOptions::default())?.measure();
    /// assert!(peak.flops > 0.0 && peak.bytes > 0.0);
    /// # Ok::<(), limpid_device::DeviceError>(())
    /// ```
    pub fn measure(&mut self) -> Peak {
        let (backend, pool) = (self.device.backend, &self.device.pool);
        let threads = pool.count();
        let start = Instant::now();
        pool.each(vec![(); threads], |()| {
            black_box(backend.vectorize(Chains));
        });
        let flops = (2 * LANES * PRODUCTS * threads) as f64 / start.elapsed().as_secs_f64();
        let lanes = TASK / size_of::<f32>();
        let from = self.from.as_slice::<f32>().chunks(lanes);
        let tasks = from.zip(self.to.as_mut_slice::<f32>().chunks_mut(lanes));
        let tasks: Vec<_> = tasks.map(|(from, to)| Copy { from, to }).collect();
        let start = Instant::now();
        pool.each(tasks, |task| backend.vectorize(task));
        let bytes = (2 * COPIED) as f64 / start.elapsed().as_secs_f64();
        black_box(&mut self.to);
        Peak { flops, bytes }
    }
}

/// Multiply-adds that never leave the registers.
struct Chains;

impl Vectorize for Chains {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        // As many independent sums as there are registers for: enough to hide
        // the latency of one.
        match (S::WIDE, S::FUSED) {
            (true, _) => chains::<S, 24>(s),
            (false, true) => chains::<S, 5>(s),
            (false, false) => chains::<S, 2>(s),
        }
    }
}

#[inline(always)]
fn chains<S: Simd, const N: usize>(s: S) -> f32 {
    let (a, b) = (s.splat(black_box(0.5)), s.splat(black_box(1.0)));
    // Different numbers, so that no two sums are one.
    let mut sums: [S::V; N] = std::array::from_fn(|i| s.splat(black_box(i as f32)));
    for _ in 0..PRODUCTS / N {
        for sum in &mut sums {
            *sum = s.fma(*sum, a, b);
        }
    }
    let mut out = [0.0; LANES];
    let total = sums.into_iter().reduce(|x, y| s.add(x, y));
    s.store(total.unwrap_or(a), &mut out);
    out.iter().sum()
}

struct Copy<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Vectorize for Copy<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (from, _) = self.from.as_chunks::<LANES>();
        let (to, _) = self.to.as_chunks_mut::<LANES>();
        for (from, to) in from.iter().zip(to) {
            s.store(s.load(from), to);
        }
    }
}
