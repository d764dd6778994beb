use super::{Fragment, Path};
use crate::{ExplainError, Sample};
use limpid_graph::ops::{Add, Mul, Sub};
use limpid_graph::{Fact, Graph, ValueId};
use limpid_tensor::Tensor;

/// Pictures of which a mask hides parts: where it is 1 they are the picture,
/// where it is 0 another one. Draw i has mask i; the position is not used.
pub struct Masked<F> {
    hidden: Tensor,
    mask: F,
}

impl<F: Fn(u64, &mut [f32]) + Send + Sync> Masked<F> {
    /// Where `hidden`, `[C, H, W]`, shows through. `mask` writes a draw's mask,
    /// `[H, W]`, over zeros.
    #[must_use]
    pub fn new(hidden: Tensor, mask: F) -> Self {
        Self { hidden, mask }
    }
}

impl<F: Fn(u64, &mut [f32]) + Send + Sync> Path for Masked<F> {
    fn build(&self, graph: &mut Graph, x: ValueId, batch: usize) -> Result<Fragment, ExplainError> {
        let shape = [&[1], self.hidden.dims()].concat();
        let [height, width] = [shape[2], shape[3]];
        let hidden = graph.input("hidden", Fact::f32(shape));
        let mask = graph.input("mask", Fact::f32([batch, 1, height, width]));
        let difference = graph.push("path.difference", Sub {}, &[x, hidden])?[0];
        let shown = graph.push("path.shown", Mul {}, &[difference, mask])?[0];
        let point = graph.push("path.point", Add {}, &[hidden, shown])?[0];
        Ok(Fragment {
            point,
            velocity: None,
            reference: None,
            statics: vec![hidden],
            controls: vec![mask],
        })
    }

    fn statics(&self) -> Vec<&Tensor> {
        vec![&self.hidden]
    }

    fn controls(&self, samples: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        let plane = self.hidden.dims()[1] * self.hidden.dims()[2];
        let mut masks = vec![0.0; samples.len() * plane];
        for (sample, mask) in samples.iter().zip(masks.chunks_mut(plane.max(1))) {
            (self.mask)(sample.draw, mask);
        }
        Ok(vec![masks])
    }
}
