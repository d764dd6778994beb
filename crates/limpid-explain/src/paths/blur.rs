use super::{Fragment, Path, positions};
use crate::{ExplainError, Sample};
use limpid_graph::ops::{HeatKernel, SeparableFilter};
use limpid_graph::{Fact, Graph, ValueId};

/// Gaussian blur by the heat equation with a reflecting border; the position
/// is the standard deviation in pixels. The derivative is exact.
///
/// Xu, Venugopalan and Sundararajan, "Attribution in scale and space" (CVPR
/// 2020), with the cosine transform in place of a sampled kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeatBlur {
    /// The standard deviation at the path's other end.
    pub max_sigma: f64,
}

impl Path for HeatBlur {
    fn build(&self, graph: &mut Graph, x: ValueId, batch: usize) -> Result<Fragment, ExplainError> {
        let sigma = graph.input("sigma", Fact::f32([batch]));
        let out = graph.push("path.blur", HeatKernel {}, &[x, sigma])?;
        Ok(Fragment {
            point: out[0],
            velocity: Some(out[1]),
            reference: None,
            statics: Vec::new(),
            controls: vec![sigma],
        })
    }

    fn controls(&self, samples: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        Ok(vec![positions(samples)])
    }

    fn ends(&self) -> Option<[f64; 2]> {
        Some([0.0, self.max_sigma])
    }
}

/// Gaussian blur as PAIR's `saliency` library has it: scipy's
/// `gaussian_filter(mode="constant")`, a sampled kernel cut off at
/// int(4 sigma + 1/2) pixels, zeros outside the picture, and the forward
/// difference over `step` in place of the derivative.
///
/// With L = R x C^T the difference of two blurs is dR x M^T + N x dC^T, where
/// dR and dC are the differences of the matrices and N and M their means:
/// taken in f64 those lose nothing to cancellation, and the image can be f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ZeroBorderBlur {
    /// Height and width of the picture.
    pub size: [usize; 2],
    /// The standard deviation at the path's other end.
    pub max_sigma: f64,
    /// The step of the forward difference.
    pub step: f64,
}

impl ZeroBorderBlur {
    /// The kernel of scipy's `gaussian_filter1d` with `truncate=4`.
    fn kernel(sigma: f64) -> Vec<f64> {
        let radius = (4.0 * sigma + 0.5) as usize;
        let mut taps: Vec<f64> = (0..=2 * radius)
            .map(|i| {
                let x = i as f64 - radius as f64;
                if radius == 0 {
                    1.0
                } else {
                    (-0.5 * x * x / (sigma * sigma)).exp()
                }
            })
            .collect();
        let sum: f64 = taps.iter().sum();
        for t in &mut taps {
            *t /= sum;
        }
        taps
    }

    /// The matrix of the filter on `n` pixels.
    fn matrix(n: usize, sigma: f64) -> Vec<f64> {
        let taps = Self::kernel(sigma);
        let radius = taps.len() / 2;
        (0..n * n)
            .map(|at| {
                let distance = (at / n).abs_diff(at % n);
                if distance > radius {
                    0.0
                } else {
                    taps[radius + distance]
                }
            })
            .collect()
    }
}

impl Path for ZeroBorderBlur {
    fn build(&self, graph: &mut Graph, x: ValueId, batch: usize) -> Result<Fragment, ExplainError> {
        let [h, w] = self.size;
        let mut square = |name: &str, n: usize| graph.input(name, Fact::f32([batch, n, n]));
        let controls = vec![
            square("rows", h),
            square("columns", w),
            square("rows.mean", h),
            square("columns.mean", w),
            square("rows.difference", h),
            square("columns.difference", w),
        ];
        let [rows, columns, rows_mean, columns_mean, d_rows, d_columns] =
            <[ValueId; 6]>::try_from(&controls[..]).expect("six matrices");
        let value = [x, rows, columns, d_rows, d_columns];
        let point = graph.push("path.blur", SeparableFilter::default(), &value)?[0];
        let slope = [x, rows_mean, columns_mean, d_rows, d_columns];
        let velocity = graph.push("path.difference", SeparableFilter::default(), &slope)?[1];
        Ok(Fragment {
            point,
            velocity: Some(velocity),
            reference: None,
            statics: Vec::new(),
            controls,
        })
    }

    fn controls(&self, samples: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        let mut out = vec![Vec::new(); 6];
        for &Sample {
            position: sigma, ..
        } in samples
        {
            for (axis, &n) in self.size.iter().enumerate() {
                let near = Self::matrix(n, sigma);
                let far = Self::matrix(n, sigma + self.step);
                for (a, b) in near.iter().zip(&far) {
                    out[axis].push(*a as f32);
                    out[axis + 2].push((0.5 * (a + b)) as f32);
                    out[axis + 4].push(((b - a) / self.step) as f32);
                }
            }
        }
        Ok(out)
    }

    fn ends(&self) -> Option<[f64; 2]> {
        Some([0.0, self.max_sigma])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_is_scipys() {
        // scipy.ndimage._filters._gaussian_kernel1d(0.5, 0, 2)
        let expected = [
            0.000_263_865_082_737_365,
            0.106_450_771_973_591_43,
            0.786_570_725_887_342_2,
        ];
        let kernel = ZeroBorderBlur::kernel(0.5);
        assert_eq!(kernel.len(), 5);
        for (a, b) in kernel.iter().zip(expected) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
        assert_eq!(ZeroBorderBlur::kernel(0.1), [1.0]);
    }
}
