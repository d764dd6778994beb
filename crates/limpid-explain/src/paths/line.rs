use super::{Fragment, Path, positions};
use crate::{ExplainError, Sample};
use limpid_graph::ops::{Add, Mul, Sub};
use limpid_graph::{Fact, Graph, ValueId};
use limpid_tensor::Tensor;

/// The straight line from a baseline (position 0) to the picture (position 1).
#[derive(Debug, Clone)]
pub struct Line {
    baseline: Tensor,
}

impl Line {
    /// From `baseline`, `[C, H, W]`.
    #[must_use]
    pub fn from(baseline: Tensor) -> Self {
        Self { baseline }
    }
}

impl Path for Line {
    fn build(&self, graph: &mut Graph, x: ValueId, batch: usize) -> Result<Fragment, ExplainError> {
        let shape = [&[1], self.baseline.dims()].concat();
        let baseline = graph.input("baseline", Fact::f32(shape));
        let position = graph.input("position", Fact::f32([batch, 1, 1, 1]));
        let velocity = graph.push("path.velocity", Sub {}, &[x, baseline])?[0];
        let step = graph.push("path.step", Mul {}, &[velocity, position])?[0];
        let point = graph.push("path.point", Add {}, &[baseline, step])?[0];
        Ok(Fragment {
            point,
            velocity: Some(velocity),
            reference: Some(baseline),
            statics: vec![baseline],
            controls: vec![position],
        })
    }

    fn statics(&self) -> Vec<&Tensor> {
        vec![&self.baseline]
    }

    fn controls(&self, samples: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        Ok(vec![positions(samples)])
    }

    fn ends(&self) -> Option<[f64; 2]> {
        Some([1.0, 0.0])
    }
}
