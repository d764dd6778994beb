//! What a network is given, and where it lies in the original picture.

use crate::Image;
use limpid_tensor::Tensor;
use std::path::{Path, PathBuf};

/// A rectangle of the upright original picture, in its pixels; it reaches
/// outside (x or y negative) where the model saw padding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// One input of a network.
#[derive(Debug, Clone)]
pub struct Input {
    tensor: Tensor,
    rgb8: Option<Vec<u8>>,
    crop: Option<Crop>,
    size: Option<[usize; 2]>,
    sha256: String,
    path: Option<PathBuf>,
}

impl Input {
    /// The input made from a picture.
    pub(crate) fn of_picture(image: &Image, tensor: Tensor, rgb8: Vec<u8>, crop: Crop) -> Self {
        Self {
            tensor,
            rgb8: Some(rgb8),
            crop: Some(crop),
            size: Some([image.height() as usize, image.width() as usize]),
            sha256: image.sha256().to_owned(),
            path: image.path().map(Path::to_owned),
        }
    }

    /// The input that was given as an array.
    pub(crate) fn of_array(tensor: Tensor, sha256: String) -> Self {
        Self {
            tensor,
            rgb8: None,
            crop: None,
            size: None,
            sha256,
            path: None,
        }
    }

    pub(crate) fn set_path(&mut self, path: &Path) {
        self.path = Some(path.to_owned());
    }

    /// The normalised input `[C,H,W]`.
    #[must_use]
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The picture that the model saw, `[H,W,3]` in 8 bits with padding; `None`
    /// for an input that was given as an array.
    #[must_use]
    pub fn rgb8(&self) -> Option<&[u8]> {
        self.rgb8.as_deref()
    }

    /// The region of the upright original that the model saw; `None` for an
    /// input that was given as an array.
    #[must_use]
    pub fn crop(&self) -> Option<Crop> {
        self.crop
    }

    /// Height and width of the upright original; `None` for an input that was
    /// given as an array.
    #[must_use]
    pub fn original_size(&self) -> Option<[usize; 2]> {
        self.size
    }

    /// The SHA-256 of the file's bytes, in 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The file that the input was read from.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}
