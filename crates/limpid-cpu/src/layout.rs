//! How a value lies in memory.
//!
//! - Images `[N, C, H, W]` of more than four channels, and matrices `[N, C]`
//!   (as H = W = 1), lie in blocks of sixteen channels: `[N, ceil(C / 16), H,
//!   W, 16]`. The lanes of the last block beyond C hold numbers without a
//!   meaning; no kernel reads across lanes there, and none of them is ever
//!   read back.
//! - Everything else, pictures of up to four channels among it, lies in C
//!   order, padded to a multiple of sixteen. So do values of the shape of an
//!   image that are none, such as tokens and scores: a value's [`Class`] says
//!   which it is.
//! - Where the device computes in bf16, images in blocks of more than a pixel
//!   are made of bf16 if an operator asks for it ([`Class::Half`]); everything
//!   else is made of floats.
//! - Masks have a 16-bit word for every sixteen lanes of the float value that
//!   they belong to, the first lane in the lowest bit. Bytes have one for each
//!   of its lanes.
//! - Words of 32 bits lie in C order.

use crate::Isa;
use crate::arch::Backend;
use crate::arch::number::Number;
use crate::simd::LANES;
use half::bf16;
use limpid_graph::Fact;
use limpid_graph::ops::Arrangement;
use limpid_tensor::{DType, Shape, TensorError};

/// Images of up to this many channels are not put in blocks.
pub(crate) const PLANAR: usize = 4;

/// The numbers that convolutions and products multiply, and images are made of
/// between them. Sums are floats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit IEEE floats.
    #[default]
    F32,
    /// The upper halves of such floats, to nearest even.
    Bf16,
}

impl Precision {
    /// Those for which this processor has instructions.
    ///
    /// ```
    /// use limpid_cpu::Precision;
    /// assert!(Precision::available().contains(&Precision::F32));
    /// ```
    #[must_use]
    pub fn available() -> Vec<Self> {
        let backend = Isa::available().first().copied().and_then(Backend::new);
        let bf16 = backend.is_some_and(Backend::has_bf16).then_some(Self::Bf16);
        [Self::F32].into_iter().chain(bf16).collect()
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// The bytes of a number.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::Bf16 => size_of::<bf16>(),
        }
    }

    /// Products that one instruction adds to a sum.
    pub(crate) fn group(self) -> usize {
        match self {
            Self::F32 => f32::GROUP,
            Self::Bf16 => bf16::GROUP,
        }
    }
}

/// What a value is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// An image: in blocks of channels where its shape has them. Inputs and
    /// outputs of a graph are images.
    Image,
    /// An image of bf16 where it is one in blocks of more than a pixel.
    Half,
    /// Numbers in C order.
    Flat,
}

impl From<Arrangement> for Class {
    fn from(arrangement: Arrangement) -> Self {
        match arrangement {
            Arrangement::Flat => Self::Flat,
            Arrangement::Image => Self::Image,
            Arrangement::Half => Self::Half,
        }
    }
}

impl From<Class> for Arrangement {
    fn from(class: Class) -> Self {
        match class {
            Class::Flat => Self::Flat,
            Class::Image => Self::Image,
            Class::Half => Self::Half,
        }
    }
}

impl Class {
    /// The class of the same layout whose values are made of floats.
    pub(crate) fn of_floats(self) -> Self {
        match self {
            Self::Half => Self::Image,
            class => class,
        }
    }

    /// Of what a value of this class is made.
    pub(crate) fn precision(self, fact: &Fact) -> Precision {
        match (self, &fact.shape[..]) {
            (Self::Half, [_, c, h, w]) if fact.dtype == DType::F32 && *c > PLANAR && h * w > 1 => {
                Precision::Bf16
            }
            _ => Precision::F32,
        }
    }

    /// Whether a value lies differently in two classes. The answer does not
    /// depend on the batch.
    pub(crate) fn differ(a: Self, b: Self, fact: &Fact) -> bool {
        (a == Self::Flat) != (b == Self::Flat) && Self::matters(&fact.shape)
            || a.precision(fact) != b.precision(fact)
    }

    /// Whether a value of this shape lies differently in C order and as an
    /// image. The answer does not depend on the batch.
    pub(crate) fn matters(shape: &Shape) -> bool {
        match *shape.dims() {
            [_, c] => c % LANES != 0,
            [_, c, h, w] => c > PLANAR && (c % LANES != 0 || h * w != 1),
            _ => false,
        }
    }
}

/// The layout of a value of floats, or of a mask or bytes that belong to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[N, ceil(C / 16), H, W, 16]`.
    Blocked([usize; 4]),
    /// `[N, C, H, W]`.
    Planar([usize; 4]),
    /// C order of this many elements.
    Flat(usize),
}

impl Layout {
    /// The layout of an image.
    pub(crate) fn of(shape: &Shape) -> Result<Self, TensorError> {
        Self::new(shape, Class::Image)
    }

    /// The layout of a value of this shape and class.
    pub(crate) fn new(shape: &Shape, class: Class) -> Result<Self, TensorError> {
        let layout = match *shape.dims() {
            _ if class == Class::Flat => Self::Flat(shape.elements()?),
            [n, c] => Self::Blocked([n, c, 1, 1]),
            [n, c, h, w] if c > PLANAR => Self::Blocked([n, c, h, w]),
            [n, c, h, w] => Self::Planar([n, c, h, w]),
            _ => Self::Flat(shape.elements()?),
        };
        layout
            .checked_lanes()
            .and_then(|lanes| lanes.checked_mul(size_of::<f32>()))
            .map(|_| layout)
            .ok_or_else(|| TensorError::Overflow(shape.clone()))
    }

    fn checked_lanes(&self) -> Option<usize> {
        let product = |d: &[usize]| d.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        match *self {
            Self::Blocked([n, c, h, w]) => product(&[n, c.div_ceil(LANES), h, w, LANES]),
            Self::Planar(dims) => product(&dims)?.checked_next_multiple_of(LANES),
            Self::Flat(n) => n.checked_next_multiple_of(LANES),
        }
    }

    /// The floats that the storage holds, a multiple of sixteen.
    pub(crate) fn lanes(&self) -> usize {
        self.checked_lanes().unwrap_or(0)
    }

    /// Images, with everything else counting as one.
    pub(crate) fn images(&self) -> usize {
        match *self {
            Self::Blocked([n, ..]) | Self::Planar([n, ..]) => n,
            Self::Flat(_) => 1,
        }
    }

    /// The floats of one image, which are contiguous.
    pub(crate) fn image(&self) -> usize {
        match *self {
            Self::Blocked([_, c, h, w]) => c.div_ceil(LANES) * h * w * LANES,
            Self::Planar([_, c, h, w]) => c * h * w,
            Self::Flat(n) => n,
        }
    }

    /// The floats of one block of channels, or one channel.
    pub(crate) fn plane(&self) -> usize {
        match *self {
            Self::Blocked([_, _, h, w]) => h * w * LANES,
            Self::Planar([_, _, h, w]) => h * w,
            Self::Flat(n) => n,
        }
    }

    /// Calls `f(element, lane)` for every element of an image, in C order, with
    /// its place in the image's storage.
    pub(crate) fn for_each(&self, mut f: impl FnMut(usize, usize)) {
        match *self {
            Self::Blocked([_, c, h, w]) => {
                let plane = h * w;
                for channel in 0..c {
                    let block = channel / LANES * plane * LANES + channel % LANES;
                    for i in 0..plane {
                        f(channel * plane + i, block + i * LANES);
                    }
                }
            }
            _ => (0..self.image()).for_each(|i| f(i, i)),
        }
    }

    /// Calls `f(element, lane)` for every element of the value.
    pub(crate) fn place_c(&self, mut f: impl FnMut(usize, usize)) {
        let (lanes, elements) = (self.image(), self.image_elements());
        for i in 0..self.images() {
            self.for_each(|element, lane| f(i * elements + element, i * lanes + lane));
        }
    }

    /// The elements of an image, without padding.
    pub(crate) fn image_elements(&self) -> usize {
        match *self {
            Self::Blocked([_, c, h, w]) => c * h * w,
            _ => self.image(),
        }
    }

    /// Copies storage to C order.
    pub(crate) fn store_c(self, storage: &[f32], out: &mut [f32]) {
        let (lanes, elements) = (self.image(), self.image_elements());
        for i in 0..self.images() {
            let (from, to) = (
                &storage[i * lanes..][..lanes],
                &mut out[i * elements..][..elements],
            );
            match self {
                Self::Blocked(_) => self.for_each(|element, lane| to[element] = from[lane]),
                _ => to.copy_from_slice(from),
            }
        }
    }

    /// Copies C order to storage; lanes beyond the channels become 0.
    pub(crate) fn load_c(self, data: &[f32], storage: &mut [f32]) {
        let (lanes, elements) = (self.image(), self.image_elements());
        for i in 0..self.images() {
            let (from, to) = (
                &data[i * elements..][..elements],
                &mut storage[i * lanes..][..lanes],
            );
            match self {
                Self::Blocked(_) => {
                    if lanes != elements {
                        to.fill(0.0);
                    }
                    self.for_each(|element, lane| to[lane] = from[element]);
                }
                _ => to.copy_from_slice(from),
            }
        }
    }
}

/// The bytes that a value takes.
pub(crate) fn storage_bytes(fact: &Fact, class: Class) -> Result<usize, TensorError> {
    let lanes = || Ok::<_, TensorError>(Layout::new(&fact.shape, class)?.lanes());
    Ok(match fact.dtype {
        DType::Bits => lanes()? / LANES * size_of::<u16>(),
        DType::U8 => lanes()?,
        DType::F32 => lanes()? * class.precision(fact).bytes(),
        _ => {
            let bytes = fact.shape.elements()?.checked_mul(size_of::<u32>());
            bytes.ok_or_else(|| TensorError::Overflow(fact.shape.clone()))?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for shape in [
            &[2, 17, 3, 5][..],
            &[3, 3, 5, 7],
            &[2, 33],
            &[7],
            &[2, 3, 4],
            &[],
        ] {
            let shape = Shape::from(shape);
            let layout = Layout::of(&shape).unwrap();
            let n = shape.elements().unwrap();
            let data: Vec<f32> = (0..n).map(|i| i as f32 + 1.0).collect();
            let mut storage = vec![-1.0; layout.lanes()];
            layout.load_c(&data, &mut storage);
            let mut back = vec![0.0; n];
            layout.store_c(&storage, &mut back);
            assert_eq!(data, back, "{shape}");
        }
    }

    #[test]
    fn blocks_of_sixteen_channels() {
        let layout = Layout::of(&Shape::from([1, 17, 1, 2])).unwrap();
        let data: Vec<f32> = (0..34).map(|i| i as f32).collect();
        let mut storage = vec![-1.0; layout.lanes()];
        layout.load_c(&data, &mut storage);
        assert_eq!(storage.len(), 64);
        assert_eq!(storage[..3], [0.0, 2.0, 4.0]);
        assert_eq!(storage[16..19], [1.0, 3.0, 5.0]);
        assert_eq!(storage[32..34], [32.0, 0.0]);
    }

    #[test]
    fn absurd_shapes_are_refused() {
        let fact = |n| Fact::f32([n, 1]);
        assert!(storage_bytes(&fact(usize::MAX / 8), Class::Image).is_err());
        assert!(storage_bytes(&fact(usize::MAX / 2), Class::Flat).is_err());
    }
}
