//! The model that is part of the program.

use crate::{Config, Model, ModelError};
use std::path::{Path, is_separator};

/// The name of the embedded model.
pub const EMBEDDED_NAME: &str = "tf_efficientnet_lite0";

static CONFIG: &[u8] = include_bytes!("../assets/tf_efficientnet_lite0/config.json");
static WEIGHTS: &[u8] = include_bytes!("../assets/tf_efficientnet_lite0/model.safetensors");

/// The notice of the embedded model's origin.
pub const EMBEDDED_NOTICE: &str = include_str!("../assets/tf_efficientnet_lite0/NOTICE");

/// The licence of the embedded model.
pub const EMBEDDED_LICENSE: &str = include_str!("../assets/tf_efficientnet_lite0/LICENSE");

impl Model {
    /// The embedded ImageNet classifier: tf_efficientnet_lite0, 224 x 224, 1000
    /// classes, weights in half precision.
    ///
    /// # Errors
    /// When memory is short.
    ///
    /// ```
    /// let model = limpid_model::Model::embedded()?;
    /// assert_eq!(model.labels().find("espresso")?, 967);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn embedded() -> Result<Self, ModelError> {
        let config = Config::from_bytes(CONFIG, &format!("{EMBEDDED_NAME}/config.json"))?;
        Self::from_static(EMBEDDED_NAME, &config, WEIGHTS)
    }

    /// The names of the embedded models.
    pub const EMBEDDED: &[&str] = &[EMBEDDED_NAME];

    /// The bundle or ONNX file at a path, or the embedded model of that name. What exists or
    /// contains a separator is a path.
    ///
    /// # Errors
    /// When it is neither, or as [`Model::open`].
    pub fn find(model: impl AsRef<Path>) -> Result<Self, ModelError> {
        let model = model.as_ref();
        let bytes = model.as_os_str().as_encoded_bytes();
        let separated = bytes.iter().any(|b| is_separator(char::from(*b)));
        if separated || model.exists() {
            return Self::open(model);
        }
        if model.as_os_str() == EMBEDDED_NAME {
            return Self::embedded();
        }
        Err(ModelError::NotAModel {
            name: model.display().to_string(),
            reason: format!(
                "it does not exist; give a directory that holds config.json and model.safetensors, an .onnx file, or the embedded model {}",
                Self::EMBEDDED.join(", ")
            ),
        })
    }
}
