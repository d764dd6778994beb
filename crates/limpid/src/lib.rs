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
mod evaluation;
mod explanation;
pub mod isolate;
mod model;
mod session;
mod target;
mod view;

pub use device::{Device, DeviceInfo};
pub use error::Error;
pub use evaluation::{
    Cost, Evaluated, Evaluation, MethodResult, MethodSummary, NumberInfo, PictureResult, Report,
    Summary,
};
pub use explanation::{Explanation, Manifest};
pub use limpid_cpu::Precision;
pub use limpid_explain::methods::{
    self, AblationCam, AttentionRollout, Baseline, BlurIntegratedGradients, Composite, Deconvnet,
    DeepLift, EigenCam, EigenGradCam, ElementWiseCam, ExpectedGradients, Fuse, GradCam,
    GradCamPlusPlus, Gradient, GradientMethod, GradientXAttention, GradientXInput, GuidedBackprop,
    GuidedIntegratedGradients, Heads, HiResCam, IntegratedGradients, Kept, KernelShap, LayerCam,
    LayerwiseRelevance, Lime, Mode, Occlusion, ReciproCam, Regression, Rise, ScoreCam,
    SpectralIntegratedGradients, Superpixels, TransformerRelevance, Variable, XGradCam, Xrai,
};
pub use limpid_explain::metrics;
pub use limpid_explain::{
    Attribution, Completeness, Context, DeviceTensor, Domain, Evaluations, ExplainError, Explainer,
    Given, Joint, LayerGradients, Limits, ModelInfo, Objective, ParamInfo, ParamKind, Parameters,
    Passed, Passes, Quadrature, Readout, Reduce, Request, Rule, SampleBy, SmoothGrad, Smoothed,
    Weighting,
};
pub use limpid_model::{
    Crop, Image, Input, Interpolation, LabelError, Labels, ModelError, Preprocess, SaveOptions,
};
pub use limpid_tensor::{Shape, Tensor, TensorError};
pub use limpid_wgpu::{Adapter, AdapterClass, AdapterInfo, LimitSet, Tile, Tuning, WgpuOptions};
pub use model::{LayerInfo, Model};
pub use session::{Progress, RunOptions, Session, SessionOptions};
pub use target::{Prediction, ResolvedTarget, Target};
pub use view::{MapView, Overlay};

/// Executions to be measured, for the program's `bench` and criterion.
#[doc(hidden)]
pub mod measure {
    pub use crate::engine::workload::{Step, Work, Workload, normals};
    pub use limpid_wgpu::{Measured, TileChoice, TileTime, Tuner};
}

/// Licence notices of what is built into the program besides its code.
pub mod notices {
    pub use limpid_model::{EMBEDDED_LICENSE, EMBEDDED_NAME, EMBEDDED_NOTICE};
    pub use limpid_render::{FontNotice, font_notices};
}

/// Plugins: methods in shared libraries, which are found, verified and loaded.
///
/// Nothing of a library is executed before its folder's `plugin.toml` was read
/// and the digest there compared with the file. Once loaded it is code of this
/// process; [`isolate`] runs it in another one.
///
/// ```
/// use limpid::plugins;
///
/// // Those of the folders where plugins belong.
/// for found in plugins::discover(&[]) {
///     match found.verified {
///         Ok(plugin) => println!("{}: {}", plugin.manifest.id, plugin.manifest.version),
///         Err(reason) => println!("{} is not used: {reason}", found.path.display()),
///     }
/// }
/// assert!(plugins::Verified::open("no/such/plugin".as_ref()).is_err());
/// ```
///
/// A method of a plugin is used as a built-in one:
///
/// ```no_run
/// use limpid::plugins::{Plugin, Verified};
/// use limpid::{Device, Image, Model, Target};
///
/// let session = Model::embedded()?.session(Device::auto()?)?;
/// let plugin = Plugin::open(&Verified::open("plugins/acme".as_ref())?)?;
/// let method = plugin.methods()[0].build(&[], None)?;
/// let maps = session.explain(&Image::open("photo.jpg")?, &*method, Target::Top(1))?;
/// # Ok::<(), limpid::Error>(())
/// ```
pub mod plugins {
    pub use limpid_plugin_host::{
        Found, Manifest, Plugin, PluginError, Refused, Source, Verified, abi_version, discover,
        install, pack,
    };
}

/// Files and pictures of maps.
pub mod render {
    pub use crate::view::thumbnail;
    pub use limpid_render::{
        OverlayOptions, RenderError, encode_npy, encode_png, format_value, write_atomic,
    };
}
