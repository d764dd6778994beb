use image::RgbImage;
use image::imageops::{self, FilterType};

use crate::color::{TABLE, luma, mix, to_u8};
use crate::heatmap::Taps;
use crate::text::{self, Line, break_lines, draw_line, shape_line};
use crate::{ColorScale, Heatmap, Palette, RenderError};

/// A picture in upright orientation, 8-bit RGB.
#[derive(Debug, Clone, Copy)]
pub struct Photo<'a> {
    /// `[height, width, 3]` in C order.
    pub pixels: &'a [u8],
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// The part of the picture that the model saw, in pixels of the picture. Its
/// corner is negative, and it is larger than the picture, where the picture was
/// padded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CropRect {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width; positive.
    pub width: f64,
    /// Height; positive.
    pub height: f64,
}

/// A map over the picture that it explains.
#[derive(Debug, Clone, Copy)]
pub struct Overlay<'a> {
    /// The original picture.
    pub photo: Photo<'a>,
    /// The raw map on its own grid, which covers `crop`.
    pub map: Heatmap<'a>,
    /// Where the map lies on the picture.
    pub crop: CropRect,
    /// The first line of the caption, for example `967: espresso`.
    pub title: &'a str,
    /// The second line of the caption, for example the method and the score.
    pub subtitle: &'a str,
    /// Whether negative values are shown, in a colour of their own; otherwise
    /// they count as zero.
    pub signed: bool,
}

/// How an overlay is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverlayOptions {
    /// Percentile of the map's magnitudes at which the colours end, 0 to 100;
    /// 99.5 by default.
    pub percentile: f64,
    /// The magnitude at which the colours end instead, in units of the raw map,
    /// 0 or more: so that several pictures have one scale. None by default.
    pub limit: Option<f64>,
    /// Opacity of the strongest colour, 0 to 1; 0.85 by default.
    pub opacity: f64,
    /// A picture with a longer side than this is drawn smaller; 64 to 8192
    /// pixels, 2048 by default.
    pub max_side: usize,
    /// A picture whose longer side is shorter than this is enlarged by a whole
    /// factor, so that the text beside it stays in proportion; 1 to `max_side`,
    /// 320 by default.
    pub min_side: usize,
}

impl Default for OverlayOptions {
    fn default() -> Self {
        Self {
            percentile: 99.5,
            limit: None,
            opacity: 0.85,
            max_side: 2048,
            min_side: 320,
        }
    }
}

impl OverlayOptions {
    fn validate(&self) -> Result<(), RenderError> {
        let check = |option, value: f64, ok, range| match ok {
            true => Ok(()),
            false => Err(RenderError::Option {
                option,
                value,
                range,
            }),
        };
        let (max, min) = (self.max_side, self.min_side);
        let limit = self.limit.unwrap_or(0.0);
        check(
            "limit",
            limit,
            limit.is_finite() && limit >= 0.0,
            "0 or more",
        )?;
        check(
            "opacity",
            self.opacity,
            (0.0..=1.0).contains(&self.opacity),
            "0 to 1",
        )?;
        check(
            "max_side",
            max as f64,
            (64..=8192).contains(&max),
            "64 to 8192",
        )?;
        check(
            "min_side",
            min as f64,
            (1..=max).contains(&min),
            "1 to max_side",
        )
    }
}

const BACKGROUND: [f32; 3] = [255.0; 3];
const TITLE: [f32; 3] = [24.0, 26.0, 31.0];
const TEXT: [f32; 3] = [92.0, 97.0, 106.0];
const LINES: [f32; 3] = [120.0, 125.0, 134.0];

/// Share of the colour that is kept where the model looked and elsewhere; the
/// rest is grey, so that the colours of the map stand out.
const SATURATION_INSIDE: f32 = 0.4;
const SATURATION_OUTSIDE: f32 = 0.3;
/// Brightness where the model did not look.
const DIM_OUTSIDE: f32 = 0.4;
/// Under a signed map the picture is grey and this much of it fades to a light
/// tone: zero is near-white there, and both signs must stand out.
const FADE_SIGNED: f32 = 0.5;
const FADED: f32 = 236.0;
/// The line around what the model saw.
const FRAME_OPACITY: f32 = 0.55;
const TITLE_LINES: usize = 2;
const SUBTITLE_LINES: usize = 2;

impl Overlay<'_> {
    /// Draws the overlay: a caption, the picture with the map on it, and a
    /// colour bar with values of the raw map.
    ///
    /// The map is interpolated bilinearly from its grid onto the crop (cell
    /// centres at half cells, edges continued), and its opacity rises with its
    /// magnitude, so that the picture stays visible. What the model did not see
    /// is dimmed. Colours end at a percentile of the magnitudes (see
    /// [`ColorScale`]).
    ///
    /// Work and memory are bounded: the picture is drawn at most
    /// [`OverlayOptions::max_side`] pixels long, and a small one is enlarged.
    ///
    /// # Errors
    /// If a buffer does not have its stated size, the map is not finite, the
    /// crop has no area, or an option is out of its range.
    pub fn render(&self, options: &OverlayOptions) -> Result<RgbImage, RenderError> {
        let (picture, scale) = self.painted(options)?;
        Ok(self.compose(&picture, &scale))
    }

    /// Draws the picture with the map on it, without caption and colour bar.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn picture(&self, options: &OverlayOptions) -> Result<RgbImage, RenderError> {
        Ok(self.painted(options)?.0)
    }

    fn painted(&self, options: &OverlayOptions) -> Result<(RgbImage, ColorScale), RenderError> {
        options.validate()?;
        let crop = self.crop;
        let finite = [crop.x, crop.y, crop.width, crop.height]
            .iter()
            .all(|v| v.is_finite());
        if !finite || crop.width <= 0.0 || crop.height <= 0.0 {
            return Err(RenderError::Crop {
                x: crop.x,
                y: crop.y,
                width: crop.width,
                height: crop.height,
            });
        }
        let scale = match options.limit {
            Some(limit) => ColorScale::to(limit, self.map, self.signed)?,
            None => ColorScale::of(self.map, self.signed, options.percentile)?,
        };
        let mut picture = self.photo.resized(options)?;
        self.paint(&mut picture, &scale, options.opacity);
        Ok((picture, scale))
    }

    fn palette(&self) -> Palette {
        if self.signed {
            Palette::Diverging
        } else {
            Palette::Sequential
        }
    }

    /// Blends the map over the resized picture, in place.
    fn paint(&self, picture: &mut RgbImage, scale: &ColorScale, opacity: f64) {
        let table = self.palette().table();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let taps = |n: usize, original: usize, start: f64, length: f64, cells: usize| {
            (0..n)
                .map(|i| {
                    let at = (i as f64 + 0.5) * original as f64 / n as f64;
                    let inside = at >= start && at < start + length;
                    inside.then(|| Taps::new((at - start) / length * cells as f64, cells))
                })
                .collect::<Vec<Option<Taps>>>()
        };
        let (crop, map, photo) = (self.crop, self.map, self.photo);
        let columns = taps(width, photo.width, crop.x, crop.width, map.width);
        let rows = taps(height, photo.height, crop.y, crop.height, map.height);
        for (row, line) in rows.iter().zip(picture.chunks_exact_mut(3 * width)) {
            for (column, pixel) in columns.iter().zip(line.chunks_exact_mut(3)) {
                let rgb = [pixel[0], pixel[1], pixel[2]].map(f32::from);
                let grey = [luma(rgb); 3];
                let blended = match (row, column) {
                    (Some(row), Some(column)) => {
                        let value = map.sample(*column, *row);
                        let color = table[(scale.position(value) * (TABLE - 1) as f64) as usize];
                        let alpha = alpha(scale.strength(value), self.signed, opacity);
                        let base = if self.signed {
                            mix(grey, [FADED; 3], FADE_SIGNED)
                        } else {
                            mix(grey, rgb, SATURATION_INSIDE)
                        };
                        mix(base, color, alpha)
                    }
                    _ => mix(grey, rgb, SATURATION_OUTSIDE).map(|v| v * DIM_OUTSIDE),
                };
                pixel.copy_from_slice(&to_u8(blended));
            }
        }
        frame(picture, &columns, &rows);
    }

    /// Puts caption, picture and colour bar together.
    fn compose(&self, picture: &RgbImage, scale: &ColorScale) -> RgbImage {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let font = (width.max(height) as f32 / 46.0).clamp(12.5, 34.0);
        let title_font = font * 1.3;
        let pad = font.round() as usize;
        // Room for the text and the bar even where the picture is a thin strip.
        let area_width = width.max((font * 14.0) as usize);
        let area_height = height.max((font * 9.0) as usize);

        let spacing = 1.7 * f64::from(font) / area_height as f64;
        let ticks: Vec<(f64, Line)> = scale
            .ticks(spacing)
            .into_iter()
            .map(|t| (t.position, shape_line(&t.label)))
            .collect();
        let label_width = ticks.iter().map(|t| t.1.width).fold(0.0, f32::max) * font;
        let bar_width = (font * 1.1).round() as usize;
        let tick_length = (font * 0.35).round() as usize;
        let gap = pad;
        let label_gap = (font * 0.3).round() as usize;
        let panel = gap + bar_width + tick_length + label_gap + label_width.ceil() as usize;

        let canvas_width = pad + area_width + panel + pad;
        let text_width = (canvas_width - 2 * pad) as f32;
        let title = break_lines(
            &text::clean(self.title),
            text_width / title_font,
            TITLE_LINES,
        );
        let subtitle = break_lines(
            &text::clean(self.subtitle),
            text_width / font,
            SUBTITLE_LINES,
        );
        let caption = caption_height(&title, title_font) + caption_height(&subtitle, font);
        let top = pad + caption.ceil() as usize + if caption > 0.0 { pad * 2 / 3 } else { 0 };
        let canvas_height = top + area_height + pad;
        let mut canvas = RgbImage::from_pixel(
            canvas_width as u32,
            canvas_height as u32,
            image::Rgb(to_u8(BACKGROUND)),
        );

        let mut y = pad as f32;
        for (lines, size, color) in [(&title, title_font, TITLE), (&subtitle, font, TEXT)] {
            for line in lines {
                draw_line(&mut canvas, line, pad as f32, y + size, size, color);
                y += size * LINE_HEIGHT;
            }
        }
        let left = pad + (area_width - width) / 2;
        let upper = top + (area_height - height) / 2;
        imageops::replace(&mut canvas, picture, left as i64, upper as i64);

        let bar = Bar {
            x: pad + area_width + gap,
            y: top,
            width: bar_width,
            height: area_height,
        };
        self.draw_bar(&mut canvas, &bar);
        for (position, line) in &ticks {
            let middle = bar.y as f64 + (1.0 - position) * (bar.height as f64 - 1.0);
            let x = bar.x + bar.width;
            let thickness = (font / 14.0).round().max(1.0) as usize;
            let tick_top = (middle - thickness as f64 / 2.0 + 0.5).floor().max(0.0) as usize;
            fill(&mut canvas, x, tick_top, tick_length, thickness, LINES);
            // The outermost labels stay between the ends of the bar.
            let low = bar.y as f32 + font * 0.74;
            let high = (bar.y + bar.height) as f32;
            let baseline = (middle as f32 + font * 0.37).clamp(low, high.max(low));
            let x = (x + tick_length + label_gap) as f32;
            draw_line(&mut canvas, line, x, baseline, font, TEXT);
        }
        canvas
    }

    fn draw_bar(&self, canvas: &mut RgbImage, bar: &Bar) {
        let palette = self.palette();
        fill(
            canvas,
            bar.x - 1,
            bar.y - 1,
            bar.width + 2,
            bar.height + 2,
            LINES,
        );
        for row in 0..bar.height {
            let t = 1.0 - (row as f64 + 0.5) / bar.height as f64;
            let color = palette.color(t).map(f32::from);
            fill(canvas, bar.x, bar.y + row, bar.width, 1, color);
        }
    }
}

/// Draws a thin line around the part that has taps, on the sides where the
/// picture goes on beyond it.
fn frame(picture: &mut RgbImage, columns: &[Option<Taps>], rows: &[Option<Taps>]) {
    let ends = |taps: &[Option<Taps>]| {
        let first = taps.iter().position(Option::is_some)?;
        let last = taps.iter().rposition(Option::is_some)?;
        Some((first, last))
    };
    let (Some((left, right)), Some((top, bottom))) = (ends(columns), ends(rows)) else {
        return;
    };
    let mut lighten = |x: usize, y: usize| {
        let pixel = picture.get_pixel_mut(x as u32, y as u32);
        pixel.0 = to_u8(mix(pixel.0.map(f32::from), [255.0; 3], FRAME_OPACITY));
    };
    for (y, beyond) in [(top, top > 0), (bottom, bottom + 1 < rows.len())] {
        if beyond {
            (left..=right).for_each(|x| lighten(x, y));
        }
    }
    for (x, beyond) in [(left, left > 0), (right, right + 1 < columns.len())] {
        if beyond {
            (top..=bottom).for_each(|y| lighten(x, y));
        }
    }
}

/// Where the colour bar lies, in pixels.
struct Bar {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// Distance between baselines in font sizes.
const LINE_HEIGHT: f32 = 1.35;

fn caption_height(lines: &[Line], size: f32) -> f32 {
    lines.len() as f32 * size * LINE_HEIGHT
}

/// Opacity of the map's colour: a share of it even at zero, so that low and
/// unseen differ. Signed maps need less there, since the picture under them is
/// faded already.
fn alpha(strength: f64, signed: bool, opacity: f64) -> f32 {
    let least = if signed { 0.25 } else { 0.4 };
    (opacity * (least + (1.0 - least) * strength)) as f32
}

fn fill(canvas: &mut RgbImage, x: usize, y: usize, width: usize, height: usize, color: [f32; 3]) {
    let color = image::Rgb(to_u8(color));
    for py in y..y.saturating_add(height).min(canvas.height() as usize) {
        for px in x..x.saturating_add(width).min(canvas.width() as usize) {
            canvas.put_pixel(px as u32, py as u32, color);
        }
    }
}

impl Photo<'_> {
    /// The picture at most `side` pixels long, 64 to 8192.
    ///
    /// # Errors
    /// If the buffer does not have its stated size, or the side is out of range.
    pub fn thumbnail(&self, side: usize) -> Result<RgbImage, RenderError> {
        let options = OverlayOptions {
            max_side: side,
            min_side: 1,
            ..OverlayOptions::default()
        };
        options.validate()?;
        self.resized(&options)
    }

    /// The size at which the picture is drawn.
    fn drawn_size(&self, options: &OverlayOptions) -> (usize, usize) {
        let longer = self.width.max(self.height);
        if longer > options.max_side {
            let shrink = |side: usize| {
                let exact = side as f64 * options.max_side as f64 / longer as f64;
                (exact.round() as usize).clamp(1, options.max_side)
            };
            (shrink(self.width), shrink(self.height))
        } else {
            let factor = options
                .min_side
                .div_ceil(longer)
                .min(options.max_side / longer)
                .max(1);
            (self.width * factor, self.height * factor)
        }
    }

    fn resized(&self, options: &OverlayOptions) -> Result<RgbImage, RenderError> {
        let (width, height) = (self.width, self.height);
        if width == 0 || height == 0 {
            return Err(RenderError::Empty {
                what: "picture",
                width,
                height,
            });
        }
        let expected = width.saturating_mul(height).saturating_mul(3);
        let sides = u32::try_from(width).ok().zip(u32::try_from(height).ok());
        let view = sides
            .filter(|_| expected == self.pixels.len())
            .and_then(|(w, h)| {
                image::ImageBuffer::<image::Rgb<u8>, &[u8]>::from_raw(w, h, self.pixels)
            })
            .ok_or(RenderError::Size {
                what: "picture",
                width,
                height,
                expected,
                actual: self.pixels.len(),
            })?;
        let (new_width, new_height) = self.drawn_size(options);
        let (w, h) = (new_width as u32, new_height as u32);
        Ok(if (new_width, new_height) == (width, height) {
            let mut copy = RgbImage::new(w, h);
            copy.copy_from_slice(self.pixels);
            copy
        } else if new_width < width || new_height < height {
            // A box average needs no intermediate picture, however large.
            imageops::thumbnail(&view, w, h)
        } else {
            imageops::resize(&view, w, h, FilterType::Triangle)
        })
    }
}
