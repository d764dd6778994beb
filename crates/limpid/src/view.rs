use crate::{Crop, Error, Image};
use limpid_render::{ColorScale, CropRect, Heatmap, OverlayOptions, Photo, RgbImage, encode_png};
use std::path::Path;

/// What is drawn of a map: one number for each cell of its grid, averaged over
/// its neighbours where the cells are single pixels.
///
/// ```
/// # use limpid::{Device, Gradient, Image, Model, Target};
/// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
/// # let session = Model::embedded()?.session(Device::auto()?)?;
/// # let image = Image::open(photo)?;
/// let maps = session.explain(&image, &Gradient::new(), Target::Top(2))?;
/// let views = [maps[0].view()?, maps[1].view()?];
/// // One scale for both pictures.
/// let limit = views[0].limit()?.max(views[1].limit()?);
/// for view in &views {
///     assert!(view.overlay(&image, Some(limit))?.png()?.starts_with(b"\x89PNG"));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MapView {
    pub(crate) data: Vec<f32>,
    pub(crate) size: [usize; 2],
    pub(crate) crop: Option<Crop>,
    pub(crate) signed: bool,
    pub(crate) title: String,
    pub(crate) subtitle: String,
}

/// A picture at most `side` pixels long, 64 to 8192.
///
/// # Errors
/// When the side is out of range.
///
/// ```
/// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
/// let small = limpid::render::thumbnail(&limpid::Image::open(photo)?, 100)?;
/// assert_eq!(small.width().max(small.height()), 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn thumbnail(image: &Image, side: usize) -> Result<Overlay, Error> {
    Ok(Overlay(photo(image).thumbnail(side)?))
}

fn photo(image: &Image) -> Photo<'_> {
    Photo {
        pixels: image.pixels(),
        width: image.width() as usize,
        height: image.height() as usize,
    }
}

impl MapView {
    /// The values, `[height, width]` in C order.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Takes the values out, to be put back by [`restore`](Self::restore).
    #[must_use]
    pub fn take_data(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.data)
    }

    /// Puts back what [`take_data`](Self::take_data) has taken.
    pub fn restore(&mut self, data: Vec<f32>) {
        self.data = data;
    }

    /// The view over what the model saw of the picture, rather than the whole.
    #[must_use]
    pub fn uncropped(mut self) -> Self {
        self.crop = None;
        self
    }

    /// The largest magnitude with a colour of its own where the map is drawn on
    /// its own scale, in units of the raw map.
    ///
    /// # Errors
    /// When the map cannot be drawn.
    pub fn limit(&self) -> Result<f64, Error> {
        let percentile = OverlayOptions::default().percentile;
        Ok(ColorScale::of(self.heatmap(), self.signed, percentile)?.limit)
    }

    /// The map over the picture that it explains, with its caption and colour
    /// bar. The colours end at `limit`; at the map's own where none is given.
    ///
    /// # Errors
    /// When the map cannot be drawn.
    pub fn overlay(&self, image: &Image, limit: Option<f64>) -> Result<Overlay, Error> {
        let options = OverlayOptions {
            limit,
            ..OverlayOptions::default()
        };
        Ok(Overlay(self.drawing(image).render(&options)?))
    }

    /// The map over the picture alone, at most `side` pixels long (64 to 8192).
    ///
    /// # Errors
    /// When the map cannot be drawn.
    pub fn thumbnail(
        &self,
        image: &Image,
        side: usize,
        limit: Option<f64>,
    ) -> Result<Overlay, Error> {
        let options = OverlayOptions {
            limit,
            max_side: side,
            min_side: 1,
            ..OverlayOptions::default()
        };
        Ok(Overlay(self.drawing(image).picture(&options)?))
    }

    fn heatmap(&self) -> Heatmap<'_> {
        Heatmap {
            data: &self.data,
            height: self.size[0],
            width: self.size[1],
        }
    }

    fn drawing<'a>(&'a self, image: &'a Image) -> limpid_render::Overlay<'a> {
        let whole = Crop {
            x: 0.0,
            y: 0.0,
            width: f64::from(image.width()),
            height: f64::from(image.height()),
        };
        let crop = self.crop.unwrap_or(whole);
        limpid_render::Overlay {
            photo: photo(image),
            map: self.heatmap(),
            crop: CropRect {
                x: crop.x,
                y: crop.y,
                width: crop.width,
                height: crop.height,
            },
            title: &self.title,
            subtitle: &self.subtitle,
            signed: self.signed,
        }
    }
}

/// A picture of a map.
#[derive(Debug, Clone)]
pub struct Overlay(pub(crate) RgbImage);

impl Overlay {
    /// Its width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.0.width()
    }

    /// Its height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.0.height()
    }

    /// Its pixels, `[height, width, 3]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        self.0.as_raw()
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// None but for a lack of memory.
    pub fn png(&self) -> Result<Vec<u8>, Error> {
        Ok(encode_png(&self.0)?)
    }

    /// Writes the picture as a PNG file, under a temporary name first.
    ///
    /// # Errors
    /// When the folder cannot be written or the disk is full.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(limpid_render::write_atomic(path.as_ref(), &self.png()?)?)
    }
}
