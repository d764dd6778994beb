//! Masks of bits: `range_mask.wgsl` and `mask_mul.wgsl`.

use crate::kernel::{Dispatch, Kernel, Signature, Slot};
use crate::layout::MaskShape;
use limpid_graph::ops::Clip;

/// The mask of what lies strictly between the bounds of `clip`, of a value of
/// the shape of output `like`.
pub(crate) fn range(s: &Signature<'_>, from: Slot, like: usize, clip: Clip, to: Slot) -> Dispatch {
    let mask = MaskShape::of(&s.outputs[like].shape);
    let stored = match from {
        Slot::Input(i) => s.reads[i],
        Slot::Output(i) => s.writes[i],
        _ => Default::default(),
    };
    Dispatch::new("range_mask")
        .choose("X", stored.wgsl())
        .params([mask.images, mask.lines, mask.positions, mask.line_words()])
        .floats([clip.lower(), clip.upper()])
        .bind(from)
        .bind(to)
        .each(mask.lines * mask.line_words())
}

/// What a mask keeps of a value of the first output's shape.
pub(crate) fn multiply(s: &Signature<'_>, from: Slot, mask: Slot, to: Slot) -> Dispatch {
    let shape = MaskShape::of(s.output());
    let elements = s.output().iter().product();
    let stored = match from {
        Slot::Input(i) => s.reads[i],
        _ => Default::default(),
    };
    Dispatch::new("mask_mul")
        .choose("X", stored.wgsl())
        .choose("Y", s.writes[0].wgsl())
        .params([elements, shape.lines, shape.positions, shape.line_words()])
        .bind(from)
        .bind(mask)
        .bind(to)
        .each(elements)
}

pub(crate) fn range_mask(s: &Signature<'_>, clip: Clip) -> Kernel {
    Kernel::new(
        "range mask",
        [range(s, Slot::Input(0), 0, clip, Slot::Output(0))],
    )
}

pub(crate) fn mask_mul(s: &Signature<'_>) -> Kernel {
    Kernel::new(
        "mask mul",
        [multiply(s, Slot::Input(0), Slot::Input(1), Slot::Output(0))],
    )
}
