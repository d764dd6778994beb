use super::{Fragment, Path};
use crate::{ExplainError, Sample};
use limpid_graph::ops::{Add, MatMul, Mul};
use limpid_graph::{Fact, Graph, ValueId};
use limpid_tensor::Tensor;
use nalgebra::DMatrix;

/// From a baseline (position 0) to the picture (position 1) by the singular
/// values of their difference, channel by channel: the largest are switched on
/// first, each while its neighbours are, so that the path is smooth.
///
/// With the difference of a channel written as U S V', a point is the baseline
/// plus U G S V', where G holds the gates. The gate of a singular value s opens
/// linearly while the position runs through `overlap` of the path, beginning at
/// (1 - overlap) * (1 - s / the channel's largest), as in the code of Spectral
/// Integrated Gradients (KDD 2026).
#[derive(Debug, Clone)]
pub struct Spectrum {
    baseline: Tensor,
    /// U, `[1, C, H, K]`.
    left: Tensor,
    /// S V', `[1, C, K, W]`.
    right: Tensor,
    /// Where each gate begins to open, `[C, K]`.
    begin: Vec<f64>,
    overlap: f64,
}

impl Spectrum {
    /// The path between `baseline` and `image`, `[C, H, W]` both. `overlap`, in
    /// (0, 1], is the share of the path during which a gate opens.
    ///
    /// # Errors
    /// When memory is short, or a channel has no decomposition.
    pub fn between(image: &Tensor, baseline: Tensor, overlap: f64) -> Result<Self, ExplainError> {
        let [c, h, w] = [0, 1, 2].map(|i| image.dims()[i]);
        let k = h.min(w);
        let mut left = vec![0.0; c * h * k];
        let mut right = vec![0.0; c * k * w];
        let mut begin = Vec::with_capacity(c * k);
        for channel in 0..c {
            let at = |y: usize, x: usize| {
                let i = (channel * h + y) * w + x;
                f64::from(image.data()[i]) - f64::from(baseline.data()[i])
            };
            let svd = DMatrix::from_fn(h, w, at)
                .try_svd(true, true, f64::EPSILON, 10_000)
                .ok_or_else(|| ExplainError::NonFinite {
                    what: "the singular value decomposition of the picture".into(),
                })?;
            let (Some(u), Some(v)) = (&svd.u, &svd.v_t) else {
                unreachable!("both were asked for");
            };
            let largest = svd.singular_values.max().max(1e-10);
            for i in 0..k {
                begin.push((1.0 - overlap) * (1.0 - svd.singular_values[i] / largest));
                for y in 0..h {
                    left[(channel * h + y) * k + i] = u[(y, i)] as f32;
                }
                for x in 0..w {
                    right[(channel * k + i) * w + x] = (svd.singular_values[i] * v[(i, x)]) as f32;
                }
            }
        }
        Ok(Self {
            baseline,
            left: Tensor::new([1, c, h, k], left)?,
            right: Tensor::new([1, c, k, w], right)?,
            begin,
            overlap,
        })
    }

    /// How far a gate is open at `position`, and how fast it opens.
    fn gate(&self, begin: f64, position: f64) -> (f32, f32) {
        let open = (position - begin) / self.overlap;
        let opening = (0.0..1.0).contains(&open);
        let speed = if opening { 1.0 / self.overlap } else { 0.0 };
        (open.clamp(0.0, 1.0) as f32, speed as f32)
    }
}

impl Path for Spectrum {
    fn build(&self, graph: &mut Graph, _: ValueId, batch: usize) -> Result<Fragment, ExplainError> {
        let [c, k] = [self.left.dims()[1], self.left.dims()[3]];
        let shape = [&[1], self.baseline.dims()].concat();
        let baseline = graph.input("baseline", Fact::f32(shape));
        let left = graph.input("left", Fact::f32(self.left.dims()));
        let right = graph.input("right", Fact::f32(self.right.dims()));
        let gates = graph.input("gates", Fact::f32([batch, c, 1, k]));
        let speeds = graph.input("speeds", Fact::f32([batch, c, 1, k]));
        let mut part = |name: &str, gates| {
            let gated = graph.push(format!("{name}.gated"), Mul {}, &[left, gates])?[0];
            let product = graph.push(name, MatMul::default(), &[gated, right])?;
            Ok::<_, ExplainError>(product[0])
        };
        let (step, velocity) = (part("path.step", gates)?, part("path.velocity", speeds)?);
        let point = graph.push("path.point", Add {}, &[baseline, step])?[0];
        Ok(Fragment {
            point,
            velocity: Some(velocity),
            reference: None,
            statics: vec![baseline, left, right],
            controls: vec![gates, speeds],
        })
    }

    fn statics(&self) -> Vec<&Tensor> {
        vec![&self.baseline, &self.left, &self.right]
    }

    fn controls(&self, samples: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        let all = samples
            .iter()
            .flat_map(|s| self.begin.iter().map(|begin| self.gate(*begin, s.position)));
        let (open, speed) = all.unzip();
        Ok(vec![open, speed])
    }

    fn ends(&self) -> Option<[f64; 2]> {
        Some([1.0, 0.0])
    }
}
