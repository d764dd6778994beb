//! Images one channel at a time, for operators that work on planes.

use crate::layout::Layout;
use crate::simd::LANES;

/// The channels of a value's `index`-th plane, counted over images: one, or
/// those of a block.
pub(super) fn channels(layout: Layout, index: usize) -> usize {
    match layout {
        Layout::Blocked([_, c, ..]) => {
            let block = index % c.div_ceil(LANES);
            (c - block * LANES).min(LANES)
        }
        _ => 1,
    }
}

/// Copies channel `channel` of a plane to `rows`, rows of `width` beginning
/// every `stride` numbers.
pub(super) fn read(
    layout: Layout,
    plane: &[f32],
    channel: usize,
    rows: &mut [f64],
    width: usize,
    stride: usize,
) {
    let step = if matches!(layout, Layout::Blocked(_)) {
        LANES
    } else {
        1
    };
    for (from, to) in plane.chunks(width * step).zip(rows.chunks_mut(stride)) {
        for (x, to) in to[..width].iter_mut().enumerate() {
            *to = f64::from(from[x * step + channel]);
        }
    }
}

/// Copies rows of `width` that begin every `stride` numbers to channel
/// `channel` of a plane.
pub(super) fn write(
    layout: Layout,
    rows: &[f64],
    channel: usize,
    plane: &mut [f32],
    width: usize,
    stride: usize,
) {
    let step = if matches!(layout, Layout::Blocked(_)) {
        LANES
    } else {
        1
    };
    for (from, to) in rows.chunks(stride).zip(plane.chunks_mut(width * step)) {
        for (x, from) in from[..width].iter().enumerate() {
            to[x * step + channel] = *from as f32;
        }
    }
}
