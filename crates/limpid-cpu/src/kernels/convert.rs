//! Floats to bf16 and back.

use super::{Context, TASK};
use half::bf16;

pub(super) use crate::simd::{Round, Widen};

/// Rounds numbers.
pub(super) fn round(from: &[f32], to: &mut [bf16], cx: Context<'_>) {
    let tasks = from.chunks(TASK).zip(to.chunks_mut(TASK)).collect();
    cx.pool
        .each(tasks, |(from, to)| cx.backend.vectorize(Round(from, to)));
}
