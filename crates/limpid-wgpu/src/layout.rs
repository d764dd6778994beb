//! How values lie in a buffer.
//!
//! Numbers lie in C order. A mask is a table of lines of bits: a line is a
//! channel of all images, `[C, N * H * W]`, or a row of what is no image, and
//! begins at a word of its own. So a block of a product's outputs, whose
//! columns are pixels of all images from a multiple of 32 on, owns whole words.

use limpid_graph::Fact;
use limpid_tensor::{DType, Shape, TensorError};

/// The geometry of a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaskShape {
    pub(crate) images: usize,
    /// Channels, or rows where there is one image.
    pub(crate) lines: usize,
    /// Positions of a line within an image.
    pub(crate) positions: usize,
}

impl MaskShape {
    pub(crate) fn of(shape: &Shape) -> Self {
        match shape[..] {
            [n, c, h, w] => Self {
                images: n,
                lines: c,
                positions: h * w,
            },
            [ref rows @ .., columns] => Self {
                images: 1,
                lines: rows.iter().product(),
                positions: columns,
            },
            [] => Self {
                images: 1,
                lines: 1,
                positions: 1,
            },
        }
    }

    /// Words of a line.
    pub(crate) fn line_words(&self) -> usize {
        (self.images * self.positions).div_ceil(32)
    }

    /// The word and the bit of an element.
    pub(crate) fn place(&self, element: usize) -> (usize, usize) {
        let (plane, position) = (element / self.positions, element % self.positions);
        let (image, line) = (plane / self.lines, plane % self.lines);
        let bit = image * self.positions + position;
        (line * self.line_words() + bit / 32, bit % 32)
    }
}

/// Of what a value is made on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Stored {
    #[default]
    F32,
    F16,
}

impl Stored {
    /// Its name in WGSL.
    pub(crate) fn wgsl(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }

    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// The bytes of a value's buffer, of whole words.
pub(crate) fn storage_bytes(fact: &Fact, stored: Stored) -> Result<usize, TensorError> {
    let elements = fact.shape.elements()?;
    let overflow = || TensorError::Overflow(fact.shape.clone());
    let bytes = match fact.dtype {
        DType::Bits => {
            let mask = MaskShape::of(&fact.shape);
            let words = mask.line_words().checked_mul(mask.lines);
            words.and_then(|w| w.checked_mul(4)).ok_or_else(overflow)?
        }
        DType::U8 => elements,
        _ => elements.checked_mul(stored.bytes()).ok_or_else(overflow)?,
    };
    bytes.checked_next_multiple_of(4).ok_or_else(overflow)
}
