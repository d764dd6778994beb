//! Gaussian blur and its derivative in the cosine basis, in f64. Modes that a
//! blur leaves less than 1e-8 of are skipped: how many are kept is a function of
//! sigma and the extent alone.

use super::cosine::{Analysis, Basis, Synthesis, Transform};
use super::{Context, Kernel, plane};
use crate::device::Caches;
use crate::layout::Layout;
use crate::operands::Operands;
use crate::simd::{LANES, Simd, Vectorize};
use limpid_device::DeviceError;
use limpid_graph::Constant;
use std::sync::Arc;

/// What a mode must keep of its amplitude to be computed.
const NEGLIGIBLE: f64 = 1e-8;

/// Floats in the room of a double.
const PAIR: usize = size_of::<f64>() / size_of::<f32>();

/// Planes of modes that a task works with.
const PLANES: usize = 3;

/// The modes that a blur by `sigma` keeps.
fn kept(basis: &Basis, sigma: f64) -> usize {
    let gone = |f: &f64| (-0.5 * sigma * sigma * f).exp() < NEGLIGIBLE;
    let frequencies = basis.frequencies();
    frequencies
        .iter()
        .position(gone)
        .unwrap_or(frequencies.len())
}

/// The blurred images and their derivatives with respect to sigma.
pub(crate) struct Heat {
    input: Layout,
    output: Layout,
    extents: [usize; 2],
    /// Whether anybody reads the derivatives.
    slope: bool,
    bases: Option<[Arc<Basis>; 2]>,
}

impl Heat {
    pub(crate) fn new(input: Layout, output: Layout, extents: [usize; 2], slope: bool) -> Self {
        Self {
            input,
            output,
            extents,
            slope,
            bases: None,
        }
    }

    /// Channels that lie together in a plane of the storage.
    fn lanes(&self) -> usize {
        if matches!(self.output, Layout::Blocked(_)) {
            LANES
        } else {
            1
        }
    }

    /// Floats for the modes of a picture that is blurred many times: it is
    /// transformed once.
    fn common(&self, area: usize) -> usize {
        let shared = self.input.images() == 1 && self.output.images() > 1;
        let planes = self.output.image() / self.output.plane().max(1);
        usize::from(shared) * planes * self.lanes() * area * PAIR
    }

    fn transform(&self) -> Option<Transform<'_>> {
        let [rows, columns] = self.bases.as_ref()?;
        Some(Transform { rows, columns })
    }
}

impl Kernel for Heat {
    fn name(&self) -> &'static str {
        "cosine transform"
    }

    fn bind(
        &mut self,
        _constants: &[Option<&Constant>],
        caches: &Caches,
    ) -> Result<Vec<usize>, DeviceError> {
        let [h, w] = self.extents;
        self.bases = Some([caches.bases.get(h)?, caches.bases.get(w)?]);
        Ok(Vec::new())
    }

    fn workspace(&self, threads: usize) -> usize {
        let area = self.transform().map_or(0, |t| t.area());
        self.common(area) + threads * PLANES * area * PAIR
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let (plane, size) = (self.output.plane(), self.output.image());
        let Some(transform) = self.transform().filter(|_| plane > 0 && size > 0) else {
            return Ok(());
        };
        let (rows, columns, area) = (transform.rows, transform.columns, transform.area());
        let (images, planes) = (self.output.images(), size / plane);
        let (x, sigmas) = (io.input::<f32>(0), io.input::<f32>(1));
        let sigmas: Vec<f64> = sigmas[..images].iter().map(|s| f64::from(*s)).collect();
        let (common, workspace) = std::mem::take(&mut io.workspace).split_at(self.common(area));
        let common: &mut [f64] = bytemuck::cast_slice_mut(common);
        let pieces = workspace.split(cx.pool.count(), PLANES * area * PAIR);
        let lend = |f: &mut dyn FnMut(&mut [f64])| pieces.with(|p| f(bytemuck::cast_slice_mut(p)));
        let analyse = |i: usize, channel, kept, modes: &mut [f64], work: &mut [f64]| {
            cx.backend.vectorize(Analysis {
                transform,
                kept,
                layout: self.input,
                plane: &x[i * plane..][..plane],
                channel,
                modes,
                work: &mut work[..area],
            });
        };

        let (shared, lanes) = (!common.is_empty(), self.lanes());
        let tasks = common.chunks_mut(lanes * area);
        cx.pool.each(tasks.enumerate().collect(), |(i, modes)| {
            let most = |basis| sigmas.iter().map(|s| kept(basis, *s)).max().unwrap_or(0);
            let kept = [most(rows), most(columns)];
            lend(&mut |work| {
                for c in 0..plane::channels(self.input, i) {
                    analyse(i, c, kept, &mut modes[c * area..][..area], work);
                }
            });
        });

        let common = &*common;
        let (blurred, slope) = io.outputs::<f32, f32>();
        let blurred = blurred[..images * size].chunks_mut(plane);
        let slope = slope[..images * size].chunks_mut(plane);
        let tasks = blurred.zip(slope).enumerate().collect();
        cx.pool.each(tasks, |(i, (blurred, slope))| {
            let sigma = sigmas[i / planes];
            let kept = [kept(rows, sigma), kept(columns, sigma)];
            lend(&mut |memory| {
                let (own, rest) = memory.split_at_mut(area);
                let (filtered, work) = rest.split_at_mut(area);
                for channel in 0..plane::channels(self.output, i) {
                    let modes = if shared {
                        &common[(i % planes * lanes + channel) * area..][..area]
                    } else {
                        analyse(i, channel, kept, own, work);
                        &*own
                    };
                    let outputs = [(false, &mut *blurred), (true, &mut *slope)];
                    for (slope, plane) in outputs.into_iter().take(1 + usize::from(self.slope)) {
                        cx.backend.vectorize(Decay {
                            transform,
                            kept,
                            sigma,
                            slope,
                            modes,
                            filtered,
                        });
                        cx.backend.vectorize(Synthesis {
                            transform,
                            kept,
                            modes: filtered,
                            work,
                            layout: self.output,
                            plane,
                            channel,
                        });
                    }
                }
            });
        });
        Ok(())
    }
}

/// What a blur leaves of the modes, or its derivative with respect to sigma.
struct Decay<'a> {
    transform: Transform<'a>,
    kept: [usize; 2],
    sigma: f64,
    slope: bool,
    modes: &'a [f64],
    filtered: &'a mut [f64],
}

impl Vectorize for Decay<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (t, sigma) = (self.transform, self.sigma);
        let factor = |f: &f64| (-0.5 * sigma * sigma * f).exp();
        // In the order of the quadrants: even modes, then odd ones.
        let ordered = |basis: &Basis, kept: usize, parity: usize| -> Vec<(f64, f64)> {
            let of = basis.frequencies()[..kept].iter().skip(parity).step_by(2);
            of.map(|f| (*f, factor(f))).collect()
        };
        for x in 0..2 {
            let columns = ordered(t.columns, self.kept[1], x);
            for y in 0..2 {
                let rows = ordered(t.rows, self.kept[0], y);
                for (row, (fy, dy)) in rows.into_iter().enumerate() {
                    let at = t.place(y, row, x);
                    let from = &self.modes[at..][..columns.len()];
                    let to = &mut self.filtered[at..][..columns.len()];
                    for ((to, v), (fx, dx)) in to.iter_mut().zip(from).zip(&columns) {
                        let times = dy * dx;
                        let slope = -sigma * (fy + fx) * times;
                        *to = v * if self.slope { slope } else { times };
                    }
                }
            }
        }
    }
}
