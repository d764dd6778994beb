use super::{Cost, Operator, Residual, arity, count, image, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// Gaussian blur by the heat equation, and its derivative.
///
/// Inputs: x `[1 or N, C, H, W]`; sigma `[N]`, standard deviations in pixels.
/// Outputs, both `[N, C, H, W]`: the blurred image L and dL/dsigma.
///
/// With half-sample reflection at the border (scipy's `reflect`) the heat
/// kernel is diagonal in the DCT-II: mode (k, l) has frequency
/// w^2 = (pi k / H)^2 + (pi l / W)^2 and is multiplied by exp(-t w^2 / 2),
/// t = sigma^2. The derivative with respect to sigma, 2 sigma dL/dt, has the
/// multiplier -sigma w^2 exp(-t w^2 / 2): exact, no finite difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeatKernel {}

impl HeatKernel {
    /// The orthonormal DCT-II basis of `n` points, row k being mode k.
    #[must_use]
    pub fn basis(n: usize) -> Vec<f64> {
        (0..n * n)
            .map(|at| Self::mode(n, at / n, at % n))
            .collect()
    }

    /// Mode `k` of the orthonormal DCT-II of `n` points, at point `i`; `k` and
    /// `i` are below `n`, and `n` is at most 2^31.
    #[must_use]
    pub fn mode(n: usize, k: usize, i: usize) -> f64 {
        let scale = ((if k == 0 { 1.0 } else { 2.0 }) / n as f64).sqrt();
        // The angle pi k (2i + 1) / (2n), reduced exactly before the cosine.
        let turn = (k * (2 * i + 1)) % (4 * n);
        scale * (std::f64::consts::PI * turn as f64 / (2 * n) as f64).cos()
    }

    /// The squared angular frequencies of the modes of `n` points.
    #[must_use]
    pub fn frequencies(n: usize) -> Vec<f64> {
        (0..n)
            .map(|k| (std::f64::consts::PI * k as f64 / n as f64).powi(2))
            .collect()
    }
}

impl Operator for HeatKernel {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "2", |n| n == 2)?;
        let [batch, c, h, w] = image(inputs, 0)?;
        typed(inputs, 1, limpid_tensor::DType::F32)?;
        shaped(inputs, 1, "[N]", inputs[1].shape.len() == 1)?;
        let n = inputs[1].shape[0];
        let fits = batch == 1 || batch == n;
        shaped(inputs, 0, format!("of 1 or {n} images"), fits)?;
        let out = Fact::f32([n, c, h, w]);
        Ok(vec![out.clone(), out])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (x, sigmas) = (inputs[0], &inputs[1].data);
        let [_, c, h, w] = [0, 1, 2, 3].map(|i| x.shape[i]);
        let (rows, columns) = (Self::basis(h), Self::basis(w));
        let (wy, wx) = (Self::frequencies(h), Self::frequencies(w));
        let shape = [sigmas.len(), c, h, w];
        let mut blurred = RefTensor::from_fn(shape, |_| 0.0);
        let mut slope = blurred.clone();
        for (plane, (out, slope)) in blurred
            .data
            .chunks_mut(h * w)
            .zip(slope.data.chunks_mut(h * w))
            .enumerate()
        {
            let sigma = sigmas[plane / c];
            let source = plane * h * w % x.data.len();
            let modes = transform(&x.data[source..][..h * w], &rows, &columns, [h, w], false);
            let filter = |times: &dyn Fn(f64) -> f64| {
                let modes: Vec<f64> = (0..h * w)
                    .map(|i| modes[i] * times(wy[i / w] + wx[i % w]))
                    .collect();
                transform(&modes, &rows, &columns, [h, w], true)
            };
            let decay = |f: f64| (-0.5 * sigma * sigma * f).exp();
            out.copy_from_slice(&filter(&decay));
            slope.copy_from_slice(&filter(&|f| -sigma * f * decay(f)));
        }
        vec![blurred, slope]
    }

    fn residual(&self, input: usize) -> Residual {
        if input == 0 { Residual::None } else { Residual::Value }
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        if input != 0 {
            return Err(cx.no_gradient(input));
        }
        // Both maps are symmetric: they are their own transposes.
        let sigma = cx.control_input(1)?;
        let mut total = None;
        for output in 0..2 {
            if let Some(g) = cx.cotangent_of(output) {
                let both = cx.push_all(*self, &[g, sigma])?;
                total = Some(match total {
                    None => both[output],
                    Some(sum) => cx.push(super::Add {}, &[sum, both[output]])?,
                });
            }
        }
        let g = total.ok_or_else(|| cx.no_gradient(0))?;
        cx.sum_to_input(g, 0)
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        let (h, w) = (outputs[0].shape[2] as u64, outputs[0].shape[3] as u64);
        // Forward transform once, back twice; less where modes are negligible.
        Cost::multiply_adds(count(&outputs[0].shape).saturating_mul(3 * (h + w)))
    }

    fn linear(&self, input: usize) -> bool {
        input == 0
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        [([1, 3, 17, 9], 3), ([2, 1, 7, 33], 2), ([1, 3, 32, 32], 1), ([1, 1, 1, 1], 2)]
            .into_iter()
            .map(|(x, n)| {
                let inputs = vec![CaseInput::variable(&x), CaseInput::positive(&[n])];
                Case::new(format!("heat kernel {x:?} {n}"), Self {}, inputs)
            })
            .collect()
    }
}

/// `rows * x * columns^T`, or with both transposed the way back.
fn transform(x: &[f64], rows: &[f64], columns: &[f64], [h, w]: [usize; 2], back: bool) -> Vec<f64> {
    let at = |m: &[f64], n: usize, i: usize, j: usize| if back { m[j * n + i] } else { m[i * n + j] };
    let mut half = vec![0.0; h * w];
    for i in 0..h {
        for j in 0..h {
            let factor = at(rows, h, i, j);
            for (out, v) in half[i * w..][..w].iter_mut().zip(&x[j * w..][..w]) {
                *out += factor * v;
            }
        }
    }
    (0..h * w)
        .map(|i| {
            (0..w)
                .map(|j| half[i / w * w + j] * at(columns, w, i % w, j))
                .sum()
        })
        .collect()
}
