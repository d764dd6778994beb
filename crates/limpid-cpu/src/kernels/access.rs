//! How a value is read in the order in which another is stored: stretched,
//! with its axes in another order, or in another layout.

use crate::layout::Layout;
use crate::simd::LANES;
use bytemuck::Pod;
use limpid_tensor::Shape;

/// How a value is read along an axis: element i lies at
/// i / 16 * `block` + i % 16 * `stride`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    extent: usize,
    stride: usize,
    block: usize,
}

impl Axis {
    fn plain(extent: usize, stride: usize) -> Self {
        Self {
            extent,
            stride,
            block: stride * LANES,
        }
    }

    fn is_plain(&self) -> bool {
        self.extent <= LANES || self.block == self.stride * LANES
    }

    fn place(&self, i: usize) -> usize {
        i / LANES * self.block + i % LANES * self.stride
    }
}

/// The axes of a value as it is stored, in C order.
pub(super) fn axes_of(shape: &[usize], layout: Layout) -> Vec<Axis> {
    if let Layout::Blocked([n, c, h, w]) = layout {
        let channels = Axis {
            extent: c,
            stride: 1,
            block: layout.plane(),
        };
        let (rows, columns) = (Axis::plain(h, w * LANES), Axis::plain(w, LANES));
        let mut axes = vec![Axis::plain(n, layout.image()), channels, rows, columns];
        axes.truncate(shape.len());
        return axes;
    }
    let mut stride = 1;
    let mut axes: Vec<Axis> = Vec::with_capacity(shape.len());
    for extent in shape.iter().rev() {
        axes.push(Axis::plain(*extent, stride));
        stride *= extent;
    }
    axes.reverse();
    axes
}

/// The reading of a value in the order of a result's storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Access {
    /// Along the result's storage, outermost first, as few as possible.
    axes: Vec<Axis>,
    /// The numbers that the axes have, at most those of the result's storage.
    total: usize,
    /// Numbers of the result that begin at a multiple of this many and of
    /// which each repeats the one sixteen before it; 0 for none.
    even: usize,
}

impl Access {
    /// How an operand of this shape and layout is stretched to a result.
    pub(super) fn stretched(shape: &Shape, layout: Layout, out: &Shape, to: Layout) -> Self {
        let mut axes = vec![Axis::plain(1, 0); out.len() - shape.len()];
        axes.extend(axes_of(shape, layout));
        for (axis, extent) in axes.iter_mut().zip(out.iter()) {
            if axis.extent != *extent {
                *axis = Axis::plain(*extent, 0);
            }
        }
        Self::new(axes, to)
    }

    /// How a value that is read along `axes` is stored in a layout; the axes
    /// are those of the result in C order.
    pub(super) fn new(mut axes: Vec<Axis>, to: Layout) -> Self {
        if matches!(to, Layout::Blocked(_)) {
            let channels = axes[1];
            axes[1] = Axis::plain(channels.extent.div_ceil(LANES), channels.block);
            axes.push(Axis::plain(LANES, channels.stride));
        }
        let mut merged: Vec<Axis> = Vec::with_capacity(axes.len());
        for axis in axes.into_iter().filter(|a| a.extent != 1) {
            match merged.last_mut() {
                Some(last)
                    if axis.is_plain()
                        && last.is_plain()
                        && last.stride == axis.stride * axis.extent =>
                {
                    *last = Axis::plain(last.extent * axis.extent, axis.stride);
                }
                _ => merged.push(axis),
            }
        }
        if merged.is_empty() {
            merged.push(Axis::plain(1, 1));
        }
        let even = match merged[..] {
            [.., inner] if inner.stride == 0 => inner.extent,
            [.., outer, inner]
                if outer.stride == 0 && (inner.extent, inner.stride) == (LANES, 1) =>
            {
                outer.extent * LANES
            }
            _ => 0,
        };
        Self {
            total: merged.iter().map(|a| a.extent).product(),
            axes: merged,
            even,
        }
    }

    /// Whether the value is stored as the result is.
    pub(super) fn is_same(&self) -> bool {
        matches!(self.axes[..], [axis] if axis.stride == 1 && axis.is_plain())
    }

    /// The numbers for the result's from `at` on, without copying, where they
    /// stand side by side and `data` has as many.
    pub(super) fn slice<'a, T>(&self, data: &'a [T], at: usize, len: usize) -> Option<&'a [T]> {
        let inner = *self.axes.last()?;
        if inner.stride != 1
            || !inner.is_plain()
            || at % inner.extent + len > inner.extent && !self.is_same()
        {
            return None;
        }
        let start = self.place(at);
        data.get(start..start + len)
    }

    /// Whether a block, of which `filled` was the last that [`fill`](Self::fill)
    /// wrote, would be written with the same numbers.
    pub(super) fn repeats(&self, filled: usize, at: usize, len: usize) -> bool {
        let span = |i: usize| i.checked_div(self.even);
        let whole = |at: usize| span(at) == span(at + len - 1);
        self.even > 0 && span(filled) == span(at) && whole(at) && whole(filled)
    }

    /// Where the number for the result's `at` lies.
    fn place(&self, at: usize) -> usize {
        let (mut rest, mut place) = (at, 0);
        for axis in self.axes.iter().rev() {
            place += axis.place(rest % axis.extent);
            rest /= axis.extent;
        }
        place
    }

    /// Copies the numbers for the result's from `at` on; what stands for
    /// padding has no meaning.
    pub(super) fn fill<T: Pod>(&self, data: &[T], at: usize, out: &mut [T]) {
        let count = out.len().min(self.total.saturating_sub(at));
        let Some((inner, outer)) = self.axes.split_last() else {
            return;
        };
        // The index along the axes, and where that along the outer ones begins.
        let mut i = at % inner.extent;
        let (mut rest, mut begin) = (at / inner.extent, 0);
        let mut index = vec![0; outer.len()];
        for (i, axis) in index.iter_mut().zip(outer).rev() {
            *i = rest % axis.extent;
            begin += axis.place(*i);
            rest /= axis.extent;
        }
        let mut done = 0;
        while done < count {
            let mut run = (inner.extent - i).min(count - done);
            if !inner.is_plain() {
                run = run.min(LANES - i % LANES);
            }
            copy(
                data,
                begin + inner.place(i),
                inner.stride,
                &mut out[done..done + run],
            );
            done += run;
            i += run;
            if i < inner.extent {
                continue;
            }
            i = 0;
            for (i, axis) in index.iter_mut().zip(outer).rev() {
                begin -= axis.place(*i);
                *i += 1;
                if *i < axis.extent {
                    begin += axis.place(*i);
                    break;
                }
                *i = 0;
            }
        }
    }
}

/// Copies numbers of which one begins every `stride`.
#[inline(always)]
fn copy<T: Pod>(data: &[T], at: usize, stride: usize, to: &mut [T]) {
    // Lanes beyond the channels may be beyond the value, too.
    let from = data.get(at..).unwrap_or_default();
    if let (1, Some(to), Some(from)) = (
        stride,
        <&mut [T; LANES]>::try_from(&mut *to).ok(),
        from.first_chunk(),
    ) {
        *to = *from;
        return;
    }
    match stride {
        0 => to.fill(data[at]),
        1 if to.len() <= from.len() => to.copy_from_slice(&from[..to.len()]),
        stride => {
            for (to, from) in to.iter_mut().zip(from.iter().step_by(stride)) {
                *to = *from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limpid_graph::reference::broadcast_strides;

    /// Every element of an operand stretched to a result, through the storage of both.
    fn check(shape: &[usize], out: &[usize]) {
        let (shape, out) = (Shape::from(shape), Shape::from(out));
        let layout = Layout::of(&shape).unwrap();
        let to = Layout::of(&out).unwrap();
        // An operand of lower rank lies in C order.
        let layout = if shape.len() < out.len() {
            Layout::Flat(shape.elements().unwrap())
        } else {
            layout
        };
        let data: Vec<f32> = (0..shape.elements().unwrap()).map(|i| i as f32).collect();
        let mut storage = vec![-1.0; layout.lanes()];
        layout.load_c(&data, &mut storage);
        let access = Access::stretched(&shape, layout, &out, to);
        let strides = broadcast_strides(&shape, &out);
        let n = out.elements().unwrap();
        let expected: Vec<f32> = (0..n)
            .map(|i| {
                let (mut rest, mut at) = (i, 0);
                for (d, s) in out.iter().zip(&strides).rev() {
                    at += rest % d * s;
                    rest /= d;
                }
                data[at]
            })
            .collect();
        for block in [16, 48, 512] {
            let mut lanes = vec![f32::NAN; to.lanes()];
            let mut last: Option<(usize, Vec<f32>)> = None;
            for (i, part) in lanes.chunks_mut(block).enumerate() {
                let (at, len) = (i * block, part.len());
                access.fill(&storage, at, part);
                if let Some(slice) = access.slice(&storage, at, len) {
                    let real = len.min(access.total - at);
                    assert_eq!(slice[..real], part[..real]);
                }
                if let Some((filled, numbers)) = &last
                    && access.repeats(*filled, at, len)
                {
                    assert_eq!(&numbers[..len], &*part);
                }
                if len == block {
                    last = Some((at, part.to_vec()));
                }
            }
            let mut found = vec![0.0; n];
            to.store_c(&lanes, &mut found);
            assert_eq!(found, expected, "{shape} to {out}");
        }
    }

    #[test]
    fn stretches_as_numpy_does() {
        let image = [2, 33, 3, 5];
        for own in [
            &[2, 33, 3, 5][..],
            &[1, 33, 3, 5],
            &[2, 33, 1, 1],
            &[1, 33, 1, 1],
            &[2, 1, 3, 5],
            &[1, 1, 3, 1],
            &[1, 33, 1, 5],
            &[33, 1, 1],
            &[33, 3, 5],
            &[33, 3, 1],
            &[1, 3, 5],
            &[3, 5],
            &[3, 1],
            &[5],
            &[1],
            &[],
        ] {
            check(own, &image);
        }
        for (own, out) in [
            (&[2, 3, 1, 1][..], &[2, 3, 7, 5][..]),
            (&[3, 1, 1], &[2, 3, 7, 5]),
            (&[2, 1, 17], &[2, 9, 17]),
            (&[9, 1], &[2, 9, 17]),
            (&[2, 1, 3, 1, 7], &[2, 4, 3, 5, 7]),
            (&[1, 35], &[3, 35]),
            (&[3, 1], &[3, 35]),
            (&[35], &[3, 35]),
            (&[], &[]),
            (&[1], &[700]),
        ] {
            check(own, out);
        }
    }
}
