//! The built-in methods, and how they are made from names and parameters.

mod attention;
mod baseline;
mod blur_ig;
pub mod cam;
mod deep_lift;
mod expected_gradients;
mod gradient;
mod gradient_x_input;
mod guided_ig;
mod integrated_gradients;
mod kernel_shap;
mod lime;
mod lrp;
mod occlusion;
mod perturb;
#[cfg(test)]
mod perturb_tests;
mod rectified;
mod registry;
mod rise;
mod sig;
mod xrai;

pub use attention::{AttentionRollout, GradientXAttention, Heads, TransformerRelevance};
pub use baseline::Baseline;
pub use blur_ig::{BlurIntegratedGradients, Mode, Variable};
pub use cam::{
    AblationCam, EigenCam, EigenGradCam, ElementWiseCam, Fuse, GradCam, GradCamPlusPlus, HiResCam,
    Kept, LayerCam, ReciproCam, ScoreCam, XGradCam,
};
pub use deep_lift::DeepLift;
pub use expected_gradients::ExpectedGradients;
pub use gradient::Gradient;
pub use gradient_x_input::GradientXInput;
pub use guided_ig::GuidedIntegratedGradients;
pub use integrated_gradients::IntegratedGradients;
pub use kernel_shap::KernelShap;
pub use lime::{Lime, Regression};
pub use lrp::{Composite, LayerwiseRelevance};
pub use occlusion::Occlusion;
pub use perturb::Superpixels;
pub use rectified::{Deconvnet, GuidedBackprop};
pub use registry::{Build, MethodInfo, boxed, build, find, info, list, smoothing};
pub use rise::Rise;
pub use sig::SpectralIntegratedGradients;
pub use xrai::Xrai;

use crate::{
    Context, ExplainError, Explainer, Node, Path, Quadrature, Request, Rule, SmoothGrad, Smoothed,
};
use limpid_graph::passes;

/// The point of a path at a parameter from 0 to 1, with the derivative of its
/// position with respect to the parameter as its weight; minus the derivative
/// where the path leads away from the picture.
pub type Walk = Box<dyn Fn(f64) -> Node + Send + Sync>;

/// What a gradient method does to one picture.
pub struct Trajectory {
    /// What is varied.
    pub path: Box<dyn Path>,
    /// How the nodes of a quadrature lie on the path.
    pub walk: Walk,
    /// How the positions of a joint sampling lie on it.
    pub joint_walk: Walk,
    /// How the path is divided.
    pub quadrature: Quadrature,
    /// How operators pass their gradients on.
    pub rule: passes::Rule,
}

impl Trajectory {
    /// A path with one node, at the picture itself.
    fn single(path: impl Path + 'static, rule: passes::Rule) -> Self {
        Self {
            path: Box::new(path),
            walk: Box::new(evenly),
            joint_walk: Box::new(evenly),
            quadrature: Quadrature {
                steps: 1,
                rule: Some(Rule::Midpoint),
                ..Quadrature::default()
            },
            rule,
        }
    }

    /// The nodes of the quadrature.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        let on_path = |n: Node| {
            let node = (self.walk)(n.position);
            Node {
                weight: n.weight * node.weight,
                ..node
            }
        };
        let nodes = self.unit_nodes().into_iter();
        nodes.map(on_path).collect()
    }

    /// The positions between which the nodes lie: one more than there are nodes.
    pub(crate) fn edges(&self) -> Vec<f64> {
        let mut edge = 0.0;
        let mut edges = vec![0.0];
        for node in self.unit_nodes() {
            edge += node.weight;
            edges.push(f64::min(edge, 1.0));
        }
        edges.iter().map(|e| (self.walk)(*e).position).collect()
    }

    fn unit_nodes(&self) -> Vec<Node> {
        let rule = self.quadrature.rule.unwrap_or_default();
        rule.nodes(self.quadrature.steps as usize)
    }
}

/// A method that sums gradients along a path; what the trait's methods return
/// is all that makes it different from the others.
pub trait GradientMethod: Explainer + Sized {
    /// The path for this picture, and how it is walked.
    ///
    /// # Errors
    /// When a baseline cannot be made.
    fn trajectory(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Trajectory, ExplainError>;

    /// Whether anything is varied.
    fn has_path(&self) -> bool {
        true
    }

    /// The same method, averaged over noise.
    fn smoothed(self, smoothing: SmoothGrad) -> Smoothed<Self> {
        Smoothed {
            method: self,
            smoothing,
        }
    }
}

/// The builders of a method that has a [`Quadrature`].
macro_rules! quadrature_builders {
    () => {
        /// With another number of gradients.
        #[must_use]
        pub fn steps(mut self, steps: u64) -> Self {
            self.quadrature.steps = steps;
            self
        }

        /// With another quadrature.
        #[must_use]
        pub fn rule(mut self, rule: crate::Rule) -> Self {
            self.quadrature.rule = Some(rule);
            self
        }

        /// With nodes where they are needed for this share of the scores'
        /// difference.
        #[must_use]
        pub fn tolerance(mut self, tolerance: f64) -> Self {
            self.quadrature.tolerance = Some(tolerance);
            self
        }

        /// With gradients weighted in another way.
        #[must_use]
        pub fn weighting(mut self, weighting: crate::Weighting) -> Self {
            self.quadrature.weighting = weighting;
            self
        }
    };
}
use quadrature_builders;

/// A path that is walked evenly.
fn evenly(position: f64) -> Node {
    Node {
        position,
        weight: 1.0,
    }
}
