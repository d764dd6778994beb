//! The geometry that convolution, its transpose and pooling share.

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
    /// The same with the larger half at the top and left.
    SameLower,
}

impl Default for Padding {
    /// None.
    fn default() -> Self {
        Self::Explicit([0; 4])
    }
}

impl Padding {
    /// The padding that does not depend on the input.
    pub(super) fn explicit(self) -> [usize; 4] {
        match self {
            Self::Explicit(pads) => pads,
            Self::SameUpper | Self::SameLower => [0; 4],
        }
    }

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
            Self::SameUpper | Self::SameLower => {
                let total = |d: usize| {
                    let out = input[d].div_ceil(strides[d]);
                    ((out.max(1) - 1) * strides[d] + dilations[d] * (kernel[d] - 1) + 1)
                        .saturating_sub(input[d])
                };
                let [h, w] = [total(0), total(1)];
                let (small, large) = ([h / 2, w / 2], [h - h / 2, w - w / 2]);
                let lower = self == Self::SameLower;
                let (first, last) = if lower {
                    (large, small)
                } else {
                    (small, large)
                };
                [first[0], first[1], last[0], last[1]]
            }
        }
    }
}

/// Strides and dilations of 1.
pub(super) fn ones() -> [usize; 2] {
    [1, 1]
}

/// The largest stride, dilation or extent of a window that a model can sensibly have.
const LIMIT: usize = 1 << 10;

/// The largest padding: the reach of the largest window.
const PADDING_LIMIT: usize = LIMIT * LIMIT;

/// Checks a window whose extents the attribute or input `window` gives.
pub(super) fn check(
    window: &'static str,
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
            window,
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

/// The window of a pooling operator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) kernel: [usize; 2],
    pub(super) strides: [usize; 2],
    pub(super) dilations: [usize; 2],
    pub(super) padding: Padding,
    pub(super) ceil_mode: bool,
}

impl Window {
    /// The window's movement down and across an image of `[height, width]`.
    pub(super) fn axes(&self, input: [usize; 2]) -> Result<[Axis; 2], OpError> {
        check(
            "kernel",
            self.strides,
            self.dilations,
            self.padding.explicit(),
            self.kernel,
        )?;
        let pads = self
            .padding
            .resolve(input, self.kernel, self.strides, self.dilations);
        let axis = |d: usize| {
            let mut axis = Axis {
                input: input[d],
                kernel: self.kernel[d],
                stride: self.strides[d],
                dilation: self.dilations[d],
                pads: [pads[d], pads[d + 2]],
                positions: 0,
            };
            axis.positions = axis.count(self.ceil_mode)?;
            Some(axis)
        };
        match (axis(0), axis(1)) {
            (Some(down), Some(across)) => Ok([down, across]),
            _ => Err(OpError::Attribute {
                name: "kernel",
                expected: "no larger than the padded input",
            }),
        }
    }

    /// The `[N, C, H, W]` of the output, for an input of which `image` has
    /// told the extents.
    pub(super) fn output(&self, [n, c, h, w]: [usize; 4]) -> Result<[usize; 4], OpError> {
        let [down, across] = self.axes([h, w])?;
        Ok([n, c, down.positions, across.positions])
    }
}

/// A window's movement along one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) input: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    /// Padding before and behind.
    pub(super) pads: [usize; 2],
    pub(super) positions: usize,
}

impl Axis {
    /// The number of positions. With `ceil_mode` the last window may hang over
    /// the end, if it begins in the input or the padding before it.
    fn count(&self, ceil_mode: bool) -> Option<usize> {
        if !ceil_mode {
            let pads = self.pads[0] + self.pads[1];
            return positions(self.input, self.kernel, self.stride, self.dilation, pads);
        }
        let span = self.dilation * (self.kernel - 1) + 1;
        let padded = self.input + self.pads[0] + self.pads[1];
        let last = (padded + self.stride - 1).checked_sub(span)? / self.stride;
        let begins = last * self.stride < self.input + self.pads[0];
        Some(if begins { last + 1 } else { last })
    }

    /// The number of taps of the window at `position` that lie in the input or
    /// its padding.
    pub(super) fn padded_taps(self, position: usize) -> usize {
        let room = self.input + self.pads[0] + self.pads[1] - position * self.stride;
        self.kernel.min(room.div_ceil(self.dilation))
    }

    /// The taps of the window at `position` that lie in the input, as the
    /// number of the tap and the place in the input.
    pub(super) fn taps(self, position: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.kernel).filter_map(move |tap| {
            let at = (position * self.stride + tap * self.dilation).checked_sub(self.pads[0])?;
            (at < self.input).then_some((tap, at))
        })
    }
}
