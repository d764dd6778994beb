use super::{Context, Kernel};
use crate::layout::Layout;
use crate::operands::Operands;
use crate::simd::LANES;
use limpid_device::DeviceError;
use limpid_tensor::philox;

/// Elements of a task, a multiple of four.
const PART: usize = 1 << 12;

/// x + scale * normal.
pub(crate) struct Noise {
    pub(crate) input: Layout,
    pub(crate) output: Layout,
    pub(crate) stream: u32,
}

impl Kernel for Noise {
    fn name(&self) -> &'static str {
        "philox normal"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let (x, samples, key) = (io.input::<f32>(0), io.input::<u32>(1), io.input::<u32>(2));
        let scale = f64::from(io.input::<f32>(3)[0]);
        let key = [key[0], key[1]];
        let (size, images) = (self.output.image(), self.output.images());
        if size == 0 || images == 0 {
            return Ok(());
        }
        let single = self.input.images() == 1;
        let blocked = matches!(self.output, Layout::Blocked(_));
        let part = if blocked { self.output.plane() } else { PART };
        let out = io.output()[..images * size].chunks_mut(size).enumerate();
        let parts = out.flat_map(|(n, image)| {
            let parts = image.chunks_mut(part).enumerate();
            parts.map(move |(i, out)| (n, i * part, out))
        });
        cx.pool.each(parts.collect(), |(n, at, out)| {
            let x = &x[if single { at } else { n * size + at }..][..out.len()];
            let sample = [samples[2 * n], samples[2 * n + 1]];
            let normals = |first: usize, count: usize, put: &mut dyn FnMut(usize, f64)| {
                for quad in first / 4..(first + count).div_ceil(4) {
                    let four = philox::normal4(key, self.stream, sample, quad as u32);
                    for (lane, normal) in four.into_iter().enumerate() {
                        let element = quad * 4 + lane;
                        if element >= first && element < first + count {
                            put(element - first, normal);
                        }
                    }
                }
            };
            let noisy = |x: f32, normal: f64| (f64::from(x) + scale * normal) as f32;
            if !blocked {
                normals(at, out.len(), &mut |i, normal| out[i] = noisy(x[i], normal));
                return;
            }
            let pixels = out.len() / LANES;
            let first = at / part * LANES;
            let Layout::Blocked([_, channels, ..]) = self.output else {
                return;
            };
            out.fill(0.0);
            for lane in 0..LANES.min(channels - first) {
                normals((first + lane) * pixels, pixels, &mut |i, normal| {
                    let at = i * LANES + lane;
                    out[at] = noisy(x[at], normal);
                });
            }
        });
        Ok(())
    }
}
