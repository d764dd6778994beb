//! Convolution of whole images to single pixels, and its transpose: matrix
//! products. A fully connected layer that is written as a convolution has
//! weights by the hundred megabytes, which are read once for all images.

use super::product::{Left, Product};
use super::window::{Destination, Offset, Source};
use super::{Context, finish, scratch};
use crate::arch::number::Number;
use crate::arch::store::Finish;
use crate::pack::PackSpec;
use crate::simd::LANES;
use limpid_device::DeviceError;

/// The product of all images with the weights.
pub(super) struct Whole {
    product: Product,
    spec: PackSpec,
    images: usize,
    /// Floats from an image to the next, of the input and of the output.
    steps: [usize; 2],
}

impl Whole {
    /// The product, if every tap of the only output reads a pixel of its own
    /// or, `transposed`, the only input reaches each pixel by one tap.
    pub(super) fn new(
        source: &Source,
        destination: &Destination,
        spec: PackSpec,
        phases: &[([usize; 2], Vec<Offset>)],
    ) -> Option<Self> {
        let d = destination;
        let [pixels, pixels_out] = [source.height * source.width, d.height * d.width];
        let [(_, taps)] = phases else { return None };
        let (own, width) = if spec.transposed {
            (-1, d.width)
        } else {
            (1, source.width)
        };
        let pixel = |t: &Offset| own * (t.dy * width as isize + t.dx) == t.index as isize;
        let one_pixel = if spec.transposed { pixels } else { pixels_out };
        let many = if spec.transposed { pixels_out } else { pixels };
        let fits =
            one_pixel == 1 && many == spec.taps && taps.len() == many && taps.iter().all(pixel);
        let blocks = source.position == LANES && d.position == LANES;
        let plain = spec.groups == 1 && spec.taps > 1 && spec.inputs.is_multiple_of(LANES);
        if !(fits && blocks && plain) {
            return None;
        }
        let spec = PackSpec {
            spread: spec.transposed,
            ..spec
        };
        Some(Self {
            product: Product::of(spec),
            spec,
            images: d.images,
            steps: [source.image, d.planes * pixels_out * LANES],
        })
    }

    /// How its weights are packed.
    pub(super) fn spec(&self) -> PackSpec {
        self.spec
    }

    /// Computes all outputs into `out` and the masks into `masks`.
    pub(super) fn run<T: Number, O: Number>(
        &self,
        input: &[T],
        weights: &[T],
        bias: Option<&[f32]>,
        out: &mut [O],
        masks: &mut [u16],
        finish: Finish<'_>,
        cx: Context<'_>,
    ) -> Result<(), DeviceError> {
        let [row, step] = self.steps;
        let left = Left {
            data: input,
            start: 0,
            row,
            column: 1,
            rows: self.images,
        };
        let whole = &mut out[..self.images * step];
        let mut work = scratch::<f32>(self.images * self.product.padded())?;
        let work = work.as_mut_slice();
        O::write(whole, cx.backend, |whole| {
            self.product
                .few_rows(left, weights, bias, (whole, step), work, cx);
            finish::apply(finish, whole, masks, cx);
        });
        Ok(())
    }
}
