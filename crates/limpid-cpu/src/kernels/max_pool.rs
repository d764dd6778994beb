//! The largest element of a window, which it is, and the gradient.

use super::{Context, Kernel, in_precisions};
use crate::arch::number::Number;
use crate::layout::{Layout, Precision};
use crate::operands::Operands;
use crate::select::Signature;
use crate::simd::{LANES, Simd, Vectorize};
use limpid_device::DeviceError;
use limpid_graph::ops::{MaxPool, MaxPoolGradient};

/// A window over planes of some lanes a pixel.
#[derive(Debug, Clone)]
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
    /// Down and across, for each window, the taps that are inside: where they
    /// lie, and their share of the tap's number.
    taps: [Vec<Vec<(usize, u32)>>; 2],
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
        let mut windows = Self {
            pool,
            pads: [pads[0], pads[1]],
            from: [h, w],
            to: [oh, ow],
            lanes,
            planes: n * c.div_ceil(lanes),
            taps: [vec![], vec![]],
        };
        windows.taps = [0, 1].map(|axis| {
            let share = if axis == 0 { pool.kernel[1] } else { 1 };
            let taps = |position| {
                let inside = (0..pool.kernel[axis]).filter_map(|tap| {
                    let at = windows.place(axis, position, tap)?;
                    Some((at, (tap * share) as u32))
                });
                inside.collect()
            };
            (0..windows.to[axis]).map(taps).collect()
        });
        Some(windows)
    }

    /// The numbers of a plane that the window slides over.
    fn input(&self) -> usize {
        self.from[0] * self.from[1] * self.lanes
    }

    /// The numbers of a plane of windows.
    fn output(&self) -> usize {
        self.to[0] * self.to[1] * self.lanes
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
    /// Of what the image and the largest elements are made.
    precisions: [Precision; 2],
}

impl MaxPoolKernel {
    /// The kernel of a pooling; `None` where the layouts have none.
    pub(crate) fn new(pool: MaxPool, s: &Signature<'_>, values: bool, bytes: bool) -> Option<Self> {
        let windows = Windows::new(pool, s.read[0], s.written[0])?;
        Some(Self {
            windows,
            values,
            bytes,
            precisions: [s.reads[0], s.writes[0]],
        })
    }
}

impl Kernel for MaxPoolKernel {
    fn name(&self) -> &'static str {
        "max pool"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        in_precisions!(self.precisions, self.compute(io, cx));
        Ok(())
    }
}

impl MaxPoolKernel {
    fn compute<T: Number, O: Number>(&self, io: &mut Operands<'_>, cx: Context<'_>) {
        let windows = &self.windows;
        let x = io.input::<T>(0);
        let (input, output) = (windows.input(), windows.output());
        let mut outs = io.outputs.iter_mut();
        let mut values: &mut [O] = &mut [];
        if self.values
            && let Some(out) = outs.next()
        {
            values = bytemuck::cast_slice_mut(out);
        }
        let mut bytes: &mut [u8] = &mut [];
        if self.bytes
            && let Some(out) = outs.next()
        {
            bytes = out;
        }
        let (mut values, mut bytes) = (values.chunks_mut(output), bytes.chunks_mut(output));
        let tasks = (0..windows.planes).map(|i| {
            let values = values.next().unwrap_or_default();
            (i, values, bytes.next().unwrap_or_default())
        });
        cx.pool.each(tasks.collect(), |(i, values, bytes)| {
            let x = &x[i * input..][..input];
            let all = (windows, x, values, bytes);
            match (windows.lanes, self.bytes) {
                (LANES, true) => cx.backend.vectorize(Plane::<T, O, LANES, true>(all)),
                (LANES, false) => cx.backend.vectorize(Plane::<T, O, LANES, false>(all)),
                (_, true) => cx.backend.vectorize(Plane::<T, O, 1, true>(all)),
                (_, false) => cx.backend.vectorize(Plane::<T, O, 1, false>(all)),
            }
        });
    }
}

/// A plane: what is read, and where values and bytes go.
type Planes<'a, T, O> = (&'a Windows, &'a [T], &'a mut [O], &'a mut [u8]);

struct Plane<'a, T, O, const L: usize, const BYTES: bool>(Planes<'a, T, O>);

impl<T: Number, O: Number, const L: usize, const BYTES: bool> Vectorize
    for Plane<'_, T, O, L, BYTES>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self((windows, x, values, bytes)) = self;
        let x = x.as_chunks::<L>().0;
        let width = windows.from[1];
        let (values, bytes) = (values.as_chunks_mut::<L>().0, bytes.as_chunks_mut::<L>().0);
        let mut at = 0;
        for rows in &windows.taps[0] {
            for columns in &windows.taps[1] {
                let mut best = [f32::NEG_INFINITY; L];
                // The first tap inside stands for elements of minus infinity.
                let first = rows.first().zip(columns.first());
                let mut index = [first.map_or(0, |(row, column)| row.1 + column.1); L];
                for (y, row) in rows {
                    for (at, column) in columns {
                        let v = x[y * width + at].map(Number::widen);
                        let tap = row + column;
                        for l in 0..L {
                            let wins = (v[l] > best[l]) | (v[l].is_nan() & !best[l].is_nan());
                            best[l] = if wins { v[l] } else { best[l] };
                            if BYTES {
                                index[l] = if wins { tap } else { index[l] };
                            }
                        }
                    }
                }
                if let Some(value) = values.get_mut(at) {
                    *value = best.map(O::round);
                }
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = index.map(|t| t as u8);
                }
                at += 1;
            }
        }
    }
}

/// Each element of the cotangent, added where its window had the largest.
pub(crate) struct MaxPoolGradientKernel {
    windows: Windows,
    /// Of what the cotangent and the result are made.
    precisions: [Precision; 2],
}

impl MaxPoolGradientKernel {
    /// The kernel of a gradient; `None` where the layouts have none.
    pub(crate) fn new(op: MaxPoolGradient, s: &Signature<'_>) -> Option<Self> {
        Some(Self {
            windows: Windows::new(op.pool, s.written[0], s.read[0])?,
            precisions: [s.reads[0], s.writes[0]],
        })
    }

    /// Computes a plane.
    fn plane<T: Number>(&self, g: &[T], taps: &[u8], out: &mut [f32]) {
        let windows = &self.windows;
        let lanes = windows.lanes;
        out.fill(0.0);
        let width = windows.pool.kernel[1];
        for (at, (g, taps)) in g.chunks(lanes).zip(taps.chunks(lanes)).enumerate() {
            let (oy, ox) = (at / windows.to[1], at % windows.to[1]);
            for (lane, (g, tap)) in g.iter().zip(taps).enumerate() {
                let tap = usize::from(*tap);
                let y = windows.place(0, oy, tap / width);
                if let (Some(y), Some(x)) = (y, windows.place(1, ox, tap % width)) {
                    out[(y * windows.from[1] + x) * lanes + lane] += g.widen();
                }
            }
        }
    }

    fn compute<T: Number, O: Number>(&self, io: &mut Operands<'_>, cx: Context<'_>) {
        let (g, taps) = (io.input::<T>(0), io.inputs[1]);
        let (input, output) = (self.windows.input(), self.windows.output());
        let out = io.output::<O>()[..self.windows.planes * input].chunks_mut(input);
        cx.pool.each(out.enumerate().collect(), |(i, out)| {
            let own = i * output..(i + 1) * output;
            O::write(out, cx.backend, |sums| {
                self.plane(&g[own.clone()], &taps[own], sums);
            });
        });
    }
}

impl Kernel for MaxPoolGradientKernel {
    fn name(&self) -> &'static str {
        "max pool gradient"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        in_precisions!(self.precisions, self.compute(io, cx));
        Ok(())
    }
}
