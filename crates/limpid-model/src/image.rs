//! Decoding of picture files.

use crate::{ModelError, file, jpeg};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest picture file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// The largest decoded picture before it is reduced to 8-bit RGB, in bytes.
const MAX_DECODED_BYTES: u64 = 1 << 31;

/// A decoded, upright picture in 8-bit RGB.
///
/// Where decoders differ, these hold: the EXIF orientation is applied; 16-bit
/// samples are scaled by 257 (so 65535 is 255); alpha is composited on white;
/// CMYK JPEG files are read as Adobe writes them (inverted); ICC profiles are
/// ignored; greyscale is replicated; of an animation the first frame is taken.
///
/// Copies share the pixels.
#[derive(Clone)]
pub struct Image {
    width: u32,
    height: u32,
    pixels: Arc<[u8]>,
    sha256: Arc<str>,
    path: Option<Arc<Path>>,
}

impl Image {
    /// The most pixels that a picture may have.
    pub const MAX_PIXELS: u64 = 1 << 28;

    /// The most pixels that a side of a picture may have.
    pub const MAX_SIDE: u32 = 1 << 20;

    /// Reads and decodes a JPEG, PNG, WebP, GIF, BMP or TIFF file of at most
    /// 1 GiB. The format is told by the content, not by the name.
    ///
    /// # Errors
    /// When the file cannot be read, is no picture, is damaged or truncated, or
    /// has more than [`Image::MAX_PIXELS`] pixels or a side longer than
    /// [`Image::MAX_SIDE`] (which is known before anything is decoded).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let bytes = file::read(path, MAX_FILE_BYTES)?;
        let mut image = Self::decode(&bytes, &path.display().to_string())?;
        image.path = Some(path.into());
        Ok(image)
    }

    /// Decodes the content of a picture file; `name` stands for it in errors.
    ///
    /// # Errors
    /// As [`Image::open`].
    pub fn decode(bytes: &[u8], name: &str) -> Result<Self, ModelError> {
        // Decoders are other people's code: should one panic on a file that
        // nobody thought of, it costs that file and not the run.
        let decoded = std::panic::catch_unwind(|| decode_rgb(bytes, name));
        let (width, height, pixels) = decoded.unwrap_or_else(|_| {
            Err(ModelError::ImageDecode {
                file: name.to_owned(),
                reason: "its decoder gave up on it".to_owned(),
            })
        })?;
        Ok(Self {
            width,
            height,
            pixels: pixels.into(),
            sha256: file::sha256_hex(bytes).into(),
            path: None,
        })
    }

    /// A picture of raw pixels: rows from the top, R, G, B for each pixel. Its
    /// SHA-256 is that of these bytes.
    ///
    /// # Errors
    /// When `pixels` does not hold `3 * width * height` bytes, a side is 0, or
    /// the picture is too large.
    ///
    /// ```
    /// let red = limpid_model::Image::from_rgb8(2, 1, vec![255, 0, 0, 255, 0, 0])?;
    /// assert_eq!((red.width(), red.height()), (2, 1));
    /// # Ok::<(), limpid_model::ModelError>(())
    /// ```
    pub fn from_rgb8(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, ModelError> {
        check_size("the picture", width, height)?;
        let expected = u64::from(width) * u64::from(height) * 3;
        if expected == 0 || expected != pixels.len() as u64 {
            return Err(ModelError::ImageBuffer {
                width,
                height,
                expected,
                found: pixels.len(),
            });
        }
        Ok(Self {
            width,
            height,
            sha256: file::sha256_hex(&pixels).into(),
            pixels: pixels.into(),
            path: None,
        })
    }

    /// The width in pixels, at least 1.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The height in pixels, at least 1.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels: rows from the top, R, G, B for each, `3 * width * height`
    /// bytes.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The SHA-256 of the file's bytes, in 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The file that the picture was read from.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The picture as if read from `path`.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into().into());
        self
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image")
            .field("width", &self.width)
            .field("height", &self.height)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

pub(crate) fn check_size(name: &str, width: u32, height: u32) -> Result<(), ModelError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > Image::MAX_PIXELS || width.max(height) > Image::MAX_SIDE {
        return Err(ModelError::ImageTooLarge {
            file: name.to_owned(),
            width,
            height,
        });
    }
    Ok(())
}

/// Width, height and upright RGB pixels of a picture file's content.
fn decode_rgb(bytes: &[u8], name: &str) -> Result<(u32, u32, Vec<u8>), ModelError> {
    let failed = |e: image::ImageError| decode_error(name, &e);
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| failed(e.into()))?;
    let Some(format) = reader.format() else {
        return Err(ModelError::UnknownImageFormat {
            file: name.to_owned(),
        });
    };
    if format == ImageFormat::Jpeg {
        let (width, height, rgb, orientation) = jpeg::decode(bytes, name)?;
        return upright(name, width, height, rgb, orientation);
    }
    let mut reader = reader;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_size(name, width, height)?;
    if width == 0 || height == 0 {
        return Err(ModelError::ImageDecode {
            file: name.to_owned(),
            reason: format!("it is {width} x {height} pixels"),
        });
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let color = decoder.color_type();
    let total = decoder.total_bytes();
    if total > MAX_DECODED_BYTES {
        return Err(ModelError::ImageTooLarge {
            file: name.to_owned(),
            width,
            height,
        });
    }
    let mut raw = Vec::new();
    usize::try_from(total)
        .ok()
        .and_then(|n| raw.try_reserve_exact(n).ok().map(|()| raw.resize(n, 0)))
        .ok_or_else(|| ModelError::OutOfMemory {
            file: name.to_owned(),
            bytes: total,
        })?;
    decoder.read_image(&mut raw).map_err(failed)?;
    let rgb = to_rgb8(raw, color).ok_or_else(|| ModelError::ImageDecode {
        file: name.to_owned(),
        reason: format!("its pixel format {color:?} is not supported"),
    })?;
    upright(name, width, height, rgb, orientation)
}

/// The picture turned as its orientation says.
fn upright(
    name: &str,
    width: u32,
    height: u32,
    rgb: Vec<u8>,
    orientation: Orientation,
) -> Result<(u32, u32, Vec<u8>), ModelError> {
    if orientation == Orientation::NoTransforms {
        return Ok((width, height, rgb));
    }
    let rgb = RgbImage::from_raw(width, height, rgb).ok_or_else(|| ModelError::ImageDecode {
        file: name.to_owned(),
        reason: "the decoder returned fewer pixels than the header promises".to_owned(),
    })?;
    let mut upright = DynamicImage::ImageRgb8(rgb);
    upright.apply_orientation(orientation);
    let (width, height) = (upright.width(), upright.height());
    Ok((width, height, upright.into_rgb8().into_raw()))
}

fn decode_error(name: &str, error: &image::ImageError) -> ModelError {
    let file = name.to_owned();
    if let image::ImageError::IoError(e) = error
        && e.kind() == std::io::ErrorKind::UnexpectedEof
    {
        return ModelError::ImageTruncated { file };
    }
    let reason = error.to_string().replace('\n', " ");
    ModelError::ImageDecode {
        file,
        reason: reason.trim_end_matches('.').to_owned(),
    }
}

/// Decoded samples (native-endian where they are wider than a byte) to 8-bit
/// RGB; `None` for a layout that is not known.
fn to_rgb8(raw: Vec<u8>, color: ColorType) -> Option<Vec<u8>> {
    let (channels, width) = match color {
        ColorType::Rgb8 => return Some(raw),
        ColorType::L8 => (1, 1),
        ColorType::La8 => (2, 1),
        ColorType::Rgba8 => (4, 1),
        ColorType::L16 => (1, 2),
        ColorType::La16 => (2, 2),
        ColorType::Rgb16 => (3, 2),
        ColorType::Rgba16 => (4, 2),
        ColorType::Rgb32F => (3, 4),
        ColorType::Rgba32F => (4, 4),
        _ => return None,
    };
    let pixels = raw.len() / (channels * width);
    let mut rgb = Vec::new();
    rgb.try_reserve_exact(pixels * 3).ok()?;
    let sample = |bytes: &[u8]| -> u32 {
        match *bytes {
            [v] => u32::from(v) * 257,
            [a, b] => u32::from(u16::from_ne_bytes([a, b])),
            [a, b, c, d] => {
                (f32::from_ne_bytes([a, b, c, d]).clamp(0.0, 1.0) * 65535.0).round() as u32
            }
            _ => 0,
        }
    };
    for pixel in raw.chunks_exact(channels * width) {
        let mut values = pixel.chunks_exact(width).map(sample);
        let mut next = || values.next().unwrap_or(0);
        let first = next();
        let colour = if channels < 3 {
            [first; 3]
        } else {
            [first, next(), next()]
        };
        let alpha = if channels % 2 == 0 { next() } else { 65535 };
        rgb.extend(colour.map(|v| {
            // In 16 bits, and rounded once: 65535 * 257 is far below 2^53.
            let on_white = u64::from(v) * u64::from(alpha) + 65535 * u64::from(65535 - alpha);
            const UNIT: u64 = 65535 * 257;
            ((on_white + UNIT / 2) / UNIT) as u8
        }));
    }
    Some(rgb)
}
