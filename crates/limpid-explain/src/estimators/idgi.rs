use super::Estimation;
use crate::{Context, ExplainError, Gradients, Objective, Points, Reduce, Sample};
use limpid_tensor::Tensor;

/// The sum over the parts of the path of g^2 / |g|^2 times the score's change
/// on the part, g being the gradient at the part's node; the mean over draws.
pub(super) fn map(
    estimation: &Estimation<'_>,
    cx: &mut dyn Context,
    objective: &Objective,
    draws: u64,
) -> Result<Tensor, ExplainError> {
    let subject = estimation.subject;
    if estimation.reduce != Reduce::Mean {
        return Err(ExplainError::Conflict {
            method: estimation.id.to_owned(),
            message: "weighting=idgi shares out differences of scores: it needs reduce=mean".into(),
        });
    }
    let edges = estimation.trajectory.edges();
    let nodes: Vec<f64> = estimation
        .trajectory
        .nodes()
        .iter()
        .map(|n| n.position)
        .collect();
    // A path that leads away from the picture has its score last.
    let sign = match subject.path.ends() {
        Some([picture, end]) if picture < end => -1.0,
        _ => 1.0,
    };
    let mut sum = vec![0.0f64; subject.image.data().len()];
    for draw in 0..draws {
        let sample = |position: &f64| Sample {
            draw,
            position: *position,
        };
        let scores = cx.scores(&Points {
            subject,
            objectives: std::slice::from_ref(objective),
            points: &edges.iter().map(sample).collect::<Vec<_>>(),
        })?;
        let points: Vec<Sample> = nodes.iter().map(sample).collect();
        let request = Gradients {
            subject,
            objective,
            points: &points,
            times_velocity: false,
        };
        cx.gradients(&request, &mut |i, g| {
            let norm: f64 = g.iter().map(|v| f64::from(*v).powi(2)).sum();
            let change = sign * (scores[i + 1] - scores[i]);
            if norm > 0.0 {
                let share = change / norm / draws as f64;
                for (s, v) in sum.iter_mut().zip(g) {
                    *s += share * f64::from(*v).powi(2);
                }
            }
            Ok(())
        })?;
    }
    let map = sum.into_iter().map(|v| v as f32).collect();
    Ok(Tensor::new(&subject.image.shape()[..], map)?)
}
