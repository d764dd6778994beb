//! Models and what they see: decoding and preprocessing of pictures, bundles of
//! configuration and weights, architectures as data, and the embedded model.
//!
//! Files come from anywhere. Sizes, shapes and offsets are checked before
//! anything is allocated, and every error names the file and what to do.
//!
//! ```
//! use limpid_model::{Image, Model};
//! let model = Model::embedded()?;
//! let image = Image::from_rgb8(300, 200, vec![128; 300 * 200 * 3])?;
//! let input = model.preprocess().apply(&image)?;
//! assert_eq!(input.tensor().dims(), [3, 224, 224]);
//! let graph = model.graph(1)?;
//! assert_eq!(graph.fact(graph.outputs()[0]).shape.dims(), [1, 1000]);
//! # Ok::<(), limpid_model::ModelError>(())
//! ```
#![forbid(unsafe_code)]

mod batch;
mod bundle;
mod config;
mod description;
mod embedded;
mod error;
mod file;
mod image;
mod input;
mod jpeg;
mod labels;
mod limits;
mod npy;
pub mod onnx;
mod preprocess;
mod resize;
mod transformers;
mod weights;

pub use bundle::{Model, SaveOptions};
pub use config::Config;
pub use description::Description;
pub use embedded::{EMBEDDED_LICENSE, EMBEDDED_NAME, EMBEDDED_NOTICE};
pub use error::ModelError;
pub use image::Image;
pub use input::{Crop, Input};
pub use labels::{LabelError, Labels};
pub use preprocess::{CropMode, Preprocess};
pub use resize::Interpolation;
pub use weights::Weights;
