//! Windows: `max_pool.wgsl` and `max_pool_gradient.wgsl`.

use crate::kernel::{Dispatch, Kernel, Signature, Slot};
use limpid_graph::ops::{MaxPool, MaxPoolGradient};
use limpid_tensor::Shape;

/// A launch whose parameters begin with the geometry of windows over `image`.
fn windows(
    file: &'static str,
    pool: &MaxPool,
    [image, out]: [&Shape; 2],
    elements: usize,
) -> Dispatch {
    let [top, left, ..] = pool.pads([image[2], image[3]]);
    Dispatch::new(file)
        .params([elements])
        .params([out[2], out[3], image[2], image[3]])
        .params(pool.kernel)
        .params(pool.strides)
        .params(pool.dilations)
        .params([top, left])
}

/// The taps that are looked at for `elements` windows, or for as many pixels by
/// how many windows reach each.
fn work(pool: &MaxPool, elements: usize) -> u64 {
    2 * (elements * pool.kernel[0] * pool.kernel[1]) as u64
}

/// The largest elements, their taps, or both.
pub(crate) fn max_pool(pool: &MaxPool, s: &Signature<'_>, values: bool, bytes: bool) -> Kernel {
    let elements: usize = s.output().iter().product();
    let output = |on: bool, i: usize| if on { Slot::Output(i) } else { Slot::Missing };
    let shapes = [s.shape(0), s.output()];
    let mut dispatch = windows("max_pool", pool, shapes, elements)
        .choose("X", s.reads[0].wgsl())
        .choose("Y", s.writes[0].wgsl())
        .switch("VALUES", values)
        .switch("BYTES", bytes)
        .floats([f32::NEG_INFINITY])
        .bind(Slot::Input(0))
        .bind(output(values, 0))
        .bind(output(bytes, usize::from(values)));
    dispatch.work = work(pool, elements);
    // Bytes are stored by the word.
    let per_invocation = if bytes { 4 } else { 1 };
    dispatch.rounds = (per_invocation * pool.kernel[0] * (1 + pool.kernel[1])) as u64;
    let dispatch = dispatch.each(elements.div_ceil(per_invocation));
    Kernel::new("max pool", [dispatch])
}

pub(crate) fn gradient(op: &MaxPoolGradient, s: &Signature<'_>) -> Kernel {
    let elements: usize = s.output().iter().product();
    let shapes = [s.output(), s.shape(0)];
    let mut dispatch = windows("max_pool_gradient", &op.pool, shapes, elements)
        .choose("G", s.reads[0].wgsl())
        .choose("Y", s.writes[0].wgsl())
        .bind(Slot::Input(0))
        .bind(Slot::Input(1))
        .bind(Slot::Output(0));
    dispatch.work = work(&op.pool, elements);
    // A pixel is looked for in all windows that reach it.
    let reach = |d: usize| op.pool.kernel[d].div_ceil(op.pool.strides[d]) * op.pool.dilations[d];
    dispatch.rounds = (reach(0) * (1 + reach(1))) as u64;
    let dispatch = dispatch.each(elements);
    Kernel::new("max pool gradient", [dispatch])
}
