use super::{attribution, check_finite, method, read_out, times, tokens};
use crate::Given;
use crate::methods::MethodInfo;
use crate::{
    Attribution, Context, ExplainError, Explainer, ModelInfo, ParamInfo, ParamKind, Parameters,
    Request,
};
use limpid_tensor::Tensor;
use std::sync::Arc;

/// How the heads of an attention become one.
///
/// ```
/// use limpid_explain::methods::Heads;
/// assert_eq!(Heads::from_name("max"), Some(Heads::Max));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Heads {
    /// Their mean.
    #[default]
    Mean,
    /// The largest weight.
    Max,
    /// The least weight.
    Min,
}

impl Heads {
    /// The names that the parameter `heads` takes.
    pub const NAMES: [&str; 3] = ["mean", "max", "min"];

    /// The name that the parameter `heads` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// What bears this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Mean, Self::Max, Self::Min];
        all.into_iter().find(|h| h.name() == name)
    }

    /// `[T, T]` of `[heads, T, T]`.
    fn fused(self, weights: &Tensor) -> Vec<f64> {
        let size = tokens(weights) * tokens(weights);
        let mut heads = weights.data().chunks(size.max(1));
        let first = heads.next().unwrap_or_default().iter();
        let mut fused: Vec<f64> = first.map(|w| f64::from(*w)).collect();
        for head in heads {
            for (f, w) in fused.iter_mut().zip(head) {
                let w = f64::from(*w);
                *f = match self {
                    Self::Mean => *f + w,
                    Self::Max => f.max(w),
                    Self::Min => f.min(w),
                };
            }
        }
        if self == Self::Mean {
            let heads = weights.dims()[0] as f64;
            fused.iter_mut().for_each(|f| *f /= heads);
        }
        fused
    }
}

/// Attention rollout: the weights of all attentions, multiplied up, with half
/// of each token passed on as it is by the residual connection (Abnar and
/// Zuidema, ACL 2020). It does not depend on the score: every objective gets the
/// same map.
///
/// Each attention's heads are fused, the identity is added, and each row is
/// divided by its sum. The map is the class token's row of the product, or the
/// mean of the rows of the picture's tokens where the scores are read from those.
///
/// ```
/// use limpid_explain::{Explainer, methods::{AttentionRollout, Heads}};
/// let method = AttentionRollout::new().heads(Heads::Max).discard(0.9);
/// assert_eq!(method.id(), "attention-rollout");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AttentionRollout {
    /// How heads are fused.
    pub heads: Heads,
    /// The share of each attention's weights, the least ones, that is set to
    /// zero, from 0 to 1.
    pub discard: f64,
}

impl AttentionRollout {
    /// With the mean of the heads, and all weights.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With heads fused in another way.
    #[must_use]
    pub fn heads(mut self, heads: Heads) -> Self {
        self.heads = heads;
        self
    }

    /// Without this share of the weights.
    #[must_use]
    pub fn discard(mut self, share: f64) -> Self {
        self.discard = share;
        self
    }

    /// What one block passes on, `[T, T]`: each row adds up to one.
    fn block(&self, weights: &Tensor) -> Vec<f64> {
        let tokens = tokens(weights);
        let mut block = self.heads.fused(weights);
        let discarded = (self.discard * block.len() as f64) as usize;
        if discarded > 0 {
            let mut order: Vec<usize> = (0..block.len()).collect();
            order.sort_by(|a, b| block[*a].total_cmp(&block[*b]));
            order.iter().take(discarded).for_each(|i| block[*i] = 0.0);
        }
        for (t, row) in block.chunks_mut(tokens.max(1)).enumerate() {
            row[t] += 1.0;
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|w| *w /= sum);
        }
        block
    }
}

impl Explainer for AttentionRollout {
    fn id(&self) -> &str {
        "attention-rollout"
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        Parameters::from_iter([
            ("heads".to_owned(), self.heads.name().into()),
            ("discard".to_owned(), self.discard.into()),
        ])
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let before = cx.evaluations();
        let at = cx.attentions(request.image, &[])?;
        check_finite(self.id(), &at)?;
        let mut row = read_out(&at);
        for layer in at.layers.iter().rev() {
            cx.check()?;
            row = times(&row, &self.block(&layer.weights));
        }
        let map = attribution(self.id(), &at, &row, cx.evaluations().since(before))?;
        Ok(vec![map; request.objectives.len()])
    }
}

/// `attention-rollout`.
pub(super) fn info() -> MethodInfo {
    let d = AttentionRollout::default();
    let summary = "the weights of all attentions with the residual connections, multiplied up, whatever the class; never negative";
    MethodInfo {
        params: vec![
            ParamInfo::new(
                "heads",
                ParamKind::choice(&Heads::NAMES),
                d.heads.name(),
                "how the heads of an attention become one",
            ),
            ParamInfo::new(
                "discard",
                ParamKind::Float { min: 0.0, max: 1.0 },
                d.discard,
                "the share of each attention's weights, the least ones, that is left out",
            ),
        ],
        ..method(
            "attention-rollout",
            summary,
            Arc::new(|given: &Given, _| {
                let d = AttentionRollout::default();
                Ok(Box::new(AttentionRollout {
                    heads: given
                        .text("heads")
                        .and_then(Heads::from_name)
                        .unwrap_or_default(),
                    discard: given.float("discard").unwrap_or(d.discard),
                }))
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// vit-explain divides `a / a.sum(dim=-1)` without `keepdim`: columns by the
    /// sums of rows. After that, rows do not add up to one.
    #[test]
    fn rows_and_not_columns_are_normalised() {
        let weights = Tensor::new([1, 2, 2], vec![0.9, 0.1, 0.5, 0.5]).unwrap();
        let method = AttentionRollout::new().discard(0.25);
        // Without 0.1: (A + I) is [1.9, 0], [0.5, 1.5], whose rows add up to 1.9
        // and 2.
        let block = method.block(&weights);
        let expected = [1.0, 0.0, 0.25, 0.75];
        let columns = [1.9 / 1.9, 0.0, 0.5 / 1.9, 1.5 / 2.0];
        let differs = |other: &[f64; 4]| block.iter().zip(other).any(|(a, b)| (a - b).abs() > 1e-6);
        assert!(!differs(&expected), "{block:?}");
        assert!(differs(&columns), "{block:?}");
        for weights in [[0.2, 0.8, 0.7, 0.3], [1.0, 0.0, 1.0, 0.0]] {
            let weights = Tensor::new([1, 2, 2], weights.to_vec()).unwrap();
            let rolled = times(&[1.0, 0.0], &AttentionRollout::new().block(&weights));
            assert!(
                (rolled.iter().sum::<f64>() - 1.0).abs() < 1e-12,
                "{rolled:?}"
            );
        }
    }

    #[test]
    fn heads_are_fused() {
        let weights = Tensor::new([2, 1, 1], vec![0.25, 0.75]).unwrap();
        let fused = |heads: Heads| heads.fused(&weights);
        assert_eq!(fused(Heads::Mean), [0.5]);
        assert_eq!(fused(Heads::Max), [0.75]);
        assert_eq!(fused(Heads::Min), [0.25]);
    }

    #[test]
    fn everything_can_be_discarded() {
        let weights = Tensor::new([1, 2, 2], vec![0.5; 4]).unwrap();
        let block = AttentionRollout::new().discard(1.0).block(&weights);
        assert_eq!(block, [1.0, 0.0, 0.0, 1.0]);
    }
}
