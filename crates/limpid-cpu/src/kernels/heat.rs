//! Gaussian blur and its derivative in the cosine basis, as products of small
//! matrices in f64. Modes that a blur leaves less than 1e-8 of are skipped: how
//! many are kept is a function of sigma and the extent alone.

use super::filter_product::{Matrix, product};
use super::{Context, Kernel, plane, scratch};
use crate::device::Caches;
use crate::layout::Layout;
use crate::operands::Operands;
use crate::simd::LANES;
use limpid_device::DeviceError;
use limpid_graph::ops::HeatKernel;
use limpid_tensor::{AlignedBuffer, Shape, Tensor, TensorError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What a mode must keep of its amplitude to be computed.
const NEGLIGIBLE: f64 = 1e-8;

/// The cosine basis of some number of points.
pub(crate) struct Basis {
    /// `[mode][point]`, rows padded with zeros to a multiple of sixteen.
    modes: AlignedBuffer,
    /// `[point][mode]`, padded likewise.
    points: AlignedBuffer,
    /// The squared angular frequency of each mode.
    frequencies: Vec<f64>,
    /// Numbers from a row to the next.
    stride: usize,
}

impl Basis {
    fn new(n: usize) -> Result<Self, TensorError> {
        let overflow = || TensorError::Overflow(Shape::from([n, n]));
        let stride = n.checked_next_multiple_of(LANES).ok_or_else(overflow)?;
        let bytes = n
            .checked_mul(stride)
            .and_then(|numbers| numbers.checked_mul(size_of::<f64>()))
            .ok_or_else(overflow)?;
        let mut modes = AlignedBuffer::zeroed(bytes)?;
        let mut points = AlignedBuffer::zeroed(bytes)?;
        let (m, p) = (modes.as_mut_slice::<f64>(), points.as_mut_slice::<f64>());
        for mode in 0..n {
            for point in 0..n {
                let v = HeatKernel::mode(n, mode, point);
                m[mode * stride + point] = v;
                p[point * stride + mode] = v;
            }
        }
        Ok(Self {
            modes,
            points,
            frequencies: HeatKernel::frequencies(n),
            stride,
        })
    }

    /// The modes that a blur by `sigma` keeps.
    fn kept(&self, sigma: f64) -> usize {
        let gone = |f: &f64| (-0.5 * sigma * sigma * f).exp() < NEGLIGIBLE;
        self.frequencies
            .iter()
            .position(gone)
            .unwrap_or(self.frequencies.len())
    }

    fn rows(buffer: &AlignedBuffer, stride: usize) -> Matrix<'_> {
        Matrix {
            data: buffer.as_slice(),
            row: stride,
            column: 1,
        }
    }
}

/// The bases in use.
#[derive(Default)]
pub(crate) struct BasisCache(Mutex<HashMap<usize, Weak<Basis>>>);

impl BasisCache {
    fn get(&self, n: usize) -> Result<Arc<Basis>, TensorError> {
        let mut bases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(basis) = bases.get(&n).and_then(Weak::upgrade) {
            return Ok(basis);
        }
        bases.retain(|_, basis| basis.strong_count() > 0);
        let basis = Arc::new(Basis::new(n)?);
        bases.insert(n, Arc::downgrade(&basis));
        Ok(basis)
    }
}

/// The blurred images and their derivatives with respect to sigma.
pub(crate) struct Heat {
    input: Layout,
    output: Layout,
    extents: [usize; 2],
    bases: Option<[Arc<Basis>; 2]>,
}

impl Heat {
    pub(crate) fn new(input: Layout, output: Layout, extents: [usize; 2]) -> Self {
        Self {
            input,
            output,
            extents,
            bases: None,
        }
    }
}

impl Kernel for Heat {
    fn name(&self) -> &'static str {
        "cosine transform"
    }

    fn bind(
        &mut self,
        _constants: &[Option<&Arc<Tensor>>],
        caches: &Caches,
    ) -> Result<Vec<usize>, DeviceError> {
        let [h, w] = self.extents;
        self.bases = Some([caches.bases.get(h)?, caches.bases.get(w)?]);
        Ok(Vec::new())
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let [h, w] = self.extents;
        let (plane, size) = (self.output.plane(), self.output.image());
        let Some([rows, columns]) = self.bases.as_ref().filter(|_| plane > 0 && size > 0) else {
            return Ok(());
        };
        let images = self.output.images();
        let (x, sigmas) = (io.input::<f32>(0), io.input::<f32>(1));
        let sigmas: Vec<f64> = sigmas[..images].iter().map(|s| f64::from(*s)).collect();
        let planes = size / plane;
        let (stride, area) = (columns.stride, h * columns.stride);

        // The modes of each image and channel. One image under many blurs is
        // transformed once.
        let shared = self.input.images() == 1;
        let lanes = if matches!(self.output, Layout::Blocked(_)) {
            LANES
        } else {
            1
        };
        let count = self.input.images() * planes;
        let mut modes = scratch::<f64>(count * lanes * area)?;
        let mut halves = scratch::<f64>(count * lanes * area)?;
        let parts = modes.as_mut_slice::<f64>().chunks_mut(lanes * area);
        let halves = halves.as_mut_slice::<f64>().chunks_mut(lanes * area);
        let tasks = parts.zip(halves).enumerate().collect();
        cx.pool.each(tasks, |(i, (modes, halves))| {
            let kept = |basis: &Basis| {
                let of = if shared {
                    &sigmas[..]
                } else {
                    &sigmas[i / planes..][..1]
                };
                of.iter().map(|s| basis.kept(*s)).max().unwrap_or(0)
            };
            let (ky, kx) = (kept(rows), kept(columns));
            let source = &x[i * plane..][..plane];
            for c in 0..plane::channels(self.input, i) {
                let modes = &mut modes[c * area..][..area];
                let half = &mut halves[c * area..][..area];
                plane::read(self.input, source, c, modes, w, stride);
                let image = Matrix {
                    data: modes,
                    row: stride,
                    column: 1,
                };
                product(
                    cx.backend,
                    [h, w, kx],
                    image,
                    columns.points.as_slice(),
                    half,
                    stride,
                );
                let basis = Basis::rows(&rows.modes, rows.stride);
                product(cx.backend, [ky, h, kx], basis, half, modes, stride);
            }
        });

        let modes = modes.as_slice::<f64>();
        let (blurred, slope) = io.outputs::<f32, f32>();
        let blurred = blurred[..images * size].chunks_mut(plane);
        let slope = slope[..images * size].chunks_mut(plane);
        let mut work = scratch::<f64>(images * planes * 3 * area)?;
        let work = work.as_mut_slice::<f64>().chunks_mut(3 * area);
        let tasks = blurred.zip(slope).zip(work).enumerate().collect();
        cx.pool.each(tasks, |(i, ((blurred, slope), work))| {
            let sigma = sigmas[i / planes];
            let (ky, kx) = (rows.kept(sigma), columns.kept(sigma));
            let decay = |f: &f64| (-0.5 * sigma * sigma * f).exp();
            let dy: Vec<f64> = rows.frequencies[..ky].iter().map(decay).collect();
            let dx: Vec<f64> = columns.frequencies[..kx].iter().map(decay).collect();
            let (filtered, rest) = work.split_at_mut(area);
            let (half, out) = rest.split_at_mut(area);
            let source = if shared { i % planes } else { i };
            for c in 0..plane::channels(self.output, i) {
                let modes = &modes[(source * lanes + c) * area..][..area];
                for (derivative, to) in [(false, &mut *blurred), (true, &mut *slope)] {
                    for k in 0..ky {
                        let (fy, dy) = (rows.frequencies[k], dy[k]);
                        let from = &modes[k * stride..][..kx];
                        let filtered = &mut filtered[k * stride..][..kx];
                        for (l, (out, v)) in filtered.iter_mut().zip(from).enumerate() {
                            let times = dy * dx[l];
                            let slope = -sigma * (fy + columns.frequencies[l]) * times;
                            *out = v * if derivative { slope } else { times };
                        }
                    }
                    let matrix = Matrix {
                        data: filtered,
                        row: stride,
                        column: 1,
                    };
                    product(
                        cx.backend,
                        [ky, kx, w],
                        matrix,
                        columns.modes.as_slice(),
                        half,
                        stride,
                    );
                    let basis = Basis::rows(&rows.points, rows.stride);
                    product(cx.backend, [h, ky, w], basis, half, out, stride);
                    plane::write(self.output, out, c, to, w, stride);
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basis_beyond_the_memory_is_an_error() {
        for n in [1 << 28, 1 << 31, usize::MAX] {
            assert!(Basis::new(n).is_err(), "{n}");
        }
    }

    #[test]
    fn a_basis_is_orthonormal() {
        let basis = Basis::new(5).unwrap();
        let (modes, points) = (
            basis.modes.as_slice::<f64>(),
            basis.points.as_slice::<f64>(),
        );
        for (a, b) in (0..5).flat_map(|a| (0..5).map(move |b| (a, b))) {
            let dot: f64 = (0..5)
                .map(|i| modes[a * basis.stride + i] * points[i * basis.stride + b])
                .sum();
            assert!((dot - f64::from(u8::from(a == b))).abs() < 1e-14);
        }
    }
}
