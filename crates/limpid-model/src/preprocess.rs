//! From a decoded picture to a model's input, as timm's evaluation transforms.

use crate::resize::{Window, resize_window};
use crate::{Crop, Image, Input, Interpolation, ModelError};
use limpid_tensor::Tensor;

/// How a picture's aspect ratio meets the model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CropMode {
    /// The shorter side is resized, the middle is cut out.
    Center,
    /// The longer side is resized, the rest is padded with the mean colour.
    Border,
    /// Both sides are resized, the aspect ratio is lost.
    Squash,
}

impl CropMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Center, Self::Border, Self::Squash];

    /// The name in a model's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Center => "center",
            Self::Border => "border",
            Self::Squash => "squash",
        }
    }

    /// The mode of a name in a model's configuration.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }
}

/// What happens to a picture before the network sees it: the evaluation
/// transforms of timm 1.0 (`transforms_imagenet_eval`), with the same values
/// bit for bit for the same decoded pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    input_size: [usize; 3],
    interpolation: Interpolation,
    crop_pct: f64,
    crop_mode: CropMode,
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Default for Preprocess {
    /// ImageNet's: 3 x 224 x 224, bicubic, 0.875 of the shorter side.
    fn default() -> Self {
        Self {
            input_size: [3, 224, 224],
            interpolation: Interpolation::Bicubic,
            crop_pct: Self::DEFAULT_CROP_PCT,
            crop_mode: CropMode::Center,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
        }
    }
}

/// Where the resized picture lies in the crop, along one axis.
struct Axis {
    /// Length of the whole resized picture.
    full: u64,
    /// Where the crop starts in it; negative where it is padded.
    offset: i64,
    /// Length of the crop.
    crop: usize,
}

impl Preprocess {
    /// The share of the shorter side that is kept where nothing is said.
    pub const DEFAULT_CROP_PCT: f64 = 0.875;

    /// The longest side of an input, in pixels.
    pub const MAX_SIDE: usize = 1 << 14;

    /// The most elements of an input.
    pub const MAX_ELEMENTS: usize = 1 << 28;

    /// Preprocessing to `input_size` = [channels, height, width].
    ///
    /// `crop_pct` is the ratio of the input's side to that of the resized
    /// picture (0.01 to 4). `mean` and `std` have one value or one for each
    /// channel, in units of 0 to 1 for a sample of 0 to 255.
    ///
    /// # Errors
    /// When a value is out of range; the message names it.
    pub fn new(
        input_size: [usize; 3],
        interpolation: Interpolation,
        crop_pct: f64,
        crop_mode: CropMode,
        mean: &[f64],
        std: &[f64],
    ) -> Result<Self, ModelError> {
        let wrong = |key, reason| Err(ModelError::Preprocess { key, reason });
        let [channels, height, width] = input_size;
        let elements = channels
            .checked_mul(height)
            .and_then(|n| n.checked_mul(width));
        if elements.is_none_or(|n| n == 0 || n > Self::MAX_ELEMENTS)
            || height.max(width) > Self::MAX_SIDE
        {
            return wrong(
                "input_size",
                format!(
                    "is {input_size:?}; give [channels, height, width] with sides from 1 to {} and at most {} elements",
                    Self::MAX_SIDE,
                    Self::MAX_ELEMENTS
                ),
            );
        }
        if !(0.01..=4.0).contains(&crop_pct) {
            return wrong(
                "crop_pct",
                format!("is {crop_pct}; give a number from 0.01 to 4, such as 0.875"),
            );
        }
        let spread = |key, values: &[f64]| {
            let positive = key != "std" || values.iter().all(|&v| v as f32 > 0.0);
            let finite = values.iter().all(|&v| (v as f32).is_finite());
            match values.len() {
                1 if positive && finite => Ok(vec![values[0]; channels]),
                n if n == channels && positive && finite => Ok(values.to_vec()),
                _ => Err(ModelError::Preprocess {
                    key,
                    reason: format!(
                        "is {values:?}; give one finite{} number for each of the {channels} channels, or one for all",
                        if key == "std" { " positive" } else { "" }
                    ),
                }),
            }
        };
        Ok(Self {
            input_size,
            interpolation,
            crop_pct,
            crop_mode,
            mean: spread("mean", mean)?,
            std: spread("std", std)?,
        })
    }

    /// [channels, height, width] of the input.
    #[must_use]
    pub fn input_size(&self) -> [usize; 3] {
        self.input_size
    }

    /// The resampling filter.
    #[must_use]
    pub fn interpolation(&self) -> Interpolation {
        self.interpolation
    }

    /// The ratio of the input's side to that of the resized picture.
    #[must_use]
    pub fn crop_pct(&self) -> f64 {
        self.crop_pct
    }

    /// How the aspect ratio is dealt with.
    #[must_use]
    pub fn crop_mode(&self) -> CropMode {
        self.crop_mode
    }

    /// The mean that is subtracted, one for each channel, where white is 1.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The standard deviation that is divided by, one for each channel.
    #[must_use]
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// The model's input for a picture: resized, cropped or padded, and
    /// normalised to `(v / 255 - mean) / std` in single precision.
    ///
    /// Only the part of the resized picture that is seen is computed, so time
    /// and memory do not grow with the aspect ratio.
    ///
    /// # Errors
    /// When the input has neither 1 nor 3 channels, or the aspect ratio is so
    /// extreme that the resized picture would pass 2^31 pixels on a side.
    pub fn apply(&self, image: &Image) -> Result<Input, ModelError> {
        let [channels, _, _] = self.input_size;
        let (crop8, crop) = match channels {
            1 => self.crop8::<1>(image, &luma(image.pixels()))?,
            3 => self.crop8::<3>(image, image.pixels())?,
            _ => {
                return Err(ModelError::Preprocess {
                    key: "input_size",
                    reason: format!(
                        "has {channels} channels, and a picture gives 1 or 3; pass the input as a .npy file"
                    ),
                });
            }
        };
        let tensor = self.normalize(&crop8)?;
        let rgb8 = match channels {
            1 => crop8.iter().flat_map(|&v| [v; 3]).collect(),
            _ => crop8,
        };
        Ok(Input::of_picture(image, tensor, rgb8, crop))
    }

    /// 8-bit samples `[H,W,C]` as the network's input `[C,H,W]`.
    fn normalize(&self, crop8: &[u8]) -> Result<Tensor, ModelError> {
        let [channels, height, width] = self.input_size;
        let mut tensor =
            Tensor::zeros([channels, height, width]).map_err(|source| ModelError::Tensor {
                file: "the model's input".to_owned(),
                source,
            })?;
        for (c, plane) in tensor
            .data_mut()
            .chunks_exact_mut(height * width)
            .enumerate()
        {
            let (mean, std) = (self.mean[c] as f32, self.std[c] as f32);
            let table: Vec<f32> = (0..=255u8)
                .map(|v| (f32::from(v) / 255.0 - mean) / std)
                .collect();
            for (to, pixel) in plane.iter_mut().zip(crop8.chunks_exact(channels)) {
                *to = table[usize::from(pixel[c])];
            }
        }
        Ok(tensor)
    }

    /// The picture, `[H,W,3]` in 8 bits, that an input `[C,H,W]` of 1 or 3 channels
    /// stands for: `(x * std + mean) * 255`, rounded and clamped. `None` for
    /// other shapes.
    #[must_use]
    pub fn denormalize(&self, input: &Tensor) -> Option<Vec<u8>> {
        let &[channels, height, width] = input.dims() else {
            return None;
        };
        if channels != self.input_size[0] || !matches!(channels, 1 | 3) {
            return None;
        }
        let plane = height * width;
        let sample = |c: usize, i: usize| {
            let c = c.min(channels - 1);
            let v = f64::from(input.data()[c * plane + i]) * self.std[c] + self.mean[c];
            (v * 255.0).round().clamp(0.0, 255.0) as u8
        };
        Some(
            (0..plane)
                .flat_map(|i| [sample(0, i), sample(1, i), sample(2, i)])
                .collect(),
        )
    }

    /// The cropped or padded picture `[H,W,C]` and its place in the original.
    fn crop8<const CHANNELS: usize>(
        &self,
        image: &Image,
        pixels: &[u8],
    ) -> Result<(Vec<u8>, Crop), ModelError> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let [rows, columns] = self.layout(height as u64, width as u64);
        let (top, seen_rows) = rows.seen();
        let (left, seen_columns) = columns.seen();
        let part = resize_window::<CHANNELS>(
            pixels,
            (width, height),
            (columns.full, rows.full),
            Window {
                x: left,
                y: top,
                width: seen_columns,
                height: seen_rows,
            },
            self.interpolation,
        )?;
        let crop = Crop {
            x: columns.offset as f64 * width as f64 / columns.full as f64,
            y: rows.offset as f64 * height as f64 / rows.full as f64,
            width: columns.crop as f64 * width as f64 / columns.full as f64,
            height: rows.crop as f64 * height as f64 / rows.full as f64,
        };
        if seen_rows == rows.crop && seen_columns == columns.crop {
            return Ok((part, crop));
        }
        let fill: Vec<u8> = match self.crop_mode {
            CropMode::Border => self
                .mean
                .iter()
                .map(|m| (255.0 * m).round_ties_even().clamp(0.0, 255.0) as u8)
                .collect(),
            CropMode::Center | CropMode::Squash => vec![0; CHANNELS],
        };
        let mut padded = fill.repeat(rows.crop * columns.crop);
        let pad_top = (-rows.offset).max(0) as usize;
        let pad_left = (-columns.offset).max(0) as usize;
        let part_len = seen_columns * CHANNELS;
        for (to, from) in padded
            .chunks_exact_mut(columns.crop * CHANNELS)
            .skip(pad_top)
            .zip(part.chunks_exact(part_len.max(1)))
        {
            to[pad_left * CHANNELS..][..part_len].copy_from_slice(from);
        }
        Ok((padded, crop))
    }

    /// Size of the resized picture and place of the crop, for rows and columns.
    fn layout(&self, height: u64, width: u64) -> [Axis; 2] {
        let [_, crop_height, crop_width] = self.input_size;
        let scale = |side: usize| ((side as f64 / self.crop_pct).floor() as u64).max(1);
        let (scale_height, scale_width) = (scale(crop_height), scale(crop_width));
        let (full_height, full_width) = match self.crop_mode {
            CropMode::Squash => (scale_height, scale_width),
            CropMode::Center if scale_height == scale_width => {
                // torchvision's Resize: the longer side is truncated.
                let long =
                    |long: u64, short: u64| ((scale_height * long) as f64 / short as f64) as u64;
                if width <= height {
                    (long(height, width), scale_height)
                } else {
                    (scale_height, long(width, height))
                }
            }
            CropMode::Center | CropMode::Border => {
                let (h, w) = (height as f64, width as f64);
                let (rh, rw) = (h / scale_height as f64, w / scale_width as f64);
                let ratio = if self.crop_mode == CropMode::Border {
                    rh.max(rw)
                } else {
                    rh.min(rw)
                };
                // A side that rounds to nothing keeps one pixel.
                let side = |x: f64| (x / ratio).round_ties_even().max(1.0) as u64;
                (side(h), side(w))
            }
        };
        [
            Axis::centered(full_height, crop_height),
            Axis::centered(full_width, crop_width),
        ]
    }
}

impl Axis {
    /// A crop, or padding, in the middle, rounded as torchvision's CenterCrop
    /// and timm's CenterCropOrPad: half a pixel goes to the even side of a crop
    /// and to the far side of padding.
    fn centered(full: u64, crop: usize) -> Self {
        let surplus = full as i64 - crop as i64;
        let offset = if surplus < 0 {
            -(-surplus / 2)
        } else {
            let half = surplus / 2;
            half + (surplus & half & 1)
        };
        Self { full, offset, crop }
    }

    /// First pixel and number of the pixels that the crop shows.
    fn seen(&self) -> (u64, usize) {
        let first = self.offset.max(0) as u64;
        let seen = (self.full - first).min(self.crop as u64) as usize;
        (first, seen)
    }
}

/// ITU-R 601-2 luma of RGB pixels, rounded as Pillow's conversion to `L`.
fn luma(rgb: &[u8]) -> Vec<u8> {
    rgb.chunks_exact(3)
        .map(|p| {
            let [r, g, b] = [p[0], p[1], p[2]].map(u32::from);
            ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
        })
        .collect()
}
