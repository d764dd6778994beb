use super::{Context, Kernel};
use crate::layout::Layout;
use crate::operands::Operands;
use crate::simd::{LANES, Simd, Vectorize};
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
            let draw = Draw {
                key,
                stream: self.stream,
                sample: [samples[2 * n], samples[2 * n + 1]],
                scale,
            };
            let Layout::Blocked([_, channels, ..]) = self.output else {
                cx.backend.vectorize(Noisy {
                    draw,
                    x,
                    first: at,
                    step: 1,
                    out,
                });
                return;
            };
            let (first, pixels) = (at / part * LANES, out.len() / LANES);
            out.fill(0.0);
            for lane in 0..LANES.min(channels - first) {
                cx.backend.vectorize(Noisy {
                    draw,
                    x: &x[lane..],
                    first: (first + lane) * pixels,
                    step: LANES,
                    out: &mut out[lane..],
                });
            }
        });
        Ok(())
    }
}

/// One of the normal fields, and its factor.
#[derive(Clone, Copy)]
struct Draw {
    key: [u32; 2],
    stream: u32,
    sample: [u32; 2],
    scale: f64,
}

/// Some elements of an image that follow each other.
struct Noisy<'a> {
    draw: Draw,
    x: &'a [f32],
    /// The first of the elements.
    first: usize,
    /// Floats from an element to the next.
    step: usize,
    out: &'a mut [f32],
}

impl Vectorize for Noisy<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let count = self.out.len().div_ceil(self.step);
        let mut normals = [0.0; philox::NORMALS];
        let (draw, mut done) = (self.draw, 0);
        while done < count {
            let element = self.first + done;
            let quad = (element / 4) as u32;
            philox::normals(draw.key, draw.stream, draw.sample, quad, &mut normals);
            let normals = &normals[element % 4..];
            let part = normals.len().min(count - done);
            let x = &self.x[done * self.step..];
            let out = &mut self.out[done * self.step..];
            let noisy = |x: f32, normal: f64| (f64::from(x) + draw.scale * normal) as f32;
            if self.step == 1 {
                for ((out, x), normal) in out.iter_mut().zip(x).zip(&normals[..part]) {
                    *out = noisy(*x, *normal);
                }
            } else {
                for (i, normal) in normals[..part].iter().enumerate() {
                    out[i * self.step] = noisy(x[i * self.step], *normal);
                }
            }
            done += part;
        }
    }
}
