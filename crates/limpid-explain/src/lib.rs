//! Explainers: which part of a picture a score depends on.
//!
//! A gradient method is composed of a [`Path`] (what is varied), a
//! [`Schedule`] (which points, how much noise), the estimator that the
//! [`Context`] runs (points become a sum on the device) and a [`Reduce`] (how
//! noisy maps become one). A class activation map reads one layer. Both see
//! the model through [`Context`] alone.
#![forbid(unsafe_code)]

mod attribution;
mod context;
mod error;
mod estimators;
pub mod imputation;
mod input_error;
pub mod methods;
pub mod metrics;
mod objective;
mod params;
pub mod paths;
pub mod pic;
mod quadrature;
pub mod ranking;
pub mod regions;
pub mod regression;
pub mod sampling;
mod smoothing;

pub use attribution::{Attribution, Completeness, Domain, Evaluations};
pub use context::{
    Accumulation, Attention, Attentions, Context, DeviceTensor, Gradients, Integration,
    LayerGradients, LayerVariants, Limits, ModelInfo, Noise, Passed, Passes, Pictures, Planner,
    Points, Reduce, Sample, Schedule, Subject, Sums, Vary, Visit, Weighted,
};
pub use error::ExplainError;
pub use estimators::{Quadrature, Weighting};
pub use input_error::InputError;
pub use objective::{Objective, Readout};
pub use params::{Given, ParamInfo, ParamKind, ParamValue, Parameters};
pub use paths::{Fragment, Path};
pub use quadrature::{Node, Rule};
pub use sampling::Joint;
pub use smoothing::{SampleBy, SmoothGrad, Smoothed};

use limpid_tensor::Tensor;

/// What is to be explained.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The normalised input, `[C, H, W]`.
    pub image: &'a Tensor,
    /// The scores; there is a map for each.
    pub objectives: &'a [Objective],
    /// The seed of everything random.
    pub seed: u64,
}

/// A method that explains scores. Built-in methods and plugins implement this
/// same trait.
pub trait Explainer: Send + Sync {
    /// The method's id, as the option `--method` takes it.
    fn id(&self) -> &str;

    /// Whether noise is averaged over around it by `--smooth`.
    fn is_smoothed(&self) -> bool {
        false
    }

    /// Whether it explains the model of the context that it is given. One that
    /// runs in another process, with a model of its own, cannot explain a model
    /// whose weights were changed.
    fn uses_context(&self) -> bool {
        true
    }

    /// Every parameter's effective value for a model and an input of `[C, H, W]`;
    /// a method without any has none.
    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        Parameters::new()
    }

    /// A map for each objective, in their order.
    ///
    /// # Errors
    /// When the model has no such gradient, a result is not finite, or the run
    /// was cancelled.
    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError>;
}
