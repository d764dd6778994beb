//! Paths: what is varied between the picture and its baseline.
//!
//! A path is a fragment of a graph, laid before the model's, so that points
//! are made where the model runs.

mod blur;
mod constant;
mod line;
mod masked;
mod mixture;
mod pictures;
mod spectrum;

pub use blur::{HeatBlur, ZeroBorderBlur};
pub use constant::{Constant, TimesInput};
pub use line::Line;
pub use masked::Masked;
pub(crate) use mixture::uniform_noise;
pub use mixture::{Baselines, Mixture};
pub use pictures::Stack;
pub use spectrum::Spectrum;

use crate::{ExplainError, Sample};
use limpid_graph::{Graph, ValueId};
use limpid_tensor::Tensor;

/// The part of a graph that makes a path's points.
#[derive(Debug, Clone)]
pub struct Fragment {
    /// The points, `[N, C, H, W]` (or `[1, C, H, W]` where nothing varies).
    pub point: ValueId,
    /// Their derivatives with respect to the position, broadcastable to the
    /// points; `None` stands for one.
    pub velocity: Option<ValueId>,
    /// Where activations are compared with, for the rule
    /// [`DeepLift`](limpid_graph::passes::Rule): `[1, C, H, W]`.
    pub reference: Option<ValueId>,
    /// Inputs that take a path's [`statics`](Path::statics).
    pub statics: Vec<ValueId>,
    /// Inputs that take a path's [`controls`](Path::controls).
    pub controls: Vec<ValueId>,
}

/// A path through the space of inputs.
pub trait Path: Send + Sync {
    /// Appends the nodes that make `batch` points out of `x`, which is
    /// `[1 or batch, C, H, W]`.
    ///
    /// # Errors
    /// When an operator refuses the shapes.
    fn build(&self, graph: &mut Graph, x: ValueId, batch: usize) -> Result<Fragment, ExplainError>;

    /// Tensors that do not depend on the position.
    fn statics(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    /// The values of the control inputs at these points, in C order.
    ///
    /// # Errors
    /// When a picture that a point needs cannot be read.
    fn controls(&self, samples: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError>;

    /// The position of the picture itself and that of the path's other end.
    /// `None` where nothing varies.
    fn ends(&self) -> Option<[f64; 2]> {
        None
    }
}

/// The positions of points as a control input takes them.
fn positions(samples: &[Sample]) -> Vec<f32> {
    samples.iter().map(|s| s.position as f32).collect()
}
