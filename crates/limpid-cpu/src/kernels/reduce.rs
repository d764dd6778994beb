//! Sums, means and largest elements over axes.

use super::{Context, Kernel, TASK, scratch};
use crate::arch::store::Numbers;
use crate::layout::{Layout, Precision};
use crate::operands::Operands;
use crate::select::Signature;
use crate::simd::{LANES, Simd, Vectorize};
use limpid_device::DeviceError;
use limpid_graph::reference::broadcast_strides;

/// The mean of each channel.
pub(crate) struct GlobalAveragePool {
    pub(crate) layout: Layout,
    /// Of what the images are made; means are floats.
    pub(crate) reads: Precision,
}

impl Kernel for GlobalAveragePool {
    fn name(&self) -> &'static str {
        "plane mean"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let plane = self.layout.plane();
        if plane == 0 {
            return Ok(());
        }
        let count = self.layout.images() * self.layout.image() / plane;
        if matches!(self.layout, Layout::Blocked(_)) {
            let x = io.numbers(0, self.reads);
            let out = io.output().as_chunks_mut().0.iter_mut().take(count);
            cx.pool.each(out.enumerate().collect(), |(i, out)| {
                let x = x.part(i * plane..(i + 1) * plane);
                cx.backend.vectorize(Mean(x, out));
            });
        } else {
            let x = io.input::<f32>(0);
            for (x, out) in x.chunks(plane).take(count).zip(io.output()) {
                let sum: f64 = x.iter().map(|v| f64::from(*v)).sum();
                *out = (sum / plane as f64) as f32;
            }
        }
        Ok(())
    }
}

struct Mean<'a>(Numbers<'a>, &'a mut [f32; LANES]);

impl Vectorize for Mean<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Four sums, which shortens both the wait and the error.
        let Self(x, out) = self;
        let pixels = x.len() / LANES;
        let mut sums = [s.splat(0.0); 4];
        let fours = pixels / 4 * 4;
        for four in (0..fours).step_by(4) {
            for i in 0..4 {
                sums[i] = s.add(sums[i], x.vector(s, four + i));
            }
        }
        for pixel in fours..pixels {
            sums[0] = s.add(sums[0], x.vector(s, pixel));
        }
        let sum = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
        s.store(s.mul(sum, s.splat(1.0 / pixels as f32)), out);
    }
}

/// Sums, in f64, or largest elements over any axes.
pub(crate) struct ReduceKernel {
    input: Layout,
    output: Layout,
    /// The storage as axes that alternate between kept and reduced ones, each
    /// with whether it is kept; `None` where channels of blocks are reduced.
    axes: Option<Vec<(usize, bool)>>,
    /// The input's extents, and the output's strides in C order with 0 for the
    /// axes reduced.
    shape: Vec<usize>,
    strides: Vec<usize>,
    largest: bool,
}

impl ReduceKernel {
    /// The sum over `axes`.
    pub(crate) fn sum(axes: &[usize], s: &Signature<'_>) -> Self {
        Self::new(axes, s, false)
    }

    /// The largest element over `axes`.
    pub(crate) fn max(axes: &[usize], s: &Signature<'_>) -> Self {
        Self::new(axes, s, true)
    }

    fn new(axes: &[usize], s: &Signature<'_>, largest: bool) -> Self {
        let (shape, input) = (s.shape(0), s.read[0]);
        let kept = |axis: usize| !axes.contains(&axis);
        let stored: Option<Vec<(usize, bool)>> = match input {
            Layout::Blocked(_) if !kept(1) => None,
            Layout::Blocked([n, c, h, w]) => {
                let [own, rows, columns] = [0, 2, 3].map(kept);
                let blocks = c.div_ceil(LANES);
                let (block, lane) = ((blocks, true), (LANES, true));
                Some(vec![(n, own), block, (h, rows), (w, columns), lane])
            }
            _ => Some(
                shape
                    .iter()
                    .enumerate()
                    .map(|(i, d)| (*d, kept(i)))
                    .collect(),
            ),
        };
        Self {
            input,
            output: s.written[0],
            axes: stored.map(|axes| merge(&axes)),
            strides: broadcast_strides(s.output(), shape),
            shape: shape.to_vec(),
            largest,
        }
    }
}

/// Neighbours of one kind as one axis.
fn merge(axes: &[(usize, bool)]) -> Vec<(usize, bool)> {
    let mut merged: Vec<(usize, bool)> = Vec::with_capacity(axes.len() + 1);
    for &(extent, kept) in axes.iter().filter(|a| a.0 != 1) {
        match merged.last_mut() {
            Some(last) if last.1 == kept => last.0 *= extent,
            _ => merged.push((extent, kept)),
        }
    }
    merged
}

impl Kernel for ReduceKernel {
    fn name(&self) -> &'static str {
        if self.largest { "largest" } else { "sum" }
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let x = io.input::<f32>(0);
        let Some(axes) = &self.axes else {
            return self.channels(x, io.output());
        };
        let (inner, outer) = match axes.split_last() {
            // Lines whose elements are kept, or lines each of which is reduced.
            Some((last, outer)) if last.1 => (last.0, outer),
            _ => (1, &axes[..]),
        };
        let strides = strides(outer, inner);
        let of = |wanted: bool| -> Vec<(usize, usize)> {
            let all = outer.iter().zip(&strides);
            let own = all.filter(|((_, kept), _)| *kept == wanted);
            own.map(|((extent, _), stride)| (*extent, *stride))
                .collect()
        };
        let (kept, reduced) = (of(true), of(false));
        let count = kept.iter().map(|a| a.0).product::<usize>();
        let reduction = Reduction {
            x,
            kept: &kept,
            reduced: &reduced,
            largest: self.largest,
        };
        // Parts of lines, or some lines.
        let (part, lines) = (inner.min(PART), (TASK / reduction.reads()).max(1));
        let out = &mut io.output()[..count * inner];
        if inner == 1 {
            let tasks = out.chunks_mut(lines).enumerate().collect();
            cx.pool.each(tasks, |(i, out)| {
                cx.backend.vectorize(Lines(&reduction, i * lines, out));
            });
            return Ok(());
        }
        let lines = out.chunks_mut(inner).enumerate();
        let parts = lines.flat_map(|(line, out)| {
            let parts = out.chunks_mut(part).enumerate();
            parts.map(move |(i, out)| (line, i * part, out))
        });
        cx.pool.each(parts.collect(), |(line, at, out)| {
            cx.backend.vectorize(Columns(&reduction, line, at, out));
        });
        Ok(())
    }
}

/// Elements of a line that are reduced together.
const PART: usize = 256;

/// Distances from an element of each axis to the next.
fn strides(axes: &[(usize, bool)], inner: usize) -> Vec<usize> {
    let mut stride = inner;
    let mut strides: Vec<usize> = Vec::with_capacity(axes.len());
    for (extent, _) in axes.iter().rev() {
        strides.push(stride);
        stride *= extent;
    }
    strides.reverse();
    strides
}

struct Reduction<'a> {
    x: &'a [f32],
    /// Extents and strides.
    kept: &'a [(usize, usize)],
    reduced: &'a [(usize, usize)],
    largest: bool,
}

impl Reduction<'_> {
    /// The elements that one of the result is made of.
    fn reads(&self) -> usize {
        self.reduced.iter().map(|a| a.0).product::<usize>().max(1)
    }

    /// Where an index, counted over `axes`, lies.
    #[inline(always)]
    fn place(axes: &[(usize, usize)], index: usize) -> usize {
        let (mut rest, mut at) = (index, 0);
        for (extent, stride) in axes.iter().rev() {
            at += rest % extent * stride;
            rest /= extent;
        }
        at
    }
}

/// The larger; what is no number where one is none.
#[inline(always)]
fn larger<T: PartialOrd>(a: T, b: T) -> T {
    // Nothing but what is no number is unequal to itself.
    #[allow(clippy::eq_op)]
    let stays = (a >= b) | (a != a);
    if stays { a } else { b }
}

/// Neighbours in a line of the result, from an element of it on.
struct Columns<'a>(&'a Reduction<'a>, usize, usize, &'a mut [f32]);

impl Vectorize for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self(r, line, at, out) = self;
        let base = Reduction::place(r.kept, line) + at;
        let row = |i: usize| &r.x[base + Reduction::place(r.reduced, i)..][..out.len()];
        if r.largest {
            out.fill(f32::NEG_INFINITY);
            for i in 0..r.reads() {
                let row = &r.x[base + Reduction::place(r.reduced, i)..][..out.len()];
                for (out, v) in out.iter_mut().zip(row) {
                    *out = larger(*out, *v);
                }
            }
            return;
        }
        let mut sums = [0.0; PART];
        let sums = &mut sums[..out.len()];
        for i in 0..r.reads() {
            for (sum, v) in sums.iter_mut().zip(row(i)) {
                *sum += f64::from(*v);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = *sum as f32;
        }
    }
}

/// Neighbours of the result, each of lines of its own, from one on.
struct Lines<'a>(&'a Reduction<'a>, usize, &'a mut [f32]);

impl Vectorize for Lines<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self(r, first, out) = self;
        // The last axis is contiguous, for it is a reduced one unless there is none.
        let (outer, length) = match r.reduced.split_last() {
            Some((&(length, 1), outer)) => (outer, length),
            _ => (r.reduced, 1),
        };
        let count = outer.iter().map(|a| a.0).product::<usize>();
        for (i, out) in out.iter_mut().enumerate() {
            let base = Reduction::place(r.kept, first + i);
            let line = |k: usize| &r.x[base + Reduction::place(outer, k)..][..length];
            let (mut sums, mut most) = ([0.0f64; LANES], [f32::NEG_INFINITY; LANES]);
            for k in 0..count {
                let (vectors, tail) = line(k).as_chunks::<LANES>();
                if r.largest {
                    for v in vectors {
                        for (most, v) in most.iter_mut().zip(v) {
                            *most = larger(*most, *v);
                        }
                    }
                    for (most, v) in most.iter_mut().zip(tail) {
                        *most = larger(*most, *v);
                    }
                } else {
                    for v in vectors {
                        for (sum, v) in sums.iter_mut().zip(v) {
                            *sum += f64::from(*v);
                        }
                    }
                    for (sum, v) in sums.iter_mut().zip(tail) {
                        *sum += f64::from(*v);
                    }
                }
            }
            *out = if r.largest {
                most.into_iter().fold(f32::NEG_INFINITY, larger)
            } else {
                sums.into_iter().sum::<f64>() as f32
            };
        }
    }
}

impl ReduceKernel {
    /// Any axes of a value in blocks, its channels among them.
    fn channels(&self, x: &[f32], out: &mut [f32]) -> Result<(), DeviceError> {
        let count = self.output.images() * self.output.image_elements();
        let mut results = scratch::<f64>(count)?;
        let results = results.as_mut_slice::<f64>();
        if self.largest {
            results.fill(f64::NEG_INFINITY);
        }
        let elements = self.input.image_elements();
        for image in 0..self.input.images() {
            let from = &x[image * self.input.image()..];
            self.input.for_each(|element, lane| {
                let (mut rest, mut at) = (image * elements + element, 0);
                for (d, s) in self.shape.iter().zip(&self.strides).rev() {
                    at += rest % d * s;
                    rest /= d;
                }
                let v = f64::from(from[lane]);
                let result = &mut results[at];
                *result = if self.largest {
                    larger(*result, v)
                } else {
                    *result + v
                };
            });
        }
        let mut rounded = scratch::<f32>(count)?;
        let rounded = rounded.as_mut_slice::<f32>();
        for (to, result) in rounded.iter_mut().zip(results) {
            *to = *result as f32;
        }
        self.output.load_c(rounded, out);
        Ok(())
    }
}
