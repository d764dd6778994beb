//! Everything that happens at view time: from a raw attribution map to a
//! picture, a `.png` or a `.npy` file.
//!
//! Raw maps are never scaled or clipped where they are computed; the colour
//! scale of a picture is chosen here, from the map alone, and printed on the
//! colour bar in the units of the raw map.
//!
//! ```
//! use limpid_render::{CropRect, Heatmap, Overlay, OverlayOptions, Photo, encode_png};
//!
//! let pixels = vec![128; 64 * 48 * 3];
//! let map = [0.0, 0.1, 0.2, 0.9];
//! let overlay = Overlay {
//!     photo: Photo { pixels: &pixels, width: 64, height: 48 },
//!     map: Heatmap { data: &map, height: 2, width: 2 },
//!     crop: CropRect { x: 8.0, y: 0.0, width: 48.0, height: 48.0 },
//!     title: "967: espresso",
//!     subtitle: "Grad-CAM, score 9.31",
//!     signed: false,
//! };
//! let picture = overlay.render(&OverlayOptions::default())?;
//! let png = encode_png(&picture)?;
//! assert!(png.starts_with(b"\x89PNG"));
//! # Ok::<(), limpid_render::RenderError>(())
//! ```
#![forbid(unsafe_code)]

mod color;
mod error;
mod files;
mod heatmap;
mod overlay;
mod scale;
mod text;

pub use color::Palette;
pub use error::RenderError;
pub use files::{encode_npy, encode_png, write_atomic};
pub use heatmap::Heatmap;
pub use image::RgbImage;
pub use overlay::{CropRect, Overlay, OverlayOptions, Photo};
pub use scale::{ColorScale, Tick, format_value};
pub use text::fonts::{FontNotice, font_notices};
