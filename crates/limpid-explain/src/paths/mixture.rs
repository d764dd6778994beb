use super::{Fragment, Path, positions};
use crate::sampling::{BASELINES, stratified};
use crate::{ExplainError, Pictures, Sample};
use limpid_graph::ops::{Add, Mul, Sub};
use limpid_graph::{Fact, Graph, ValueId};
use limpid_tensor::philox;
use std::sync::Arc;

/// The stream of random numbers that baselines of noise take; the noise of
/// SmoothGrad takes stream 0.
pub(crate) const BASELINE_STREAM: u32 = 1;

/// What the baselines of a [`Mixture`] are drawn from.
#[derive(Clone)]
pub enum Baselines {
    /// Uniform noise between two colours, one number for each channel.
    Noise {
        /// The colour that is 0.
        low: Vec<f32>,
        /// The colour that is 1.
        high: Vec<f32>,
    },
    /// The pictures of a folder, each as often as the others.
    Pictures(Arc<dyn Pictures>),
}

/// Straight lines from baselines (position 0) to the picture (position 1):
/// each draw has a baseline of its own, which depends on the seed and the draw.
#[derive(Clone)]
pub struct Mixture {
    /// What baselines are drawn from.
    pub baselines: Baselines,
    /// `[C, H, W]`.
    pub shape: [usize; 3],
    /// The seed.
    pub seed: u64,
}

impl Mixture {
    /// Appends the baseline of a draw, `[C, H, W]` in C order.
    fn baseline(&self, draw: u64, into: &mut Vec<f32>) -> Result<(), ExplainError> {
        let plane = self.shape[1] * self.shape[2];
        match &self.baselines {
            Baselines::Noise { low, high } => {
                into.extend(uniform_noise(low, high, plane, self.seed, draw));
            }
            Baselines::Pictures(pictures) => {
                let x = stratified(self.seed, BASELINES, draw);
                let count = pictures.count();
                let index = ((x * count as f64) as usize).min(count - 1);
                into.extend_from_slice(pictures.picture(index)?.data());
            }
        }
        Ok(())
    }
}

/// Uniform noise `[C, H, W]` between two colours: sample `draw` of the seed.
pub(crate) fn uniform_noise<'a>(
    low: &'a [f32],
    high: &'a [f32],
    plane: usize,
    seed: u64,
    draw: u64,
) -> impl Iterator<Item = f32> + 'a {
    let (key, sample) = (philox::key(seed), philox::key(draw));
    let mut four = [0.0; 4];
    (0..low.len() * plane).map(move |i| {
        if i % 4 == 0 {
            four = philox::uniform4(key, BASELINE_STREAM, sample, (i / 4) as u32);
        }
        let (lo, hi) = (f64::from(low[i / plane]), f64::from(high[i / plane]));
        (lo + (hi - lo) * four[i % 4]) as f32
    })
}

impl Path for Mixture {
    fn build(&self, graph: &mut Graph, x: ValueId, batch: usize) -> Result<Fragment, ExplainError> {
        let shape = [&[batch], &self.shape[..]].concat();
        let baseline = graph.input("baselines", Fact::f32(shape));
        let position = graph.input("position", Fact::f32([batch, 1, 1, 1]));
        let velocity = graph.push("path.velocity", Sub {}, &[x, baseline])?[0];
        let step = graph.push("path.step", Mul {}, &[velocity, position])?[0];
        let point = graph.push("path.point", Add {}, &[baseline, step])?[0];
        Ok(Fragment {
            point,
            velocity: Some(velocity),
            reference: None,
            statics: Vec::new(),
            controls: vec![baseline, position],
        })
    }

    fn controls(&self, samples: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        let size: usize = self.shape.iter().product();
        let mut baselines = Vec::with_capacity(size * samples.len());
        for sample in samples {
            self.baseline(sample.draw, &mut baselines)?;
        }
        Ok(vec![baselines, positions(samples)])
    }

    fn ends(&self) -> Option<[f64; 2]> {
        Some([1.0, 0.0])
    }
}
