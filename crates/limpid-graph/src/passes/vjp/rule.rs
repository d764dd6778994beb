use crate::GraphError;
use serde::{Deserialize, Serialize};

/// How operators hand a cotangent on to their inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// The derivative.
    #[default]
    Standard,
    /// Guided backpropagation (Springenberg et al., 2015): at each rectifier the
    /// negative part of the cotangent is cut as well.
    ///
    /// A rectifier is a [`Clip`](crate::ops::Clip) with the lower bound 0: ReLU,
    /// ReLU6. Every other operator has its derivative, leaky and parametric
    /// ReLUs too, which let both signs pass. For smooth activations (GELU, SiLU,
    /// ELU) the method is not defined, and a path without any rectifier is an
    /// error.
    GuidedBackpropagation,
    /// Deconvnet (Zeiler and Fergus, 2014): at each rectifier the negative part
    /// of the cotangent is cut, whether or not the rectifier was open. What a
    /// rectifier is, [`GuidedBackpropagation`](Self::GuidedBackpropagation) says.
    Deconvnet,
    /// Layer-wise relevance propagation. The relevance of the output is the
    /// cotangent times the output: a cotangent of 1 at one class distributes
    /// that class's logit. The result is relevance, not to be multiplied by the
    /// input.
    Relevance(Lrp),
    /// DeepLift with the rescale rule (Shrikumar et al., 2017): multipliers,
    /// which times the difference to a baseline sum to the difference of the
    /// scores. Needs a baseline: [`vjp_with_baseline`](super::vjp_with_baseline).
    #[serde(rename = "deeplift")]
    DeepLift,
}

/// A rule for the layers with weights, in layer-wise relevance propagation. Of
/// an output z = Σ w x + b, input i gets the share of its contribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LayerRule {
    /// w x / z with this number, positive, added to z's magnitude (Bach et al.,
    /// 2015); the bias keeps its share. Larger ones than 1e-6 keep weak evidence
    /// back.
    Epsilon(f32),
    /// Contributions of z's sign count 1 + gamma fold (Montavon et al., 2019; for
    /// inputs of either sign Andéol et al., 2021). Not negative.
    Gamma(f32),
    /// Positive contributions alone count: alpha 1, beta 0 (Bach et al., 2015).
    ZPlus,
    /// All inputs of a window share evenly (Lapuschkin et al., 2019).
    Flat,
}

/// Layer-wise relevance propagation: which layers have which rule.
///
/// What is not a layer with weights has the same rule in every composite.
/// Batch normalisation that has been folded is part of its convolution; where it
/// stands alone it is a convolution of one weight a channel. Sums, means and
/// residual additions share in proportion to their terms. Activations, and what
/// moves elements, pass relevance on; the largest of a window takes all. Where a
/// value is multiplied by a gate (a factor that is stretched over it, or that a
/// sigmoid makes) the value takes all. Attention and normalisation follow
/// AttnLRP (Achtibat et al., 2024): products of two values give half to each,
/// softmax has its Taylor rule, and a normalisation's deviation is a constant.
///
/// ```
/// use limpid_graph::passes::{LayerRule, Lrp};
/// let lrp = Lrp { dense: LayerRule::Gamma(0.1), ..Lrp::epsilon_plus_flat() };
/// assert_eq!(lrp.first, Some(LayerRule::Flat));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lrp {
    /// The rule of a layer with weights that none precedes, if it has its own.
    pub first: Option<LayerRule>,
    /// The rule of convolutions.
    pub convolution: LayerRule,
    /// The rule of fully connected layers.
    pub dense: LayerRule,
    /// What is added to the magnitude of everything else that is divided by.
    /// Positive.
    pub stabilizer: f32,
}

/// Zennit's.
const STABILIZER: f32 = 1e-6;

impl Lrp {
    /// One rule for all layers, with the stabilizer 1e-6.
    #[must_use]
    pub fn uniform(rule: LayerRule) -> Self {
        Self {
            first: None,
            convolution: rule,
            dense: rule,
            stabilizer: STABILIZER,
        }
    }

    /// The epsilon rule, with 1e-6, for all layers.
    #[must_use]
    pub fn epsilon() -> Self {
        Self::uniform(LayerRule::Epsilon(STABILIZER))
    }

    /// The gamma rule, with 0.25, for all layers.
    #[must_use]
    pub fn gamma() -> Self {
        Self::uniform(LayerRule::Gamma(0.25))
    }

    /// The z+ rule for all layers.
    #[must_use]
    pub fn z_plus() -> Self {
        Self::uniform(LayerRule::ZPlus)
    }

    /// Flat for the first layer, z+ for convolutions, epsilon for fully
    /// connected layers: Zennit's `EpsilonPlusFlat`.
    #[must_use]
    pub fn epsilon_plus_flat() -> Self {
        Self {
            first: Some(LayerRule::Flat),
            dense: LayerRule::Epsilon(STABILIZER),
            ..Self::z_plus()
        }
    }

    pub(super) fn check(&self) -> Result<(), GraphError> {
        let refused = |name, expected| Err(GraphError::Option { name, expected });
        let positive = |v: f32| v > 0.0 && v.is_finite();
        if !positive(self.stabilizer) {
            return refused("stabilizer", "positive and finite");
        }
        for rule in [Some(self.convolution), Some(self.dense), self.first] {
            match rule {
                Some(LayerRule::Epsilon(epsilon)) if !positive(epsilon) => {
                    return refused("epsilon", "positive and finite");
                }
                Some(LayerRule::Gamma(gamma)) if !(gamma == 0.0 || positive(gamma)) => {
                    return refused("gamma", "finite and not negative");
                }
                _ => {}
            }
        }
        Ok(())
    }
}
