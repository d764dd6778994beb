//! Streaming sums: `weighted_sum.wgsl` and `running_moments.wgsl`.

use crate::kernel::{Dispatch, Kernel, Signature, Slot};

/// Weighted sums of a stack, or of the products of two.
pub(crate) fn weighted_sum(s: &Signature<'_>) -> Kernel {
    let (rows, terms) = (s.shape(1)[0], s.shape(1)[1]);
    let elements: usize = s.output().iter().product();
    let size = elements / rows;
    let b = s.inputs.get(3);
    let b_step = b.map_or(0, |b| if b.shape[0] == terms { size } else { 0 });
    let mut dispatch = Dispatch::new("weighted_sum")
        .switch("PRODUCT", b.is_some())
        .params([elements, size, terms, b_step])
        .bind(Slot::Input(0))
        .bind(Slot::Input(1))
        .bind(Slot::Input(2))
        .bind(Slot::optional(b.map(|_| 3)))
        .bind(Slot::Output(0))
        .each(elements);
    dispatch.work *= 3 * terms as u64;
    dispatch.rounds = terms as u64;
    Kernel::new("weighted sum", [dispatch])
}

/// Welford's update.
pub(crate) fn running_moments(s: &Signature<'_>) -> Kernel {
    let elements: usize = s.output().iter().product();
    let samples = s.shape(3)[0];
    let mut dispatch = Dispatch::new("running_moments")
        .params([elements, samples])
        .bind(Slot::Input(0))
        .bind(Slot::Input(1))
        .bind(Slot::Input(2))
        .bind(Slot::Input(3))
        .bind(Slot::Output(0))
        .bind(Slot::Output(1))
        .each(elements);
    dispatch.work *= 6 * samples as u64;
    dispatch.rounds = samples as u64;
    Kernel::new("running moments", [dispatch])
}
