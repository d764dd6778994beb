//! Filling in pixels that were removed: the noisy linear imputation of ROAD.

use crate::InputError;
use limpid_tensor::{Tensor, philox};

/// The random stream of metrics.
const STREAM: u32 = 5;

/// The share of a direct and of a diagonal neighbour.
const DIRECT: f64 = 1.0 / 6.0;
const DIAGONAL: f64 = 1.0 / 12.0;

/// The residual, relative to the right-hand side, at which the solution is taken.
const TOLERANCE: f64 = 1e-9;

/// Replaces the pixels of a picture `[C, H, W]` that are not kept by the weighted
/// mean of their eight neighbours, 1/6 for a direct and 1/12 for a diagonal one:
/// the solution of one linear system, of which kept pixels are the boundary
/// values (Rong et al., "A Consistent and Efficient Evaluation Strategy for
/// Attribution Methods", ICML 2022). At the picture's border the weights of what
/// is missing are left out. Solved by conjugate gradients in f64 to a residual of
/// 1e-9.
///
/// ```
/// use limpid_explain::imputation::linear_imputation;
/// use limpid_tensor::Tensor;
/// let image = Tensor::new([1, 1, 4], vec![0.0, 7.0, 7.0, 3.0])?;
/// let filled = linear_imputation(&image, &[true, false, false, true])?;
/// assert!((filled.data()[1] - 1.0).abs() < 1e-6);
/// assert!((filled.data()[2] - 2.0).abs() < 1e-6);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
///
/// # Errors
/// When `keep` is not of the picture's `H * W` pixels or keeps none, or the
/// picture is not finite.
pub fn linear_imputation(image: &Tensor, keep: &[bool]) -> Result<Tensor, InputError> {
    let [channels, height, width] = InputError::picture(image.dims())?;
    InputError::check_length("the mask", height * width, keep.len())?;
    InputError::check_finite("the picture", image.data())?;
    let mut filled = image.clone();
    if keep.iter().all(|k| *k) || channels == 0 {
        return Ok(filled);
    }
    if !keep.contains(&true) {
        return Err(InputError::NothingKept);
    }
    let system = System::new(height, width, keep);
    for plane in filled.data_mut().chunks_mut(height * width) {
        system.fill(plane, keep)?;
    }
    Ok(filled)
}

/// [`linear_imputation`] with normal noise of standard deviation `scale`, in the
/// picture's units, on every pixel that was filled in; ROAD's is 0.01. The noise
/// is sample `sample` of the seed.
///
/// ```
/// use limpid_explain::imputation::{linear_imputation, noisy_linear_imputation};
/// use limpid_tensor::Tensor;
/// let image = Tensor::new([1, 1, 3], vec![0.0, 7.0, 2.0])?;
/// let keep = [true, false, true];
/// let noisy = noisy_linear_imputation(&image, &keep, 0.01, 7, 0)?;
/// assert_eq!(noisy.data()[0], 0.0);
/// assert!((noisy.data()[1] - 1.0).abs() < 0.1 && noisy.data()[1] != 1.0);
/// assert_eq!(noisy, noisy_linear_imputation(&image, &keep, 0.01, 7, 0)?);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
///
/// # Errors
/// As [`linear_imputation`], or when `scale` is negative or not finite.
pub fn noisy_linear_imputation(
    image: &Tensor,
    keep: &[bool],
    scale: f64,
    seed: u64,
    sample: u64,
) -> Result<Tensor, InputError> {
    if !(scale >= 0.0 && scale.is_finite()) {
        return Err(InputError::invalid(
            "the noise",
            "finite, at least 0",
            scale,
        ));
    }
    let mut filled = linear_imputation(image, keep)?;
    let key = philox::key(seed);
    let sample = philox::key(sample);
    for (quad, values) in (0u32..).zip(filled.data_mut().chunks_mut(4)) {
        let noise = philox::normal4(key, STREAM, sample, quad);
        for (i, (value, noise)) in values.iter_mut().zip(noise).enumerate() {
            if !keep[(quad as usize * 4 + i) % keep.len()] {
                *value += (noise * scale) as f32;
            }
        }
    }
    Ok(filled)
}

/// The equations of the removed pixels: the sum of a pixel's weights times the
/// pixel, less the weighted removed neighbours, is the weighted kept ones. The
/// matrix is symmetric and positive definite. Planes have a border of one pixel
/// and are zero at kept pixels, so that one stencil serves every pixel.
struct System {
    height: usize,
    width: usize,
    /// 1 where a pixel is removed.
    removed: Vec<f64>,
    /// The sum of a removed pixel's weights.
    diagonal: Vec<f64>,
    preconditioner: Pyramid,
}

impl System {
    fn new(height: usize, width: usize, keep: &[bool]) -> Self {
        let mut system = Self {
            height,
            width,
            removed: Vec::new(),
            diagonal: Vec::new(),
            preconditioner: Pyramid(Vec::new()),
        };
        system.removed = system.padded(|i| f64::from(u8::from(!keep[i])));
        let weights = |plane: &[f64]| {
            let mut weights = vec![0.0; plane.len()];
            system.neighbours(plane, &mut weights);
            weights
                .iter()
                .zip(&system.removed)
                .map(|(w, r)| w * r)
                .collect::<Vec<_>>()
        };
        let diagonal = weights(&system.padded(|_| 1.0));
        let kept = weights(&system.padded(|i| f64::from(u8::from(keep[i]))));
        system.preconditioner = Pyramid::new([height + 2, width + 2], &diagonal, kept);
        system.diagonal = diagonal;
        system
    }

    fn padded(&self, value: impl Fn(usize) -> f64) -> Vec<f64> {
        let stride = self.width + 2;
        let mut plane = vec![0.0; (self.height + 2) * stride];
        for y in 0..self.height {
            for x in 0..self.width {
                plane[(y + 1) * stride + x + 1] = value(y * self.width + x);
            }
        }
        plane
    }

    /// The weighted sum of each pixel's neighbours.
    fn neighbours(&self, plane: &[f64], out: &mut [f64]) {
        let stride = self.width + 2;
        for y in 1..=self.height {
            let row = |y: usize| &plane[y * stride..][..stride];
            let (above, here, below) = (row(y - 1), row(y), row(y + 1));
            let out = &mut out[y * stride..][..stride];
            for x in 1..=self.width {
                let direct = above[x] + below[x] + here[x - 1] + here[x + 1];
                let diagonal = above[x - 1] + above[x + 1] + below[x - 1] + below[x + 1];
                out[x] = DIRECT * direct + DIAGONAL * diagonal;
            }
        }
    }

    fn fill(&self, plane: &mut [f32], keep: &[bool]) -> Result<(), InputError> {
        // Away from the mean of what is kept there is less to round.
        let kept = || plane.iter().zip(keep).filter(|(_, keep)| **keep);
        let mean = kept().map(|(v, _)| f64::from(*v)).sum::<f64>() / kept().count() as f64;
        let known = self.padded(|i| match keep[i] {
            true => f64::from(plane[i]) - mean,
            false => 0.0,
        });
        let mut right = vec![0.0; known.len()];
        self.neighbours(&known, &mut right);
        right
            .iter_mut()
            .zip(&self.removed)
            .for_each(|(b, r)| *b *= r);
        let solution = self.solve(right)?;
        let stride = self.width + 2;
        for (i, value) in plane.iter_mut().enumerate().filter(|(i, _)| !keep[*i]) {
            let (y, x) = (i / self.width + 1, i % self.width + 1);
            *value = (solution[y * stride + x] + mean) as f32;
        }
        Ok(())
    }

    /// Preconditioned conjugate gradients.
    fn solve(&self, right: Vec<f64>) -> Result<Vec<f64>, InputError> {
        const ITERATIONS: usize = 2000;
        let n = right.len();
        let mut solution = vec![0.0; n];
        let mut residual = right;
        let goal = TOLERANCE * dot(&residual, &residual).sqrt();
        let mut direction = vec![0.0; n];
        let mut image = vec![0.0; n];
        let mut levels = self.preconditioner.levels();
        let mut energy = 0.0;
        for _ in 0..ITERATIONS {
            if dot(&residual, &residual).sqrt() <= goal {
                return Ok(solution);
            }
            let smooth = self.preconditioner.apply(&residual, &mut levels);
            smooth
                .iter_mut()
                .zip(&self.removed)
                .for_each(|(s, r)| *s *= r);
            let last = energy;
            energy = dot(&residual, smooth);
            let keep = if last > 0.0 { energy / last } else { 0.0 };
            direction
                .iter_mut()
                .zip(&*smooth)
                .for_each(|(d, s)| *d = s + keep * *d);
            self.neighbours(&direction, &mut image);
            for (((out, d), w), r) in image
                .iter_mut()
                .zip(&direction)
                .zip(&self.diagonal)
                .zip(&self.removed)
            {
                *out = w * d - r * *out;
            }
            let step = energy / dot(&direction, &image);
            solution
                .iter_mut()
                .zip(&direction)
                .for_each(|(s, d)| *s += step * d);
            residual
                .iter_mut()
                .zip(&image)
                .for_each(|(r, a)| *r -= step * a);
        }
        Err(InputError::NotConverged {
            what: "the imputation",
            iterations: ITERATIONS,
        })
    }
}

/// The preconditioner of Bramble, Pasciak and Xu, "Parallel Multilevel
/// Preconditioners" (1990): a residual divided by the diagonal on grids of ever
/// half the size, all of it added. The number of iterations hardly grows with
/// the size of a hole. A coarse grid's function is a bilinear hat.
struct Pyramid(Vec<Level>);

struct Level {
    size: [usize; 2],
    /// One over the diagonal of the equations on this grid.
    inverse: Vec<f64>,
}

impl Pyramid {
    /// For the equations' diagonal, and `kept`, the part of it that belongs to
    /// kept neighbours.
    fn new(size: [usize; 2], diagonal: &[f64], kept: Vec<f64>) -> Self {
        let invert = |d: &f64| if *d > 0.0 { 1.0 / d } else { 0.0 };
        let inverse = diagonal.iter().map(invert).collect();
        let mut levels = vec![Level { size, inverse }];
        let (mut fine, mut kept) = (size, kept);
        while fine.iter().any(|n| *n > 2) {
            let size = fine.map(|n| if n > 2 { n / 2 + 1 } else { n });
            let mut coarse = vec![0.0; size[0] * size[1]];
            restrict(&kept, fine, &mut coarse, size);
            // The energy of a hat h: 1/3 of its squared gradient's integral,
            // 8/3, and the weights of kept pixels under h^2, about 4/9 of those
            // under h.
            let diagonal = |k: &f64| 1.0 / (8.0 / 9.0 + 4.0 / 9.0 * k);
            let inverse = coarse.iter().map(diagonal).collect();
            levels.push(Level { size, inverse });
            (fine, kept) = (size, coarse);
        }
        Self(levels)
    }

    fn levels(&self) -> Vec<Vec<f64>> {
        self.0
            .iter()
            .map(|level| vec![0.0; level.inverse.len()])
            .collect()
    }

    fn apply<'a>(&self, residual: &[f64], levels: &'a mut [Vec<f64>]) -> &'a mut [f64] {
        levels[0].copy_from_slice(residual);
        for (i, pair) in self.0.windows(2).enumerate() {
            let (fine, coarse) = levels.split_at_mut(i + 1);
            restrict(&fine[i], pair[0].size, &mut coarse[0], pair[1].size);
        }
        for i in (0..self.0.len()).rev() {
            let (fine, coarse) = levels.split_at_mut(i + 1);
            let (fine, level) = (&mut fine[i], &self.0[i]);
            fine.iter_mut()
                .zip(&level.inverse)
                .for_each(|(v, d)| *v *= d);
            if let (Some(coarse), Some(below)) = (coarse.first(), self.0.get(i + 1)) {
                interpolate(coarse, below.size, fine, level.size);
            }
        }
        &mut levels[0]
    }
}

/// The sums of a fine grid under the hats of a coarse one: the transpose of
/// [`interpolate`].
fn restrict(fine: &[f64], [height, width]: [usize; 2], coarse: &mut [f64], to: [usize; 2]) {
    let mut line = vec![0.0; width];
    let (tall, wide) = (to[0] < height, to[1] < width);
    for (j, out) in coarse.chunks_exact_mut(to[1]).enumerate() {
        let row = |y: usize| fine.get(y * width..(y + 1) * width);
        line.fill(0.0);
        let add = |line: &mut [f64], row: Option<&[f64]>, weight: f64| {
            let row = row.unwrap_or_default();
            line.iter_mut().zip(row).for_each(|(l, v)| *l += weight * v);
        };
        if tall {
            add(&mut line, row(2 * j), 1.0);
            add(&mut line, row(2 * j + 1), 0.5);
            add(&mut line, (2 * j).checked_sub(1).and_then(row), 0.5);
        } else {
            add(&mut line, row(j), 1.0);
        }
        if !wide {
            out.copy_from_slice(&line);
            continue;
        }
        let mut before = 0.0;
        for (out, pair) in out.iter_mut().zip(line.chunks(2).chain([&[][..]])) {
            let (here, after) = match pair {
                [here, after] => (*here, *after),
                [here] => (*here, 0.0),
                _ => (0.0, 0.0),
            };
            *out = here + 0.5 * (before + after);
            before = after;
        }
    }
}

/// Adds a coarse grid to a fine one, bilinearly: the coarse grid's points are
/// every second of the fine grid's, the last one maybe beyond it.
fn interpolate(coarse: &[f64], from: [usize; 2], fine: &mut [f64], [height, width]: [usize; 2]) {
    let mut line = vec![0.0; from[1]];
    let (tall, wide) = (from[0] < height, from[1] < width);
    for (y, out) in fine.chunks_exact_mut(width).enumerate() {
        let row = |j: usize| &coarse[j * from[1]..][..from[1]];
        if tall {
            let (above, below) = (row(y / 2), row(y.div_ceil(2)));
            let pairs = above.iter().zip(below);
            line.iter_mut()
                .zip(pairs)
                .for_each(|(l, (a, b))| *l = 0.5 * (a + b));
        } else {
            line.copy_from_slice(row(y));
        }
        if wide {
            for (i, pair) in out.chunks_mut(2).enumerate() {
                pair[0] += line[i];
                if let Some(odd) = pair.get_mut(1) {
                    *odd += 0.5 * (line[i] + line[i + 1]);
                }
            }
        } else {
            out.iter_mut().zip(&line).for_each(|(v, l)| *v += l);
        }
    }
}

/// In eight sums, which a compiler can put into vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (mut a, mut b) = (a.chunks_exact(8), b.chunks_exact(8));
    for (a, b) in a.by_ref().zip(b.by_ref()) {
        for ((s, a), b) in sums.iter_mut().zip(a).zip(b) {
            *s += a * b;
        }
    }
    let rest = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b);
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regions::tests::{array, fixture};
    use safetensors::SafeTensors;

    #[test]
    fn equals_a_direct_solution() {
        let bytes = fixture("imputation/imputation.safetensors");
        let file = SafeTensors::deserialize(&bytes).unwrap();
        for name in ["random", "blob", "corner", "half", "line"] {
            let (shape, image) = array(&file, &format!("{name}.image"));
            let (_, keep) = array(&file, &format!("{name}.keep"));
            let (_, expected) = array(&file, &format!("{name}.filled"));
            let image = Tensor::new(shape, image.iter().map(|v| *v as f32).collect()).unwrap();
            let keep: Vec<bool> = keep.iter().map(|k| *k == 1.0).collect();
            let filled = linear_imputation(&image, &keep).unwrap();
            let norm = |v: f64, sum: f64| sum + v * v;
            let (mut error, mut size) = (0.0, 0.0);
            for (i, (a, b)) in filled.data().iter().zip(&expected).enumerate() {
                if keep[i % keep.len()] {
                    assert_eq!(f64::from(*a), *b);
                } else {
                    error = norm(f64::from(*a) - b, error);
                    size = norm(*b, size);
                }
            }
            assert!(
                error.sqrt() <= 1e-6 * size.sqrt(),
                "{name}: {}",
                (error / size).sqrt()
            );
        }
    }

    #[test]
    fn restriction_is_the_transpose_of_interpolation() {
        let values = |n: usize, k: usize| -> Vec<f64> {
            (0..n).map(|i| ((i * k + 3) % 17) as f64 - 8.0).collect()
        };
        for from in [[3, 4], [5, 2], [2, 9], [12, 7], [3, 3]] {
            let to = from.map(|n| if n > 2 { n / 2 + 1 } else { n });
            let (fine, coarse) = (values(from[0] * from[1], 7), values(to[0] * to[1], 5));
            let mut up = vec![0.0; fine.len()];
            interpolate(&coarse, to, &mut up, from);
            let mut down = vec![0.0; coarse.len()];
            restrict(&fine, from, &mut down, to);
            assert!((dot(&up, &fine) - dot(&down, &coarse)).abs() < 1e-9);
            // A constant is interpolated as it is.
            let mut up = vec![0.0; fine.len()];
            interpolate(&vec![1.0; coarse.len()], to, &mut up, from);
            assert!(up.iter().all(|v| *v == 1.0), "{from:?} {up:?}");
        }
    }

    #[test]
    fn a_linear_picture_is_restored_inside() {
        let (h, w) = (12usize, 17usize);
        let value = |i: usize| (i / w) as f32 * 0.5 - (i % w) as f32;
        let image = Tensor::new([1, h, w], (0..h * w).map(value).collect()).unwrap();
        let border = |i: usize| (i / w).is_multiple_of(h - 1) || (i % w).is_multiple_of(w - 1);
        let keep: Vec<bool> = (0..h * w).map(border).collect();
        let filled = linear_imputation(&image, &keep).unwrap();
        for (a, b) in filled.data().iter().zip(image.data()) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    #[test]
    fn noise_is_on_what_was_filled_alone_and_has_its_scale() {
        let image = Tensor::zeros([3, 41, 37]).unwrap();
        let keep: Vec<bool> = (0..41 * 37).map(|i| i % 5 == 0).collect();
        let noisy = noisy_linear_imputation(&image, &keep, 0.01, 3, 9).unwrap();
        let mut squares = Vec::new();
        for (i, v) in noisy.data().iter().enumerate() {
            match keep[i % keep.len()] {
                true => assert_eq!(*v, 0.0),
                false => squares.push(f64::from(*v).powi(2)),
            }
        }
        let deviation = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
        assert!((deviation / 0.01 - 1.0).abs() < 0.05);
        let other = noisy_linear_imputation(&image, &keep, 0.01, 3, 10).unwrap();
        assert_ne!(noisy, other);
        assert!(noisy_linear_imputation(&image, &keep, f64::NAN, 3, 9).is_err());
    }

    #[test]
    fn refuses_what_cannot_be_filled() {
        let image = Tensor::zeros([1, 2, 2]).unwrap();
        assert!(matches!(
            linear_imputation(&image, &[false; 4]),
            Err(InputError::NothingKept)
        ));
        assert!(linear_imputation(&image, &[true; 3]).is_err());
        assert_eq!(linear_imputation(&image, &[true; 4]).unwrap(), image);
        for dims in [[3, 1, 1], [3, 0, 5], [0, 4, 4]] {
            let image = Tensor::zeros(dims).unwrap();
            let keep = vec![true; dims[1] * dims[2]];
            assert_eq!(linear_imputation(&image, &keep).unwrap(), image);
        }
        let broken = Tensor::new([1, 1, 2], vec![f32::NAN, 1.0]).unwrap();
        assert!(linear_imputation(&broken, &[false, true]).is_err());
    }
}
