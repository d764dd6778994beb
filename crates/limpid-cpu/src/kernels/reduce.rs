//! Sums over axes.

use super::{Context, Kernel, scratch};
use crate::layout::Layout;
use crate::operands::Operands;
use crate::simd::{LANES, Simd, Vectorize};
use limpid_device::DeviceError;
use limpid_tensor::AlignedBuffer;

/// The mean of each channel.
pub(crate) struct GlobalAveragePool(pub(crate) Layout);

impl Kernel for GlobalAveragePool {
    fn name(&self) -> &'static str {
        "plane mean"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let plane = self.0.plane();
        let x = &io.input::<f32>(0)[..self.0.images() * self.0.image()];
        if plane == 0 {
            return Ok(());
        }
        let out = io.output();
        if matches!(self.0, Layout::Blocked(_)) {
            let tasks = x.chunks(plane).zip(out.as_chunks_mut().0).collect();
            cx.pool
                .each(tasks, |(x, out)| cx.backend.vectorize(Mean(x, out)));
        } else {
            for (x, out) in x.chunks(plane).zip(out) {
                let sum: f64 = x.iter().map(|v| f64::from(*v)).sum();
                *out = (sum / plane as f64) as f32;
            }
        }
        Ok(())
    }
}

struct Mean<'a>(&'a [f32], &'a mut [f32; LANES]);

impl Vectorize for Mean<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Four sums, which shortens both the wait and the error.
        let pixels = self.0.as_chunks::<LANES>().0;
        let mut sums = [s.splat(0.0); 4];
        let (fours, rest) = pixels.as_chunks::<4>();
        for four in fours {
            for i in 0..4 {
                sums[i] = s.add(sums[i], s.load(&four[i]));
            }
        }
        for pixel in rest {
            sums[0] = s.add(sums[0], s.load(pixel));
        }
        let sum = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
        s.store(s.mul(sum, s.splat(1.0 / pixels.len() as f32)), self.1);
    }
}

/// The sum over any axes, in f64.
pub(crate) struct ReduceSum {
    pub(crate) input: Layout,
    pub(crate) output: Layout,
    /// The input's extents.
    pub(crate) shape: Vec<usize>,
    /// The output's strides in C order, 0 for the axes summed over.
    pub(crate) strides: Vec<usize>,
}

impl Kernel for ReduceSum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn run(&self, io: &mut Operands<'_>, _cx: Context<'_>) -> Result<(), DeviceError> {
        let x = io.input::<f32>(0);
        let count = self.output.images() * self.output.image_elements();
        let mut sums = AlignedBuffer::zeroed(count * size_of::<f64>())?;
        let sums = sums.as_mut_slice::<f64>();
        let elements = self.input.image_elements();
        for image in 0..self.input.images() {
            let from = &x[image * self.input.image()..];
            self.input.for_each(|element, lane| {
                let (mut rest, mut at) = (image * elements + element, 0);
                for (d, s) in self.shape.iter().zip(&self.strides).rev() {
                    at += rest % d * s;
                    rest /= d;
                }
                sums[at] += f64::from(from[lane]);
            });
        }
        let mut rounded = scratch::<f32>(count)?;
        let rounded = rounded.as_mut_slice::<f32>();
        for (to, sum) in rounded.iter_mut().zip(sums) {
            *to = *sum as f32;
        }
        self.output.load_c(rounded, io.output());
        Ok(())
    }
}
