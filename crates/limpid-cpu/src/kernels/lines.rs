//! Operators on the lines of the last axis: softmax, normalisation, and their
//! gradients. Sums are f64.

use super::{Context, Kernel, TASK, math};
use crate::operands::Operands;
use crate::simd::{LANES, Simd, Vectorize};
use limpid_device::DeviceError;

/// The number of lines and their length.
#[derive(Debug, Clone, Copy)]
struct Extent {
    lines: usize,
    length: usize,
}

impl Extent {
    fn of(shape: &[usize]) -> Self {
        let (length, lines) = shape
            .split_last()
            .map_or((1, &[][..]), |(l, rest)| (*l, rest));
        Self {
            lines: lines.iter().product(),
            length,
        }
    }

    /// Hands out whole lines: the first of them, and their elements.
    fn each(&self, out: &mut [f32], cx: Context<'_>, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
        let some = (TASK / self.length.max(1)).max(1);
        let out = &mut out[..self.lines * self.length];
        let tasks = out.chunks_mut((some * self.length).max(1)).enumerate();
        cx.pool.each(tasks.collect(), |(i, out)| f(i * some, out));
    }

    /// The elements of `x` from a line on, as many as `len`.
    fn part<'a>(&self, x: &'a [f32], line: usize, len: usize) -> &'a [f32] {
        &x[line * self.length..][..len]
    }
}

/// The sum of `term` over pairs of elements, in sixteen parts.
#[inline(always)]
fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut parts = [0.0; LANES];
    let term = |a: &f32, b: &f32| term(f64::from(*a), f64::from(*b));
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for (part, (a, b)) in parts.iter_mut().zip(a.iter().zip(b)) {
            *part += term(a, b);
        }
    }
    for (part, (a, b)) in parts.iter_mut().zip(a_tail.iter().zip(b_tail)) {
        *part += term(a, b);
    }
    parts.into_iter().sum()
}

/// e^x over its sum.
pub(crate) struct Softmax(Extent);

impl Softmax {
    pub(crate) fn new(shape: &[usize]) -> Self {
        Self(Extent::of(shape))
    }
}

impl Kernel for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        struct Lines<'a>(usize, &'a [f32], &'a mut [f32]);
        impl Vectorize for Lines<'_> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, _: S) {
                let Self(length, x, out) = self;
                // Whole vectors, so that no exponential is taken alone; what
                // fills the last one adds nothing.
                let mut line = vec![f32::NEG_INFINITY; length.next_multiple_of(LANES)];
                for (x, out) in x.chunks(length).zip(out.chunks_mut(length)) {
                    line[..length].copy_from_slice(x);
                    let vectors = line.as_chunks_mut::<LANES>().0;
                    let mut most = [f32::NEG_INFINITY; LANES];
                    for v in vectors.iter() {
                        for (most, v) in most.iter_mut().zip(v) {
                            *most = if *most > *v { *most } else { *v };
                        }
                    }
                    let most = most.into_iter().fold(f32::NEG_INFINITY, f32::max);
                    let mut sums = [0.0f64; LANES];
                    for v in vectors {
                        for (v, sum) in v.iter_mut().zip(&mut sums) {
                            *v = if S::FUSED {
                                math::exp::<true>(*v - most)
                            } else {
                                math::exp::<false>(*v - most)
                            };
                            *sum += f64::from(*v);
                        }
                    }
                    let factor = (1.0 / sums.into_iter().sum::<f64>()) as f32;
                    for (out, v) in out.iter_mut().zip(&line) {
                        *out = v * factor;
                    }
                    line[length..].fill(f32::NEG_INFINITY);
                }
            }
        }
        let x = io.input::<f32>(0);
        let Extent { length, .. } = self.0;
        self.0.each(io.output(), cx, |line, out| {
            let x = self.0.part(x, line, out.len());
            cx.backend.vectorize(Lines(length, x, out));
        });
        Ok(())
    }
}

/// y * (g - sum(g * y)).
pub(crate) struct SoftmaxGradient(Extent);

impl SoftmaxGradient {
    pub(crate) fn new(shape: &[usize]) -> Self {
        Self(Extent::of(shape))
    }
}

impl Kernel for SoftmaxGradient {
    fn name(&self) -> &'static str {
        "softmax gradient"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        struct Lines<'a>(usize, [&'a [f32]; 2], &'a mut [f32]);
        impl Vectorize for Lines<'_> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, _: S) {
                let Self(length, [y, g], out) = self;
                let lines = y.chunks(length).zip(g.chunks(length));
                for ((y, g), out) in lines.zip(out.chunks_mut(length)) {
                    let along = sum(y, g, |y, g| y * g) as f32;
                    for (out, (y, g)) in out.iter_mut().zip(y.iter().zip(g)) {
                        *out = y * (g - along);
                    }
                }
            }
        }
        let [y, g] = [0, 1].map(|i| io.input::<f32>(i));
        let Extent { length, .. } = self.0;
        self.0.each(io.output(), cx, |line, out| {
            let operands = [y, g].map(|x| self.0.part(x, line, out.len()));
            cx.backend.vectorize(Lines(length, operands, out));
        });
        Ok(())
    }
}

/// (x - mean) / sqrt(variance + epsilon), and the reciprocal of the root.
pub(crate) struct Normalize(Extent, f64);

impl Normalize {
    pub(crate) fn new(shape: &[usize], epsilon: f64) -> Self {
        Self(Extent::of(shape), epsilon)
    }
}

impl Kernel for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        struct Lines<'a>(usize, f64, &'a [f32], &'a mut [f32], &'a mut [f32]);
        impl Vectorize for Lines<'_> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, _: S) {
                let Self(length, epsilon, x, out, roots) = self;
                let lines = x.chunks(length).zip(out.chunks_mut(length));
                for ((x, out), root) in lines.zip(roots) {
                    let mean = sum(x, x, |x, _| x) / length as f64;
                    let variance = sum(x, x, |x, _| (x - mean) * (x - mean)) / length as f64;
                    let factor = 1.0 / (variance + epsilon).sqrt();
                    for (out, x) in out.iter_mut().zip(x) {
                        *out = ((f64::from(*x) - mean) * factor) as f32;
                    }
                    *root = factor as f32;
                }
            }
        }
        let x = io.input::<f32>(0);
        let Extent { lines, length } = self.0;
        let (out, roots) = io.outputs::<f32, f32>();
        let some = (TASK / length).max(1);
        let out = out[..lines * length].chunks_mut(some * length);
        let roots = roots[..lines].chunks_mut(some);
        let tasks = out.zip(roots).enumerate().collect();
        cx.pool.each(tasks, |(i, (out, roots))| {
            let x = self.0.part(x, i * some, out.len());
            cx.backend.vectorize(Lines(length, self.1, x, out, roots));
        });
        Ok(())
    }
}

/// rstd * (g - mean(g) - y * mean(g * y)).
pub(crate) struct NormalizeGradient(Extent);

impl NormalizeGradient {
    pub(crate) fn new(shape: &[usize]) -> Self {
        Self(Extent::of(shape))
    }
}

impl Kernel for NormalizeGradient {
    fn name(&self) -> &'static str {
        "normalize gradient"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        struct Lines<'a>(usize, [&'a [f32]; 3], &'a mut [f32]);
        impl Vectorize for Lines<'_> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, _: S) {
                let Self(length, [y, roots, g], out) = self;
                let lines = y.chunks(length).zip(g.chunks(length)).zip(roots);
                for (((y, g), root), out) in lines.zip(out.chunks_mut(length)) {
                    let n = length as f64;
                    let mean = sum(g, g, |g, _| g) / n;
                    let along = sum(g, y, |g, y| g * y) / n;
                    let root = f64::from(*root);
                    for (out, (y, g)) in out.iter_mut().zip(y.iter().zip(g)) {
                        let (y, g) = (f64::from(*y), f64::from(*g));
                        *out = (root * (g - mean - y * along)) as f32;
                    }
                }
            }
        }
        let [y, roots, g] = [0, 1, 2].map(|i| io.input::<f32>(i));
        let Extent { length, .. } = self.0;
        self.0.each(io.output(), cx, |line, out| {
            let [y, g] = [y, g].map(|x| self.0.part(x, line, out.len()));
            cx.backend
                .vectorize(Lines(length, [y, &roots[line..], g], out));
        });
        Ok(())
    }
}
