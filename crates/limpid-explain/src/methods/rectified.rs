use super::{GradientMethod, MethodInfo, Trajectory, registry};
use crate::estimators::{Sampling, run};
use crate::paths::Constant;
use crate::{Attribution, Context, ExplainError, Explainer, Request};
use limpid_graph::passes::Rule;
use std::sync::Arc;

/// A gradient of which rectifiers cut the negative part. It shows what an input
/// excites, in any class: both members are known to depend little on the score
/// that is explained (Adebayo et al., 2018).
macro_rules! rectified {
    ($(#[$doc:meta])* $name:ident, $id:literal, $rule:expr, $summary:literal, $info:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $name {}

        impl $name {
            /// The method; it has no parameter.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }
        }

        impl GradientMethod for $name {
            fn trajectory(
                &self,
                _cx: &mut dyn Context,
                _request: &Request<'_>,
            ) -> Result<Trajectory, ExplainError> {
                Ok(Trajectory::single(Constant, $rule))
            }

            fn has_path(&self) -> bool {
                false
            }
        }

        impl Explainer for $name {
            fn id(&self) -> &str {
                $id
            }

            fn explain(
                &self,
                cx: &mut dyn Context,
                request: &Request<'_>,
            ) -> Result<Vec<Attribution>, ExplainError> {
                run(self, None, Sampling::Nested { draws: 1 }, cx, request)
            }
        }

        #[doc = concat!("`", $id, "`.")]
        pub(super) fn $info() -> MethodInfo {
            MethodInfo {
                id: $id.into(),
                kind: "rule".into(),
                output: "[C,H,W]".into(),
                summary: $summary.into(),
                params: registry::smoothing(),
                smooth: None,
                build: Arc::new(|_, smooth| Ok(registry::boxed($name::new(), smooth))),
            }
        }
    };
}

rectified!(
    /// Guided backpropagation: the gradient, of which each ReLU lets only the
    /// positive part back, where it was open (Springenberg et al., 2015).
    /// Networks without ReLU are refused.
    ///
    /// ```
    /// use limpid_explain::{Explainer, methods::GuidedBackprop};
    /// assert_eq!(GuidedBackprop::new().id(), "guided-backprop");
    /// ```
    GuidedBackprop,
    "guided-backprop",
    Rule::GuidedBackpropagation,
    "the gradient without what each ReLU would pass back negatively; depends little on the class; for networks with ReLU",
    guided_backprop
);

rectified!(
    /// Deconvnet: each ReLU lets the positive part of the gradient back,
    /// whether or not it was open (Zeiler and Fergus, 2014). Networks without
    /// ReLU are refused.
    ///
    /// ```
    /// use limpid_explain::{Explainer, methods::Deconvnet};
    /// assert_eq!(Deconvnet::new().id(), "deconvnet");
    /// ```
    Deconvnet,
    "deconvnet",
    Rule::Deconvnet,
    "the gradient, rectified at each ReLU instead of masked; depends little on the class; for networks with ReLU",
    deconvnet
);
