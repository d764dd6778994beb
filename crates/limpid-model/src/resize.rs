//! Resampling of 8-bit pictures, bit-equal to Pillow's `Image.resize`.
//!
//! As in Pillow (`src/libImaging/Resample.c`): the filter is stretched by the
//! reduction factor, its normalised weights are rounded to 22 fractional bits,
//! one direction is resampled and rounded to 8 bits, then the other. The order
//! is that of Pillow 13.

use crate::ModelError;

/// Fractional bits of a weight: 32 less 8 for the sample and 2 for headroom.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// What sums start from, so that truncation rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// A resampling filter, under the names that timm and Pillow use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The nearest source pixel.
    Nearest,
    /// The mean over the output pixel's area.
    Box,
    /// Triangle, support 1.
    Bilinear,
    /// Hamming-windowed sinc, support 1.
    Hamming,
    /// Keys' cubic with a = -0.5, support 2.
    Bicubic,
    /// Lanczos-windowed sinc, support 3.
    Lanczos,
}

impl Interpolation {
    /// Every filter.
    pub const ALL: [Self; 6] = [
        Self::Nearest,
        Self::Box,
        Self::Bilinear,
        Self::Hamming,
        Self::Bicubic,
        Self::Lanczos,
    ];

    /// The name in a model's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Box => "box",
            Self::Bilinear => "bilinear",
            Self::Hamming => "hamming",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }

    /// The filter of a name in a model's configuration. `random`, which timm
    /// uses for training only, is bicubic.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "random" {
            return Some(Self::Bicubic);
        }
        Self::ALL.into_iter().find(|f| f.name() == name)
    }

    /// Half the width of the filter at scale 1.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The unnormalised filter at `x`.
    fn weight(self, x: f64) -> f64 {
        fn sinc(x: f64) -> f64 {
            if x == 0.0 {
                1.0
            } else {
                let x = x * std::f64::consts::PI;
                x.sin() / x
            }
        }
        match self {
            Self::Nearest | Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Hamming => {
                let x = x.abs();
                if x == 0.0 {
                    1.0
                } else if x >= 1.0 {
                    0.0
                } else {
                    let x = x * std::f64::consts::PI;
                    // The two constants are single precision in Pillow.
                    x.sin() / x * (f64::from(0.54f32) + f64::from(0.46f32) * x.cos())
                }
            }
            Self::Bicubic => {
                const A: f64 = -0.5;
                let x = x.abs();
                if x < 1.0 {
                    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * A
                } else {
                    0.0
                }
            }
            Self::Lanczos => {
                if (-3.0..3.0).contains(&x) {
                    sinc(x) * sinc(x / 3.0)
                } else {
                    0.0
                }
            }
        }
    }
}

/// A rectangle of a resized picture, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) x: u64,
    pub(crate) y: u64,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// The part `window` of the `CHANNELS`-channel picture `pixels` (`width` x
/// `height`) resized to `full` = (width, height): the values are those of the
/// whole resized picture, of which only this part is computed.
///
/// Sides are at most [`crate::Image::MAX_SIDE`], so tables stay small, and the
/// rows that the first pass makes are consumed one at a time.
pub(crate) fn resize_window<const CHANNELS: usize>(
    pixels: &[u8],
    (width, height): (usize, usize),
    full: (u64, u64),
    window: Window,
    filter: Interpolation,
) -> Result<Vec<u8>, ModelError> {
    // Pillow counts pixels in 32 bits, and nearest steps through all of them.
    if full.0.max(full.1) > i32::MAX as u64 {
        return Err(ModelError::Preprocess {
            key: "input_size",
            reason: format!(
                "would need the picture resized to {} x {} pixels; crop the picture to a less extreme aspect ratio",
                full.0, full.1
            ),
        });
    }
    let identity = full == (width as u64, height as u64);
    let row_len = window.width * CHANNELS;
    let mut out = vec![0u8; row_len * window.height];
    if row_len == 0 {
        return Ok(out);
    }
    if filter == Interpolation::Nearest || identity {
        let xs = nearest(width, full.0, window.x, window.width);
        let ys = nearest(height, full.1, window.y, window.height);
        for (row, &y) in out.chunks_exact_mut(row_len).zip(&ys) {
            for (to, &x) in row.chunks_exact_mut(CHANNELS).zip(&xs) {
                let from = (y * width + x) * CHANNELS;
                to.copy_from_slice(&pixels[from..from + CHANNELS]);
            }
        }
        return Ok(out);
    }
    let columns =
        (full.0 != width as u64).then(|| Taps::new(width, full.0, window.x, window.width, filter));
    let resample_row = |y: usize, to: &mut [u8]| {
        let row = &pixels[y * width * CHANNELS..(y + 1) * width * CHANNELS];
        match &columns {
            Some(taps) => horizontal::<CHANNELS>(row, taps, to),
            None => {
                let first = window.x as usize * CHANNELS;
                to.copy_from_slice(&row[first..first + row_len]);
            }
        }
    };
    if full.1 == height as u64 {
        for (i, to) in out.chunks_exact_mut(row_len).enumerate() {
            resample_row(window.y as usize + i, to);
        }
        return Ok(out);
    }
    let rows = Taps::new(height, full.1, window.y, window.height, filter);
    match &columns {
        Some(columns) if columns_go_first((width, height), full) => {
            vertical_first::<CHANNELS>(pixels, width, &rows, columns, &mut out);
        }
        _ => vertical(&rows, row_len, resample_row, &mut out),
    }
    Ok(out)
}

/// Whether Pillow resamples along columns before it does along rows: since
/// release 13 where the height shrinks by over twice as many pixels as the
/// width; never before.
fn columns_go_first((width, height): (usize, usize), full: (u64, u64)) -> bool {
    let shrinks_by = |from: usize, to: u64| from as i64 - to as i64;
    let rows = shrinks_by(height, full.1);
    rows > 0 && rows > 2 * shrinks_by(width, full.0)
}

/// The second pass of two, along columns: each row that `resample_row` makes
/// adds to every output row that sees it.
fn vertical(rows: &Taps, row_len: usize, resample_row: impl Fn(usize, &mut [u8]), out: &mut [u8]) {
    let mut sums = vec![HALF; out.len()];
    let mut row = vec![0u8; row_len];
    let mut open = 0;
    for y in rows.sources() {
        resample_row(y, &mut row);
        while rows.spans.get(open).is_some_and(|s| s.first + s.count <= y) {
            open += 1;
        }
        for (i, span) in rows.spans.iter().enumerate().skip(open) {
            if span.first > y {
                break;
            }
            if y < span.first + span.count {
                let weight = rows.weights[span.start + y - span.first];
                accumulate(&mut sums[i * row_len..(i + 1) * row_len], &row, weight);
            }
        }
    }
    for (to, &sum) in out.iter_mut().zip(&sums) {
        *to = clip8(sum);
    }
}

/// Both passes, along columns first.
fn vertical_first<const CHANNELS: usize>(
    pixels: &[u8],
    width: usize,
    rows: &Taps,
    columns: &Taps,
    out: &mut [u8],
) {
    let seen = columns.sources();
    let seen = seen.start * CHANNELS..seen.end * CHANNELS;
    let mut sums = vec![HALF; seen.len()];
    let mut row = vec![0u8; width * CHANNELS];
    let row_len = columns.spans.len() * CHANNELS;
    for (to, span) in out.chunks_exact_mut(row_len).zip(&rows.spans) {
        sums.fill(HALF);
        for i in 0..span.count {
            let start = (span.first + i) * width * CHANNELS;
            let source = &pixels[start + seen.start..start + seen.end];
            accumulate(&mut sums, source, rows.weights[span.start + i]);
        }
        for (to, &sum) in row[seen.clone()].iter_mut().zip(&sums) {
            *to = clip8(sum);
        }
        horizontal::<CHANNELS>(&row, columns, to);
    }
}

/// Adds `weight` times `values` to `sums`.
fn accumulate(sums: &mut [i32], values: &[u8], weight: i32) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
    }
}

fn horizontal<const CHANNELS: usize>(row: &[u8], taps: &Taps, to: &mut [u8]) {
    for (pixel, span) in to.chunks_exact_mut(CHANNELS).zip(&taps.spans) {
        let mut sums = [HALF; CHANNELS];
        let weights = &taps.weights[span.start..span.start + span.count];
        let source = &row[span.first * CHANNELS..(span.first + span.count) * CHANNELS];
        for (&weight, values) in weights.iter().zip(source.chunks_exact(CHANNELS)) {
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
            }
        }
        for (to, sum) in pixel.iter_mut().zip(sums) {
            *to = clip8(sum);
        }
    }
}

fn clip8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// The source pixels `first .. first + count` of an output pixel, and where its
/// weights start in the table.
struct Span {
    first: usize,
    count: usize,
    start: usize,
}

/// Weights of one axis for a run of output pixels.
struct Taps {
    spans: Vec<Span>,
    weights: Vec<i32>,
}

impl Taps {
    /// For the output pixels `from .. from + count` of `to` when `size` source
    /// pixels become `to`.
    fn new(size: usize, to: u64, from: u64, count: usize, filter: Interpolation) -> Self {
        let scale = size as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let mut spans = Vec::with_capacity(count);
        let mut weights = Vec::new();
        let mut exact = Vec::new();
        for i in 0..count as u64 {
            let center = ((from + i) as f64 + 0.5) * scale;
            // Truncation towards zero, as a conversion in C.
            let first = ((center - support + 0.5) as usize).min(size - 1);
            let end = ((center + support + 0.5) as usize).clamp(first, size);
            exact.clear();
            exact.extend(
                (first..end).map(|x| filter.weight((x as f64 - center + 0.5) * (1.0 / stretch))),
            );
            let total: f64 = exact.iter().sum();
            spans.push(Span {
                first,
                count: end - first,
                start: weights.len(),
            });
            weights.extend(exact.iter().map(|&w| {
                let w = if total == 0.0 { w } else { w / total };
                let fixed = w * f64::from(1u32 << PRECISION_BITS);
                (fixed + if w < 0.0 { -0.5 } else { 0.5 }) as i32
            }));
        }
        Self { spans, weights }
    }

    /// The source pixels from the first to the last that any output sees.
    fn sources(&self) -> std::ops::Range<usize> {
        let first = self.spans.iter().map(|s| s.first).min().unwrap_or(0);
        let end = self.spans.iter().map(|s| s.first + s.count).max();
        first..end.unwrap_or(0)
    }
}

/// The source pixel of each of the output pixels `from .. from + count` when
/// `size` become `to`: positions are summed up, so that they round as Pillow's.
fn nearest(size: usize, to: u64, from: u64, count: usize) -> Vec<usize> {
    if to == size as u64 {
        return (from as usize..from as usize + count).collect();
    }
    let step = size as f64 / to as f64;
    let mut position = step * 0.5;
    for _ in 0..from {
        position += step;
    }
    (0..count)
        .map(|_| {
            let x = (position as usize).min(size - 1);
            position += step;
            x
        })
        .collect()
}
