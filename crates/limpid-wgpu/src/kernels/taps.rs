//! The geometry of a convolution in either direction.

use limpid_graph::ops::{Conv, ConvTranspose};
use limpid_tensor::Shape;

/// A row or column of taps: where it lies in the input, relative to an output
/// pixel, for the window's positions `first`, `first + step`, ...
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taps {
    pub(crate) first: usize,
    pub(crate) step: usize,
    /// They are evenly spaced.
    pub(crate) distances: Vec<i32>,
}

impl Taps {
    /// All taps of a convolution's window along one axis.
    fn all(kernel: usize, dilation: usize, pad: usize) -> Self {
        let distance = |k: usize| (k * dilation) as i32 - pad as i32;
        Self {
            first: 0,
            step: 1,
            distances: (0..kernel).map(distance).collect(),
        }
    }

    /// The taps of a transposed convolution that reach the output pixels
    /// `phase`, `phase + stride`, ...: those for which the input's position is
    /// whole.
    fn of_phase(phase: usize, stride: usize, kernel: usize, dilation: usize, pad: usize) -> Self {
        let reach = |k: usize| (phase + pad) as i64 - (k * dilation) as i64;
        let taps = (0..kernel).filter(|k| reach(*k).rem_euclid(stride as i64) == 0);
        let taps: Vec<usize> = taps.collect();
        let step = match taps[..] {
            [a, b, ..] => b - a,
            _ => 1,
        };
        let distance = |k: &usize| (reach(*k) / stride as i64) as i32;
        Self {
            first: taps.first().copied().unwrap_or(0),
            step,
            distances: taps.iter().map(distance).collect(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.distances.len()
    }

    /// From left to right: the first distance, the distance of two taps, and
    /// the same of their places in the window.
    pub(crate) fn spaced(&self) -> [i32; 4] {
        let (first, step) = (self.first as i32, self.step as i32);
        match self.distances[..] {
            [] => [0, 1, 0, 1],
            [only] => [only, 1, first, step],
            [a, b, ..] if b > a => [a, b - a, first, step],
            [a, b, ..] => {
                let last = self.distances.len() as i32 - 1;
                [a + last * (b - a), a - b, first + last * step, -step]
            }
        }
    }
}

/// Output pixels that read the input in the same way: all of a convolution's,
/// or those of a transposed one at the same place between strides.
pub(crate) struct Phase {
    /// Down and across.
    pub(crate) taps: [Taps; 2],
    /// Output pixels of the phase.
    pub(crate) positions: [usize; 2],
    pub(crate) in_step: [usize; 2],
    pub(crate) out_step: [usize; 2],
    pub(crate) out_offset: [usize; 2],
}

impl Phase {
    pub(crate) fn of_conv(op: &Conv, x: &Shape, weight: &Shape, out: &Shape) -> Self {
        let pads = op.pads(x, weight);
        Self {
            taps: [0, 1].map(|d| Taps::all(weight[2 + d], op.dilations[d], pads[d])),
            positions: [out[2], out[3]],
            in_step: op.strides,
            out_step: [1, 1],
            out_offset: [0, 0],
        }
    }

    pub(crate) fn all_of_transpose(op: &ConvTranspose, weight: &Shape, out: &Shape) -> Vec<Self> {
        let [sy, sx] = op.strides;
        let offsets = (0..sy).flat_map(|y| (0..sx).map(move |x| [y, x]));
        let inside = offsets.filter(|[y, x]| *y < out[2] && *x < out[3]);
        let phase = |offset: [usize; 2]| Self {
            taps: [0, 1].map(|d| {
                let (kernel, stride) = (weight[2 + d], op.strides[d]);
                Taps::of_phase(offset[d], stride, kernel, op.dilations[d], op.pads[d])
            }),
            positions: [0, 1].map(|d| (out[2 + d] - offset[d]).div_ceil(op.strides[d])),
            in_step: [1, 1],
            out_step: op.strides,
            out_offset: offset,
        };
        inside.map(phase).collect()
    }

    /// Taps of the window.
    pub(crate) fn count(&self) -> usize {
        self.taps[0].count() * self.taps[1].count()
    }

    /// Pixels of an image.
    pub(crate) fn pixels(&self) -> usize {
        self.positions[0] * self.positions[1]
    }

    /// Where the first pixel lies in an output so wide.
    pub(crate) fn offset(&self, width: usize) -> usize {
        self.out_offset[0] * width + self.out_offset[1]
    }
}
