//! Limpid shows what an image-recognition model is looking at.
//!
//! A [`Session`] is a [`Model`] on a [`Device`]. It predicts, and explains its
//! predictions by any [`Explainer`]:
//!
//! ```
//! use limpid::{BlurIntegratedGradients, Device, Image, Model, Target};
//!
//! # let dir = tempfile::tempdir()?;
//! # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
//! let session = Model::embedded()?.session(Device::auto()?)?;
//! let image = Image::open(photo)?;
//! let method = BlurIntegratedGradients::new().steps(2);
//! let maps = session.explain(&image, &method, Target::Top(1))?;
//! assert_eq!(maps[0].label(), "espresso");
//! maps[0].overlay(&image)?.save(dir.path().join("coffee.blur-ig.png"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod device;
mod engine;
mod error;
mod explanation;
mod model;
mod session;

pub use device::{Device, DeviceInfo};
pub use error::Error;
pub use explanation::{Explanation, Manifest, Overlay};
pub use limpid_explain::methods::{
    self, Baseline, BlurIntegratedGradients, GradCam, Gradient, GradientMethod,
    IntegratedGradients, Mode, Variable,
};
pub use limpid_explain::{
    Attribution, Completeness, Context, Domain, Evaluations, ExplainError, Explainer,
    LayerGradient, Objective, ParamInfo, ParamKind, Parameters, Reduce, Request, Rule, SmoothGrad,
    Smoothed,
};
pub use limpid_model::{
    Crop, Image, Input, Interpolation, LabelError, Labels, ModelError, Preprocess, SaveOptions,
};
pub use limpid_tensor::{Shape, Tensor, TensorError};
pub use model::{LayerInfo, Model};
pub use session::{Prediction, Progress, RunOptions, Session, SessionOptions, Target};

/// Licence notices of what is built into the program besides its code.
pub mod notices {
    pub use limpid_model::{EMBEDDED_LICENSE, EMBEDDED_NAME, EMBEDDED_NOTICE};
    pub use limpid_render::{FontNotice, font_notices};
}

/// Files and pictures of maps.
pub mod render {
    pub use limpid_render::{OverlayOptions, RenderError, encode_npy, encode_png, write_atomic};
}
