use ab_glyph_rasterizer::{Point, Rasterizer, point};
use harfrust::GlyphId;
use harfrust::font::glyph::outline::{DrawMemory, DrawOptions, PathElement};
use image::RgbImage;

use super::fonts;
use super::shape::{Glyph, Line};
use crate::color::{mix, to_u8};

/// Draws a line with its left end at `x` and its baseline at `y`, in pixels;
/// what lies outside of the picture is left out.
pub(crate) fn draw_line(
    canvas: &mut RgbImage,
    line: &Line,
    x: f32,
    y: f32,
    size: f32,
    color: [f32; 3],
) {
    for glyph in &line.glyphs {
        draw_glyph(
            canvas,
            glyph,
            x + glyph.x * size,
            y - glyph.y * size,
            size,
            color,
        );
    }
}

fn draw_glyph(canvas: &mut RgbImage, glyph: &Glyph, x: f32, y: f32, size: f32, color: [f32; 3]) {
    let Some(font) = fonts::font(glyph.face) else {
        return;
    };
    let Some(outline) = font.outline_glyphs().get(GlyphId::new(glyph.id)) else {
        return;
    };
    let mut path: Vec<PathElement> = Vec::new();
    let options = DrawOptions::new().with_ppem(Some(size));
    if outline
        .draw(&options, DrawMemory::Scratch, &mut path)
        .is_err()
    {
        return;
    }
    // Glyph space has y upwards.
    let at = |px: f32, py: f32| point(x + px, y - py);
    let Some((left, top, width, height)) = bounds(&path, at) else {
        return;
    };
    // A glyph larger than a few font sizes is none of ours.
    let limit = size * 8.0 + 8.0;
    if width as f32 > limit || height as f32 > limit {
        return;
    }
    let local = |px: f32, py: f32| {
        let p = at(px, py);
        point(p.x - left as f32, p.y - top as f32)
    };
    let mut raster = Rasterizer::new(width, height);
    trace(&mut raster, &path, local);
    let (canvas_width, canvas_height) = (i64::from(canvas.width()), i64::from(canvas.height()));
    raster.for_each_pixel_2d(|dx, dy, coverage| {
        let (px, py) = (left + i64::from(dx), top + i64::from(dy));
        if coverage > 0.0 && (0..canvas_width).contains(&px) && (0..canvas_height).contains(&py) {
            let pixel = canvas.get_pixel_mut(px as u32, py as u32);
            pixel.0 = to_u8(mix(pixel.0.map(f32::from), color, coverage.min(1.0)));
        }
    });
}

/// Left, top, width and height of the pixels that a path may touch.
fn bounds(
    path: &[PathElement],
    at: impl Fn(f32, f32) -> Point,
) -> Option<(i64, i64, usize, usize)> {
    let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
    let mut add = |x, y| {
        let p = at(x, y);
        for (axis, v) in [p.x, p.y].into_iter().enumerate() {
            low[axis] = low[axis].min(v);
            high[axis] = high[axis].max(v);
        }
    };
    for element in path {
        match *element {
            PathElement::MoveTo { x, y } | PathElement::LineTo { x, y } => add(x, y),
            PathElement::QuadTo { cx0, cy0, x, y } => {
                add(cx0, cy0);
                add(x, y);
            }
            PathElement::CurveTo {
                cx0,
                cy0,
                cx1,
                cy1,
                x,
                y,
            } => {
                add(cx0, cy0);
                add(cx1, cy1);
                add(x, y);
            }
            PathElement::Close => {}
        }
    }
    let finite = low.iter().chain(&high).all(|v| v.is_finite());
    finite.then(|| {
        let (left, top) = (low[0].floor() as i64 - 1, low[1].floor() as i64 - 1);
        let extent = |end: f32, start: i64| (end.ceil() as i64 - start + 2).max(1) as usize;
        (left, top, extent(high[0], left), extent(high[1], top))
    })
}

fn trace(raster: &mut Rasterizer, path: &[PathElement], at: impl Fn(f32, f32) -> Point) {
    let (mut start, mut pen) = (point(0.0, 0.0), point(0.0, 0.0));
    for element in path {
        match *element {
            PathElement::MoveTo { x, y } => {
                start = at(x, y);
                pen = start;
            }
            PathElement::LineTo { x, y } => {
                let end = at(x, y);
                raster.draw_line(pen, end);
                pen = end;
            }
            PathElement::QuadTo { cx0, cy0, x, y } => {
                let end = at(x, y);
                raster.draw_quad(pen, at(cx0, cy0), end);
                pen = end;
            }
            PathElement::CurveTo {
                cx0,
                cy0,
                cx1,
                cy1,
                x,
                y,
            } => {
                let end = at(x, y);
                raster.draw_cubic(pen, at(cx0, cy0), at(cx1, cy1), end);
                pen = end;
            }
            PathElement::Close => {
                raster.draw_line(pen, start);
                pen = start;
            }
        }
    }
}
