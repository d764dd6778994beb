use super::{Context, Kernel};
use crate::layout::Layout;
use crate::operands::Operands;
use crate::simd::{LANES, Simd, Vectorize};
use limpid_device::DeviceError;
use limpid_graph::ops::BatchNormalization;

/// A factor and an offset for each channel.
pub(crate) struct BatchNorm {
    pub(crate) op: BatchNormalization,
    pub(crate) layout: Layout,
    pub(crate) channels: usize,
}

impl Kernel for BatchNorm {
    fn name(&self) -> &'static str {
        "batch norm"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let parameter = |i: usize| -> Vec<f64> {
            let values = &io.input::<f32>(i)[..self.channels];
            values.iter().map(|v| f64::from(*v)).collect()
        };
        let [scale, bias, mean, variance] = [1, 2, 3, 4].map(parameter);
        let affine = self.op.affine([&scale, &bias, &mean, &variance]);
        let (plane, size) = (self.layout.plane(), self.layout.image());
        if plane == 0 || size == 0 {
            return Ok(());
        }
        let blocked = matches!(self.layout, Layout::Blocked(_));
        let x = io.input::<f32>(0);
        let length = self.layout.images() * size;
        let out = &mut io.output()[..length];
        let tasks = x
            .chunks(plane)
            .zip(out.chunks_mut(plane))
            .enumerate()
            .collect();
        cx.pool.each(tasks, |(i, (x, out))| {
            let index = i * plane % size / plane;
            let lane = |lane: usize| {
                let channel = if blocked { index * LANES + lane } else { index };
                affine.get(channel).copied().unwrap_or_default()
            };
            cx.backend.vectorize(Scale {
                factor: std::array::from_fn(|l| lane(l).0 as f32),
                offset: std::array::from_fn(|l| lane(l).1 as f32),
                x,
                out,
            });
        });
        Ok(())
    }
}

struct Scale<'a> {
    factor: [f32; LANES],
    offset: [f32; LANES],
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Vectorize for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (factor, offset) = (s.load(&self.factor), s.load(&self.offset));
        let (x, x_tail) = self.x.as_chunks();
        let (out, out_tail) = self.out.as_chunks_mut();
        for (x, out) in x.iter().zip(out) {
            s.store(s.fma(s.load(x), factor, offset), out);
        }
        let mut lanes = [0.0; LANES];
        lanes[..x_tail.len()].copy_from_slice(x_tail);
        let v = s.fma(s.load(&lanes), factor, offset);
        s.store(v, &mut lanes);
        out_tail.copy_from_slice(&lanes[..out_tail.len()]);
    }
}
