use crate::kernel::{Dispatch, Kernel, Signature, Slot};
use limpid_graph::ops::GaussianNoise;

/// Normal numbers, four for each invocation.
pub(crate) fn gaussian_noise(op: GaussianNoise, s: &Signature<'_>) -> Kernel {
    let images = s.output()[0];
    let size: usize = s.output()[1..].iter().product();
    let step = if s.shape(0)[0] == 1 { 0 } else { size };
    let per_image = size.div_ceil(4);
    let mut dispatch = Dispatch::new("gaussian_noise")
        .params([images * per_image, per_image, size, step])
        .params([op.stream as usize])
        .bind(Slot::Input(0))
        .bind(Slot::Input(1))
        .bind(Slot::Input(2))
        .bind(Slot::Input(3))
        .bind(Slot::Output(0))
        .each(images * per_image);
    dispatch.work *= 200;
    Kernel::new("normal noise", [dispatch])
}
