use super::filter_product::{Matrix, product};
use super::{Context, Kernel, plane, scratch};
use crate::layout::Layout;
use crate::operands::Operands;
use crate::simd::LANES;
use limpid_device::DeviceError;

/// R x C^T, and dR x C^T + R x dC^T.
pub(crate) struct Separable {
    pub(crate) input: Layout,
    pub(crate) output: Layout,
    pub(crate) extents: [usize; 2],
    pub(crate) transpose: bool,
}

impl Separable {
    /// The right factor C^T with rows padded to `stride`.
    fn right(&self, matrix: &[f32], out: &mut [f64], stride: usize) {
        let w = self.extents[1];
        for (i, row) in out.chunks_mut(stride).enumerate() {
            for (j, v) in row[..w].iter_mut().enumerate() {
                *v = f64::from(matrix[if self.transpose { i * w + j } else { j * w + i }]);
            }
        }
    }

    /// The left factor R.
    fn left<'a>(&self, matrix: &'a [f64]) -> Matrix<'a> {
        let h = self.extents[0];
        let (row, column) = if self.transpose { (1, h) } else { (h, 1) };
        Matrix {
            data: matrix,
            row,
            column,
        }
    }
}

impl Kernel for Separable {
    fn name(&self) -> &'static str {
        "separable products"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let [h, w] = self.extents;
        let (plane, size, images) = (
            self.output.plane(),
            self.output.image(),
            self.output.images(),
        );
        if plane == 0 || size == 0 || images == 0 {
            return Ok(());
        }
        let [x, r, c, dr, dc] = [0, 1, 2, 3, 4].map(|i| io.input::<f32>(i));
        let stride = w.next_multiple_of(LANES);
        let (right, left, area) = (w * stride, h * h, h * stride);

        // Of each image: C^T, dC^T, R, dR.
        let matrices = 2 * right + 2 * left;
        let mut factors = scratch::<f64>(images * matrices)?;
        let tasks = factors
            .as_mut_slice::<f64>()
            .chunks_mut(matrices)
            .enumerate();
        cx.pool.each(tasks.collect(), |(n, factors)| {
            let (rights, lefts) = factors.split_at_mut(2 * right);
            let (first, second) = rights.split_at_mut(right);
            self.right(&c[n * w * w..][..w * w], first, stride);
            self.right(&dc[n * w * w..][..w * w], second, stride);
            let rows = r[n * left..][..left].iter().chain(&dr[n * left..][..left]);
            for (to, from) in lefts.iter_mut().zip(rows) {
                *to = f64::from(*from);
            }
        });

        let factors = factors.as_slice::<f64>();
        let planes = size / plane;
        let mut work = scratch::<f64>(images * planes * 4 * area)?;
        let work = work.as_mut_slice::<f64>().chunks_mut(4 * area);
        let (out, slope) = io.outputs::<f32, f32>();
        let out = out[..images * size].chunks_mut(plane);
        let slope = slope[..images * size].chunks_mut(plane);
        let shared = self.input.images() == 1;
        let tasks = out.zip(slope).zip(work).enumerate().collect();
        cx.pool.each(tasks, |(i, ((out, slope), work))| {
            let n = i / planes;
            let source = if shared { i % planes } else { i };
            let [image, a, b, sum] = split(work, area);
            let (rights, lefts) = factors[n * matrices..][..matrices].split_at(2 * right);
            let (first, second) = rights.split_at(right);
            let (left_slope, left) = (self.left(&lefts[left..]), self.left(&lefts[..left]));
            for channel in 0..plane::channels(self.output, i) {
                plane::read(
                    self.input,
                    &x[source * plane..][..plane],
                    channel,
                    image,
                    w,
                    stride,
                );
                let matrix = Matrix {
                    data: image,
                    row: stride,
                    column: 1,
                };
                product(cx.backend, [h, w, w], matrix, first, a, stride);
                product(cx.backend, [h, h, w], left, a, sum, stride);
                plane::write(self.output, sum, channel, out, w, stride);
                product(cx.backend, [h, w, w], matrix, second, b, stride);
                product(cx.backend, [h, h, w], left_slope, a, sum, stride);
                product(cx.backend, [h, h, w], left, b, a, stride);
                for (sum, v) in sum.iter_mut().zip(&*a) {
                    *sum += v;
                }
                plane::write(self.output, sum, channel, slope, w, stride);
            }
        });
        Ok(())
    }
}

fn split(work: &mut [f64], area: usize) -> [&mut [f64]; 4] {
    let (a, rest) = work.split_at_mut(area);
    let (b, rest) = rest.split_at_mut(area);
    let (c, d) = rest.split_at_mut(area);
    [a, b, c, d]
}
