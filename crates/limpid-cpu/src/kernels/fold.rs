//! Sums over a batch that are folded in its order, one element on one thread:
//! how terms are split into batches changes no bit.

use super::{Context, Kernel, TASK};
use crate::operands::Operands;
use crate::simd::{LANES, Simd, Vectorize};
use limpid_device::DeviceError;

/// acc + sum of weight_n * a_n * b_n, each step fma(weight * a, b, acc), for
/// each row of weights.
pub(crate) struct WeightedSum {
    /// Floats of an image.
    pub(crate) size: usize,
    /// Whether there is a b, and one for each n.
    pub(crate) b: Option<bool>,
    pub(crate) rows: usize,
    pub(crate) terms: usize,
}

impl Kernel for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted sum"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let (acc, weights, a) = (io.input::<f32>(0), io.input::<f32>(1), io.input::<f32>(2));
        let b = self.b.map(|each| (io.input::<f32>(3), each));
        let rows = io.output()[..self.rows * self.size].chunks_mut(self.size);
        let tasks = rows.enumerate().flat_map(|(row, out)| {
            let parts = out.chunks_mut(TASK).enumerate();
            parts.map(move |(i, out)| (row, i * TASK, out))
        });
        cx.pool.each(tasks.collect(), |(row, at, out)| {
            cx.backend.vectorize(Sum {
                acc: &acc[row * self.size..][..self.size],
                weights: &weights[row * self.terms..][..self.terms],
                a,
                b,
                size: self.size,
                at,
                out,
            });
        });
        Ok(())
    }
}

struct Sum<'a> {
    acc: &'a [f32],
    weights: &'a [f32],
    a: &'a [f32],
    b: Option<(&'a [f32], bool)>,
    size: usize,
    at: usize,
    out: &'a mut [f32],
}

impl Vectorize for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (i, out) in self.out.chunks_mut(LANES).enumerate() {
            let at = self.at + i * LANES;
            let mut acc = s.load(&lanes(self.acc, at, out.len()));
            for (n, weight) in self.weights.iter().enumerate() {
                if *weight == 0.0 {
                    continue;
                }
                let (weight, at_n) = (s.splat(*weight), n * self.size + at);
                let a = s.load(&lanes(self.a, at_n, out.len()));
                acc = match self.b {
                    None => s.fma(weight, a, acc),
                    Some((b, each)) => {
                        let b = lanes(b, if each { at_n } else { at }, out.len());
                        s.fma(s.mul(weight, a), s.load(&b), acc)
                    }
                };
            }
            put(s, acc, out);
        }
    }
}

/// Welford's update of mean and deviations.
pub(crate) struct RunningMoments {
    /// Floats of an image.
    pub(crate) size: usize,
    pub(crate) samples: usize,
}

impl Kernel for RunningMoments {
    fn name(&self) -> &'static str {
        "running moments"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let [mean, deviations, count, samples] = [0, 1, 2, 3].map(|i| io.input::<f32>(i));
        let (out_mean, out_deviations) = io.outputs::<f32, f32>();
        let out_mean = out_mean[..self.size].chunks_mut(TASK);
        let out_deviations = out_deviations[..self.size].chunks_mut(TASK);
        let tasks = out_mean.zip(out_deviations).enumerate().collect();
        cx.pool.each(tasks, |(i, outs)| {
            cx.backend.vectorize(Moments {
                mean,
                deviations,
                count: count[0],
                samples,
                number: self.samples,
                size: self.size,
                at: i * TASK,
                outs,
            });
        });
        Ok(())
    }
}

struct Moments<'a> {
    mean: &'a [f32],
    deviations: &'a [f32],
    count: f32,
    samples: &'a [f32],
    number: usize,
    size: usize,
    at: usize,
    outs: (&'a mut [f32], &'a mut [f32]),
}

impl Vectorize for Moments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let outs = self
            .outs
            .0
            .chunks_mut(LANES)
            .zip(self.outs.1.chunks_mut(LANES));
        for (i, (out_mean, out_deviations)) in outs.enumerate() {
            let (at, len) = (self.at + i * LANES, out_mean.len());
            let mut mean = s.load(&lanes(self.mean, at, len));
            let mut deviations = s.load(&lanes(self.deviations, at, len));
            for n in 0..self.number {
                let share = s.splat(1.0 / (self.count + (n + 1) as f32));
                let v = s.load(&lanes(self.samples, n * self.size + at, len));
                let before = s.sub(v, mean);
                mean = s.fma(before, share, mean);
                deviations = s.fma(before, s.sub(v, mean), deviations);
            }
            put(s, mean, out_mean);
            put(s, deviations, out_deviations);
        }
    }
}

/// Up to sixteen floats, with zeros behind.
#[inline(always)]
fn lanes(data: &[f32], at: usize, len: usize) -> [f32; LANES] {
    if let Some(whole) = data[at..].first_chunk::<LANES>()
        && len == LANES
    {
        return *whole;
    }
    let mut lanes = [0.0; LANES];
    lanes[..len].copy_from_slice(&data[at..at + len]);
    lanes
}

/// Stores up to sixteen floats.
#[inline(always)]
fn put<S: Simd>(s: S, v: S::V, out: &mut [f32]) {
    if let Some(whole) = out.first_chunk_mut::<LANES>() {
        s.store(v, whole);
        return;
    }
    let mut lanes = [0.0; LANES];
    s.store(v, &mut lanes);
    out.copy_from_slice(&lanes[..out.len()]);
}
