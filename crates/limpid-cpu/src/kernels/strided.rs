//! Pointwise convolution with a stride, and its transpose: a product of the
//! pixels that the stride leaves, which are gathered before it or spread after
//! it. As a window of one tap each row would be a short run of its own.

use super::window::{Destination, Offset, Source, Window};
use super::{Context, finish};
use crate::arch::number::Number;
use crate::arch::store::Finish;
use crate::operands::Workspace;
use crate::pack::PackSpec;
use crate::simd::{LANES, Simd, Vectorize};

/// The product of the pixels, and where they lie.
pub(super) struct Strided {
    product: Window,
    strides: [usize; 2],
    /// Whether pixels are spread, not gathered.
    spread: bool,
    /// Planes of the side that has all pixels, their number, rows and columns.
    planes: usize,
    height: usize,
    width: usize,
    /// Rows and columns that the stride leaves.
    left: [usize; 2],
    /// Floats of an image of those on the other side of the product.
    image: usize,
}

impl Strided {
    /// The product, if the window is one tap at its own position.
    pub(super) fn new(
        source: Source,
        destination: &Destination,
        spec: PackSpec,
        phases: &[([usize; 2], Vec<Offset>)],
        [in_step, out_step]: [[usize; 2]; 2],
    ) -> Option<Self> {
        let spread = out_step != [1, 1];
        let strides = if spread { out_step } else { in_step };
        let mut taps = phases.iter().flat_map(|(_, taps)| taps);
        let own = |t: &Offset| t.dy == 0 && t.dx == 0;
        let one = taps.next().is_some_and(own) && taps.next().is_none() && phases[0].1.len() == 1;
        let blocks = source.position == LANES && destination.position == LANES;
        if !(one && blocks && spec.groups == 1 && strides != [1, 1]) {
            return None;
        }
        let d = destination;
        let [all, left] = [[source.height, source.width], [d.height, d.width]];
        let [all, left] = if spread { [left, all] } else { [all, left] };
        // Pixels between those that are left may be more than the stride's.
        if (0..2).any(|i| (left[i].max(1) - 1) * strides[i] >= all[i].max(1)) {
            return None;
        }
        let pixels = left[0] * left[1];
        let inputs = spec.inputs.div_ceil(LANES);
        let from = Source {
            height: left[0],
            width: left[1],
            image: inputs * pixels * LANES,
            block: pixels * LANES,
            ..source
        };
        let to = Destination {
            height: left[0],
            width: left[1],
            ..*d
        };
        let tap = Offset {
            dy: 0,
            dx: 0,
            index: 0,
        };
        let phases = vec![([0, 0], vec![tap])];
        Some(Self {
            product: Window::new(from, to, [1, 1], [1, 1], phases, spec),
            strides,
            spread,
            planes: d.images * if spread { d.planes } else { inputs },
            height: all[0],
            width: all[1],
            left,
            image: pixels * LANES,
        })
    }

    /// How its weights are packed.
    pub(super) fn spec(&self) -> PackSpec {
        self.product.spec()
    }

    /// Floats of working memory.
    pub(super) fn workspace(&self) -> usize {
        self.planes * self.image
    }

    /// Computes all outputs into `out` and the masks into `masks`. What is
    /// spread has neither bias nor factor.
    pub(super) fn run<T: Number, O: Number>(
        &self,
        input: &[T],
        weights: &[T],
        affine: [Option<&[f32]>; 2],
        out: &mut [O],
        masks: &mut [u16],
        finish: Finish<'_>,
        workspace: Workspace<'_>,
        cx: Context<'_>,
    ) {
        let pixels = &mut workspace.floats()[..self.workspace()];
        let plane = self.height * self.width * LANES;
        if plane == 0 || self.image == 0 {
            return;
        }
        if !self.spread {
            let pixels = &mut bytemuck::cast_slice_mut(pixels)[..self.workspace()];
            let planes = pixels.chunks_mut(self.image).zip(input.chunks(plane));
            cx.pool
                .each(planes.collect(), |(to, from)| self.gather(from, to));
            self.product
                .run::<T, O>(pixels, weights, affine, out, masks, finish, cx);
            return;
        }
        let none = Finish::default();
        self.product
            .run(input, weights, affine, pixels, &mut [], none, cx);
        let planes = out.chunks_mut(plane).zip(pixels.chunks(self.image));
        let mut masks = masks.chunks_mut(plane / LANES);
        let planes = planes.enumerate().map(|(i, (out, from))| Spread {
            strided: self,
            finish,
            whole: i * plane / LANES,
            from: from.as_chunks().0,
            out: out.as_chunks_mut().0,
            masks: masks.next().unwrap_or_default(),
        });
        cx.pool
            .each(planes.collect(), |task| cx.backend.vectorize(task));
    }

    fn gather<T: Number>(&self, from: &[T], to: &mut [T]) {
        let row = self.strides[0] * self.width * LANES;
        let rows = to.chunks_mut(self.left[1] * LANES).zip(from.chunks(row));
        for (to, from) in rows {
            let pixels = from.chunks(LANES).step_by(self.strides[1]);
            for (to, from) in to.chunks_mut(LANES).zip(pixels) {
                to.copy_from_slice(from);
            }
        }
    }
}

/// A plane whose pixels are spread.
struct Spread<'a, O> {
    strided: &'a Strided,
    finish: Finish<'a>,
    /// The first pixel's place in the whole, in vectors.
    whole: usize,
    from: &'a [[f32; LANES]],
    out: &'a mut [[O; LANES]],
    masks: &'a mut [u16],
}

impl<O: Number> Vectorize for Spread<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Strided {
            strides,
            left,
            width,
            ..
        } = *self.strided;
        for (y, row) in self.out.chunks_mut(width).enumerate() {
            let own = y % strides[0] == 0 && y / strides[0] < left[0];
            for (x, out) in row.iter_mut().enumerate() {
                let own = own && x % strides[1] == 0 && x / strides[1] < left[1];
                let v = if own {
                    s.load(&self.from[y / strides[0] * left[1] + x / strides[1]])
                } else {
                    s.splat(0.0)
                };
                let i = y * width + x;
                let mask = self.masks.get_mut(i);
                let v = finish::vector(s, &self.finish, v, self.whole + i, mask);
                O::store(s, v, out);
            }
        }
    }
}
