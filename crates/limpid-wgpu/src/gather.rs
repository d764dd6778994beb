//! Putting numbers into another order, on the host for weights and by a kernel
//! for what is computed.

use crate::kernel::{Dispatch, Slot};

/// An axis of a [`Gather`]'s result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Axis {
    /// Its length in the result.
    pub(crate) extent: usize,
    /// The distance of two positions in the source.
    pub(crate) stride: usize,
    /// How many positions have a source; behind them are zeros.
    pub(crate) valid: usize,
    /// The axis, counted from the outermost, that this one continues: positions
    /// are counted over both.
    pub(crate) continues: Option<usize>,
}

impl Axis {
    pub(crate) fn new(extent: usize, stride: usize) -> Self {
        Self::padded(extent, extent, stride)
    }

    pub(crate) fn padded(valid: usize, extent: usize, stride: usize) -> Self {
        Self {
            extent,
            stride,
            valid,
            continues: None,
        }
    }

    /// The two axes of `valid` positions in blocks of `block`, the outer one
    /// being axis `outer`; other axes may lie between them.
    pub(crate) fn blocks(valid: usize, block: usize, stride: usize, outer: usize) -> [Self; 2] {
        let blocks = valid.div_ceil(block);
        [
            Self::new(blocks, stride * block),
            Self {
                extent: block,
                stride,
                valid,
                continues: Some(outer),
            },
        ]
    }
}

/// A result in C order over `axes`, each element from where strides lead in a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Gather {
    pub(crate) offset: usize,
    pub(crate) axes: Vec<Axis>,
}

/// The axes that the kernel knows.
const AXES: usize = 6;

impl Gather {
    /// The elements of the result.
    pub(crate) fn elements(&self) -> usize {
        self.axes.iter().map(|a| a.extent).product()
    }

    /// Puts numbers into the result's order.
    pub(crate) fn apply(&self, source: &[f32]) -> Vec<f32> {
        let mut result = vec![0.0; self.elements()];
        let mut index = vec![0; self.axes.len()];
        self.fill(source, &mut result, &mut index, 0, self.offset);
        result
    }

    fn fill(
        &self,
        source: &[f32],
        result: &mut [f32],
        index: &mut [usize],
        depth: usize,
        offset: usize,
    ) {
        let Some(axis) = self.axes.get(depth) else {
            result[0] = source[offset];
            return;
        };
        let size = result.len() / axis.extent.max(1);
        let before = axis.continues.map_or(0, |outer| index[outer] * axis.extent);
        let valid = axis.valid.saturating_sub(before).min(axis.extent);
        for i in 0..valid {
            index[depth] = i;
            let part = &mut result[i * size..][..size];
            self.fill(source, part, index, depth + 1, offset + i * axis.stride);
        }
    }

    /// The launch that does the same on the device, with an optional factor for
    /// each `line` numbers of the source.
    pub(crate) fn dispatch(&self, from: Slot, factor: Option<(Slot, usize)>, to: Slot) -> Dispatch {
        let last = self.axes.len();
        let none = Axis::new(1, 0);
        let axes = (0..AXES).map(|i| match i < last {
            true => (self.axes[last - 1 - i], self.axes[last - 1 - i].continues),
            false => (none, None),
        });
        let axes = axes.flat_map(|(a, continues)| {
            let outer = continues.map_or(0, |outer| last - outer);
            [a.extent, a.stride, a.valid, outer]
        });
        let line = factor.as_ref().map_or(1, |(_, line)| *line);
        Dispatch::new("gather")
            .switch("FACTOR", factor.is_some())
            .params([self.elements(), self.offset, line])
            .params(axes)
            .bind(from)
            .bind(factor.map_or(Slot::Missing, |(slot, _)| slot))
            .bind(to)
            .each(self.elements())
    }
}
