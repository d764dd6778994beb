//! Maps over their picture, put together into one.

use limpid::{Domain, Explanation, Image};
use limpid_render::{CropRect, Heatmap, Overlay, OverlayOptions, Photo, RenderError, RgbImage};

/// How a panel is drawn.
pub(crate) struct Style<'a> {
    /// The first line above it.
    pub(crate) title: &'a str,
    /// The second.
    pub(crate) subtitle: &'a str,
    /// The longer side of the picture in it, at most.
    pub(crate) side: usize,
    /// The standard deviation, in pixels of the model, by which maps of single
    /// pixels are drawn smoothed.
    pub(crate) sigma: f64,
}

/// A map over the picture, with its caption and colour bar.
pub(crate) fn panel(
    image: &Image,
    map: &Explanation,
    style: &Style<'_>,
) -> Result<RgbImage, RenderError> {
    let attribution = map.attribution();
    let [height, width] = attribution.grid();
    let sum = attribution.channel_sum();
    let mut heatmap = Heatmap {
        data: &sum,
        height,
        width,
    };
    let smoothed = match attribution.domain {
        Domain::Input => Some(heatmap.smoothed(style.sigma)?),
        _ => None,
    };
    heatmap.data = smoothed.as_deref().unwrap_or(&sum);
    let (columns, rows) = (image.width() as usize, image.height() as usize);
    let whole = CropRect {
        x: 0.0,
        y: 0.0,
        width: columns as f64,
        height: rows as f64,
    };
    let crop = map.manifest().crop.as_ref();
    let overlay = Overlay {
        photo: Photo {
            pixels: image.pixels(),
            width: columns,
            height: rows,
        },
        map: heatmap,
        crop: crop.map_or(whole, |c| CropRect {
            x: c.x as f64,
            y: c.y as f64,
            width: c.width as f64,
            height: c.height as f64,
        }),
        title: style.title,
        subtitle: style.subtitle,
        signed: attribution.signed,
    };
    overlay.render(&OverlayOptions {
        max_side: style.side,
        min_side: 1,
        ..OverlayOptions::default()
    })
}

/// Rows of pictures on white, those of a row with their lower edges in line and
/// all in columns of one width.
pub(crate) fn grid(rows: &[Vec<RgbImage>]) -> RgbImage {
    let all = || rows.iter().flatten();
    let column = all().map(RgbImage::width).max().unwrap_or(1);
    let columns = rows.iter().map(Vec::len).max().unwrap_or(1) as u32;
    let heights: Vec<u32> = rows
        .iter()
        .map(|row| row.iter().map(RgbImage::height).max().unwrap_or(0))
        .collect();
    let size = (column * columns, heights.iter().sum::<u32>().max(1));
    let mut canvas = RgbImage::from_pixel(size.0, size.1, [255; 3].into());
    let mut lower = 0;
    for (row, height) in rows.iter().zip(heights) {
        lower += height;
        for (panel, left) in row.iter().zip((0..).step_by(column as usize)) {
            for (x, y, pixel) in panel.enumerate_pixels() {
                canvas.put_pixel(left + x, lower - panel.height() + y, *pixel);
            }
        }
    }
    canvas
}
