//! The built-in methods, and how they are made from names and parameters.

mod blur_ig;
mod grad_cam;
mod gradient;
mod integrated_gradients;
mod registry;

pub use blur_ig::{BlurIntegratedGradients, Mode, Variable};
pub use grad_cam::GradCam;
pub use gradient::Gradient;
pub use integrated_gradients::{Baseline, IntegratedGradients};
pub use registry::{MethodInfo, build, info, list};

use crate::{Context, ExplainError, Explainer, Node, Path, Request, SmoothGrad, Smoothed};

/// A method that sums gradients along a path; what the trait's methods return
/// is all that makes it different from the others.
pub trait GradientMethod: Explainer + Sized {
    /// The path for this picture, and its nodes. A node's weight holds the
    /// sign and the measure of the path's variable.
    ///
    /// # Errors
    /// When a baseline cannot be made.
    fn path(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<(Box<dyn Path>, Vec<Node>), ExplainError>;

    /// The same method, averaged over noise.
    fn smoothed(self, smoothing: SmoothGrad) -> Smoothed<Self> {
        Smoothed {
            method: self,
            smoothing,
        }
    }
}
