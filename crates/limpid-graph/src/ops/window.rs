//! The geometry that convolution and its transpose share.

use crate::OpError;
use serde::{Deserialize, Serialize};

/// How an image is padded before a window slides over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Rows and columns at `[top, left, bottom, right]`.
    Explicit([usize; 4]),
    /// TensorFlow's "SAME": the output has ceil(extent / stride) positions and
    /// an odd padding has its larger half at the bottom and right.
    SameUpper,
}

impl Padding {
    /// `[top, left, bottom, right]` for an input of `[height, width]`.
    #[must_use]
    pub fn resolve(
        self,
        input: [usize; 2],
        kernel: [usize; 2],
        strides: [usize; 2],
        dilations: [usize; 2],
    ) -> [usize; 4] {
        match self {
            Self::Explicit(pads) => pads,
            Self::SameUpper => {
                let total = |d: usize| {
                    let out = input[d].div_ceil(strides[d]);
                    ((out.max(1) - 1) * strides[d] + dilations[d] * (kernel[d] - 1) + 1)
                        .saturating_sub(input[d])
                };
                let [h, w] = [total(0), total(1)];
                [h / 2, w / 2, h - h / 2, w - w / 2]
            }
        }
    }
}

/// The largest stride, dilation or extent of a window that a model can sensibly have.
const LIMIT: usize = 1 << 10;

/// The largest padding: the reach of the largest window.
const PADDING_LIMIT: usize = LIMIT * LIMIT;

pub(super) fn check(
    strides: [usize; 2],
    dilations: [usize; 2],
    pads: [usize; 4],
    kernel: [usize; 2],
) -> Result<(), OpError> {
    let bad = |name, expected| Err(OpError::Attribute { name, expected });
    if strides.iter().any(|s| !(1..=LIMIT).contains(s)) {
        return bad("strides", "between 1 and 2^10");
    }
    if dilations.iter().any(|d| !(1..=LIMIT).contains(d)) {
        return bad("dilations", "between 1 and 2^10");
    }
    if pads.iter().any(|p| *p > PADDING_LIMIT) {
        return bad("padding", "at most 2^20");
    }
    if kernel.iter().any(|k| !(1..=LIMIT).contains(k)) {
        return bad(
            "weight",
            "of a window of at least 1x1 and at most 2^10 x 2^10",
        );
    }
    Ok(())
}

/// The number of window positions along one axis, if the window fits.
pub(super) fn positions(
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: usize,
) -> Option<usize> {
    let span = dilation * (kernel - 1) + 1;
    (input + pads)
        .checked_sub(span)
        .map(|rest| rest / stride + 1)
}
