//! The largest element of a window, which it is, and the gradient.

use super::{Context, Kernel};
use crate::layout::Layout;
use crate::operands::Operands;
use crate::select::Signature;
use crate::simd::{LANES, Simd, Vectorize};
use limpid_device::DeviceError;
use limpid_graph::ops::{MaxPool, MaxPoolGradient};
use std::ops::Range;

/// A window over planes of some lanes a pixel.
#[derive(Debug, Clone, Copy)]
struct Windows {
    pool: MaxPool,
    /// The padding at the top and left.
    pads: [usize; 2],
    /// `[H, W]` of what the window slides over.
    from: [usize; 2],
    /// `[H, W]` of the windows.
    to: [usize; 2],
    /// Sixteen lanes, or one.
    lanes: usize,
    planes: usize,
}

impl Windows {
    /// The windows over the layout `from`; `None` where it is none of images.
    fn new(pool: MaxPool, from: Layout, to: Layout) -> Option<Self> {
        let (own, lanes) = match (from, to) {
            (Layout::Blocked(own), Layout::Blocked(to)) => ([own, to], LANES),
            (Layout::Planar(own), Layout::Planar(to)) => ([own, to], 1),
            _ => return None,
        };
        let [[n, c, h, w], [.., oh, ow]] = own;
        let pads = pool.pads([h, w]);
        Some(Self {
            pool,
            pads: [pads[0], pads[1]],
            from: [h, w],
            to: [oh, ow],
            lanes,
            planes: n * c.div_ceil(lanes),
        })
    }

    /// The numbers of a plane that the window slides over.
    fn input(&self) -> usize {
        self.from[0] * self.from[1] * self.lanes
    }

    /// The numbers of a plane of windows.
    fn output(&self) -> usize {
        self.to[0] * self.to[1] * self.lanes
    }

    /// The taps of a window that are inside along an axis.
    #[inline(always)]
    fn inside(&self, axis: usize, position: usize) -> Range<usize> {
        let dilation = self.pool.dilations[axis];
        let start = position * self.pool.strides[axis];
        let before = self.pads[axis].saturating_sub(start).div_ceil(dilation);
        let room = (self.from[axis] + self.pads[axis]).saturating_sub(start);
        let end = room.div_ceil(dilation).min(self.pool.kernel[axis]);
        before.min(end)..end
    }

    /// Where a tap of a window lies along an axis, if it is inside.
    #[inline(always)]
    fn place(&self, axis: usize, position: usize, tap: usize) -> Option<usize> {
        let at = position * self.pool.strides[axis] + tap * self.pool.dilations[axis];
        let at = at.checked_sub(self.pads[axis])?;
        (at < self.from[axis]).then_some(at)
    }
}

/// The largest elements, their taps, or both.
pub(crate) struct MaxPoolKernel {
    windows: Windows,
    values: bool,
    bytes: bool,
}

impl MaxPoolKernel {
    /// The kernel of a pooling; `None` where the layouts have none.
    pub(crate) fn new(
        pool: MaxPool,
        s: &Signature<'_>,
        values: bool,
        bytes: bool,
    ) -> Option<Self> {
        let windows = Windows::new(pool, s.read[0], s.written[0])?;
        Some(Self {
            windows,
            values,
            bytes,
        })
    }
}

impl Kernel for MaxPoolKernel {
    fn name(&self) -> &'static str {
        "max pool"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let windows = &self.windows;
        let x = io.input::<f32>(0);
        let (input, output) = (windows.input(), windows.output());
        let mut outs = io.outputs.iter_mut();
        let mut values: &mut [f32] = &mut [];
        if self.values && let Some(out) = outs.next() {
            values = bytemuck::cast_slice_mut(out);
        }
        let mut bytes: &mut [u8] = &mut [];
        if self.bytes && let Some(out) = outs.next() {
            bytes = out;
        }
        let (mut values, mut bytes) = (values.chunks_mut(output), bytes.chunks_mut(output));
        let tasks = (0..windows.planes).map(|i| {
            let values = values.next().unwrap_or_default();
            (i, values, bytes.next().unwrap_or_default())
        });
        cx.pool.each(tasks.collect(), |(i, values, bytes)| {
            let x = &x[i * input..][..input];
            if windows.lanes == LANES {
                cx.backend.vectorize(Plane::<LANES>(windows, x, values, bytes));
            } else {
                cx.backend.vectorize(Plane::<1>(windows, x, values, bytes));
            }
        });
        Ok(())
    }
}

struct Plane<'a, const L: usize>(&'a Windows, &'a [f32], &'a mut [f32], &'a mut [u8]);

impl<const L: usize> Vectorize for Plane<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self(windows, x, values, bytes) = self;
        let Windows { pool, pads, .. } = windows;
        let x = x.as_chunks::<L>().0;
        let (values, bytes) = (values.as_chunks_mut::<L>().0, bytes.as_chunks_mut::<L>().0);
        for oy in 0..windows.to[0] {
            let rows = windows.inside(0, oy);
            for ox in 0..windows.to[1] {
                let columns = windows.inside(1, ox);
                let first = rows.start * pool.kernel[1] + columns.start;
                let (mut best, mut tap) = ([f32::NEG_INFINITY; L], [first as u32; L]);
                for ky in rows.clone() {
                    let y = oy * pool.strides[0] + ky * pool.dilations[0] - pads[0];
                    for kx in columns.clone() {
                        let at = ox * pool.strides[1] + kx * pool.dilations[1] - pads[1];
                        let v = &x[y * windows.from[1] + at];
                        let index = (ky * pool.kernel[1] + kx) as u32;
                        for l in 0..L {
                            let nan = v[l].is_nan() & !best[l].is_nan();
                            let wins = (v[l] > best[l]) | nan;
                            best[l] = if wins { v[l] } else { best[l] };
                            tap[l] = if wins { index } else { tap[l] };
                        }
                    }
                }
                let at = oy * windows.to[1] + ox;
                if let Some(value) = values.get_mut(at) {
                    *value = best;
                }
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = tap.map(|t| t as u8);
                }
            }
        }
    }
}

/// Each element of the cotangent, added where its window had the largest.
pub(crate) struct MaxPoolGradientKernel(Windows);

impl MaxPoolGradientKernel {
    /// The kernel of a gradient; `None` where the layouts have none.
    pub(crate) fn new(op: MaxPoolGradient, s: &Signature<'_>) -> Option<Self> {
        Some(Self(Windows::new(op.pool, s.written[0], s.read[0])?))
    }
}

impl Kernel for MaxPoolGradientKernel {
    fn name(&self) -> &'static str {
        "max pool gradient"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let windows = &self.0;
        let Windows { lanes, planes, .. } = *windows;
        let (g, taps) = (io.input::<f32>(0), io.inputs[1]);
        let (input, output) = (windows.input(), windows.output());
        let out = &mut io.output()[..planes * input];
        let tasks = out.chunks_mut(input).enumerate().collect();
        cx.pool.each(tasks, |(i, out)| {
            out.fill(0.0);
            let (g, taps) = (&g[i * output..][..output], &taps[i * output..][..output]);
            let width = windows.pool.kernel[1];
            for (at, (g, taps)) in g.chunks(lanes).zip(taps.chunks(lanes)).enumerate() {
                let (oy, ox) = (at / windows.to[1], at % windows.to[1]);
                for (lane, (g, tap)) in g.iter().zip(taps).enumerate() {
                    let tap = usize::from(*tap);
                    let y = windows.place(0, oy, tap / width);
                    if let (Some(y), Some(x)) = (y, windows.place(1, ox, tap % width)) {
                        out[(y * windows.from[1] + x) * lanes + lane] += g;
                    }
                }
            }
        });
        Ok(())
    }
}
