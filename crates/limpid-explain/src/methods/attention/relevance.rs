//! Attention weighted by its own gradient.

use super::{attribution, check_finite, method, read_out, times, tokens};
use crate::methods::MethodInfo;
use crate::{Attention, Attentions, Attribution, Context, ExplainError, Explainer, Request};
use std::sync::Arc;

/// The mean over heads of the positive products of gradient and weight, `[T, T]`.
fn positive_products(attention: &Attention, objective: usize) -> Vec<f64> {
    let size = (tokens(&attention.weights) * tokens(&attention.weights)).max(1);
    let mut mean = vec![0.0; size];
    let share = 1.0 / attention.weights.dims()[0] as f64;
    let gradients = attention.gradients[objective].data().chunks(size);
    for (weights, gradients) in attention.weights.data().chunks(size).zip(gradients) {
        for (m, (w, g)) in mean.iter_mut().zip(weights.iter().zip(gradients)) {
            *m += share * (f64::from(*w) * f64::from(*g)).max(0.0);
        }
    }
    mean
}

/// For each objective the map of the row that `row` makes of the attentions, where
/// the scores are read, and the objective's number.
fn maps(
    method: &str,
    cx: &mut dyn Context,
    request: &Request<'_>,
    row: impl Fn(&dyn Context, &Attentions, &[f64], usize) -> Result<Vec<f64>, ExplainError>,
) -> Result<Vec<Attribution>, ExplainError> {
    let before = cx.evaluations();
    let at = cx.attentions(request.image, request.objectives)?;
    check_finite(method, &at)?;
    let evaluations = cx.evaluations().since(before);
    let start = read_out(&at);
    let map = |objective| {
        let row = row(cx, &at, &start, objective)?;
        attribution(method, &at, &row, evaluations)
    };
    (0..request.objectives.len()).map(map).collect()
}

/// Relevance through a transformer: R starts as the identity, and each block adds
/// A R, where A is the mean over heads of the positive products of the score's
/// gradient and the attention's weights (Chefer, Gur and Wolf, "Generic
/// attention-model explainability", ICCV 2021).
///
/// The map is the class token's row of R, or the mean of the rows of the picture's
/// tokens where the scores are read from those; what a token has from the
/// identity, the same for all, is left out.
///
/// ```
/// use limpid_explain::{Explainer, methods::TransformerRelevance};
/// assert_eq!(TransformerRelevance::new().id(), "transformer-relevance");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TransformerRelevance;

impl TransformerRelevance {
    /// The method has no parameters.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Explainer for TransformerRelevance {
    fn id(&self) -> &str {
        "transformer-relevance"
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        maps(self.id(), cx, request, |cx, at, start, objective| {
            // R = (I + A_L) ... (I + A_1), of which one row is wanted.
            let mut row = start.to_vec();
            for layer in at.layers.iter().rev() {
                cx.check()?;
                let added = times(&row, &positive_products(layer, objective));
                row.iter_mut().zip(added).for_each(|(r, a)| *r += a);
            }
            row.iter_mut().zip(start).for_each(|(r, s)| *r -= s);
            Ok(row)
        })
    }
}

/// Gradient times attention: the mean over heads of the positive products of the
/// score's gradient and the last attention's weights.
///
/// The map is the class token's row, or the mean of the rows of the picture's
/// tokens where the scores are read from those.
///
/// ```
/// use limpid_explain::{Explainer, methods::GradientXAttention};
/// assert_eq!(GradientXAttention::new().id(), "gradient-x-attention");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GradientXAttention;

impl GradientXAttention {
    /// The method has no parameters.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Explainer for GradientXAttention {
    fn id(&self) -> &str {
        "gradient-x-attention"
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        maps(self.id(), cx, request, |_, at, start, objective| {
            let Some(last) = at.layers.last() else {
                let none = "the network has no attention between tokens";
                return Err(ExplainError::NoAttention(none.into()));
            };
            Ok(times(start, &positive_products(last, objective)))
        })
    }
}

/// `transformer-relevance`.
pub(super) fn relevance() -> MethodInfo {
    method(
        "transformer-relevance",
        "attention weighted by the score's gradient, heads averaged over positive products, carried through all blocks; never negative",
        Arc::new(|_: &_, _| Ok(Box::new(TransformerRelevance))),
    )
}

/// `gradient-x-attention`.
pub(super) fn gradient_x_attention() -> MethodInfo {
    method(
        "gradient-x-attention",
        "the last attention weighted by the score's gradient, heads averaged over positive products; never negative",
        Arc::new(|_: &_, _| Ok(Box::new(GradientXAttention))),
    )
}
