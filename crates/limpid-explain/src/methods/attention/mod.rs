//! Maps of what attention passes on to the token that the scores are read from.

mod relevance;
mod rollout;

pub use relevance::{GradientXAttention, TransformerRelevance};
pub use rollout::{AttentionRollout, Heads};

use super::{Build, MethodInfo};
use crate::{Attention, Attentions, Attribution, Domain, Evaluations, ExplainError};
use limpid_tensor::Tensor;
use std::sync::Arc;

/// How much each token counts where the scores are read: the class token alone,
/// or all of the picture's in equal parts.
fn read_out(at: &Attentions) -> Vec<f64> {
    let tokens = at.layers.first().map_or(0, |a| tokens(&a.weights));
    let mut row = vec![0.0; tokens];
    if at.class_token {
        row[..1].fill(1.0);
    } else {
        let cells = at.rows * at.columns;
        row[at.before..][..cells].fill(1.0 / cells as f64);
    }
    row
}

/// T of an attention's weights, `[heads, T, T]`.
fn tokens(weights: &Tensor) -> usize {
    weights.dims()[2]
}

/// A row times a matrix `[T, T]`. Chains of matrices are multiplied from the
/// row's end, one row at a time.
fn times(row: &[f64], matrix: &[f64]) -> Vec<f64> {
    let mut product = vec![0.0; row.len()];
    for (r, line) in row.iter().zip(matrix.chunks(row.len().max(1))) {
        for (p, m) in product.iter_mut().zip(line) {
            *p += r * m;
        }
    }
    product
}

/// The map of what a row has at the picture's tokens.
fn attribution(
    method: &str,
    at: &Attentions,
    row: &[f64],
    evaluations: Evaluations,
) -> Result<Attribution, ExplainError> {
    let cells = row[at.before..][..at.rows * at.columns].iter();
    let map = Tensor::new([at.rows, at.columns], cells.map(|v| *v as f32).collect())?;
    if !map.is_finite() || row.iter().any(|v| !v.is_finite()) {
        return Err(not_finite(method));
    }
    Ok(Attribution {
        map,
        standard_error: None,
        domain: Domain::Layer("attention".into()),
        signed: false,
        completeness: None,
        evaluations,
    })
}

fn not_finite(method: &str) -> ExplainError {
    ExplainError::NonFinite {
        what: format!("the map of {method}"),
    }
}

/// Refuses weights and gradients that are not finite: a maximum would hide them.
fn check_finite(method: &str, at: &Attentions) -> Result<(), ExplainError> {
    let finite = |a: &Attention| a.weights.is_finite() && a.gradients.iter().all(Tensor::is_finite);
    if at.layers.iter().all(finite) {
        Ok(())
    } else {
        Err(not_finite(method))
    }
}

/// All methods that read attention.
pub(super) fn list() -> Vec<MethodInfo> {
    vec![
        rollout::info(),
        relevance::relevance(),
        relevance::gradient_x_attention(),
    ]
}

/// A method of this family without parameters of its own.
fn method(id: &'static str, summary: &'static str, build: Arc<Build>) -> MethodInfo {
    MethodInfo {
        id: id.into(),
        kind: "attention".into(),
        output: "[h,w]".into(),
        summary: summary.into(),
        params: Vec::new(),
        smooth: None,
        build,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scores_are_read_from_the_class_token_or_all_cells() {
        let weights = Tensor::zeros([1, 8, 8]).unwrap();
        let attention = Attention {
            weights,
            gradients: Vec::new(),
        };
        let mut at = Attentions {
            layers: vec![attention],
            before: 2,
            rows: 2,
            columns: 2,
            class_token: true,
        };
        assert_eq!(read_out(&at), [1., 0., 0., 0., 0., 0., 0., 0.]);
        at.class_token = false;
        assert_eq!(read_out(&at), [0., 0., 0.25, 0.25, 0.25, 0.25, 0., 0.]);
        let row: Vec<f64> = (0..8).map(f64::from).collect();
        let map = attribution("x", &at, &row, Evaluations::default())
            .unwrap()
            .map;
        assert_eq!(
            (map.dims(), map.data()),
            (&[2, 2][..], &[2., 3., 4., 5.][..])
        );
    }

    #[test]
    fn rows_are_multiplied_from_the_left() {
        assert_eq!(times(&[1.0, 10.0], &[1.0, 2.0, 3.0, 4.0]), [31.0, 42.0]);
    }
}
