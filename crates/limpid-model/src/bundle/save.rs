//! Writing a model as a bundle.

use super::Model;
use crate::{Interpolation, ModelError, Preprocess};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a saved bundle says otherwise than the model does.
#[derive(Debug, Clone, Default)]
pub struct SaveOptions {
    /// The classes' names, one for each.
    pub labels: Option<Vec<String>>,
    /// The input's height and width in pixels.
    pub size: Option<[usize; 2]>,
    /// The mean of the channels red, green, blue, in the units of `scale`.
    pub mean: Option<Vec<f64>>,
    /// The standard deviation of the channels, in the units of `scale`.
    pub std: Option<Vec<f64>>,
    /// The ratio of the input's side to that of the resized picture.
    pub crop_pct: Option<f64>,
    /// The resampling filter.
    pub interpolation: Option<Interpolation>,
    /// Whether the network takes blue first. The bundle takes red first and
    /// turns the channels around, so that maps are of red, green and blue.
    pub bgr: bool,
    /// The value of white in `mean`, `std` and the network's input: 1 or 255.
    /// With 255 a mean that is not given is 0, a deviation 1.
    pub scale: Option<f64>,
}

impl Model {
    /// Writes `graph.json`, `model.safetensors` and `config.json` into a new
    /// directory, which appears only when all is written.
    ///
    /// # Errors
    /// When the directory exists, an option does not fit the model, or a file
    /// cannot be written.
    pub fn save_bundle(
        &self,
        directory: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<(), ModelError> {
        let directory = directory.as_ref();
        if directory.symlink_metadata().is_ok() {
            return Err(ModelError::Exists(directory.to_owned()));
        }
        let config = self.saved_config(options)?;
        let mut description = self.description.clone();
        if options.bgr {
            let channels = self.preprocess.input_size()[0];
            if channels != 3 {
                let reason = format!("bgr needs a model of 3 channels; this one has {channels}");
                return Err(ModelError::Option {
                    option: "channels",
                    reason,
                });
            }
            description = description.with_channels_reversed();
        }
        let weights = self.saved_weights(directory)?;
        let temporary = temporary(directory);
        let written = write(
            &temporary,
            &[
                ("graph.json", json_bytes(&description.to_json())),
                ("config.json", json_bytes(&config)),
                ("model.safetensors", weights),
            ],
        )
        .and_then(|()| std::fs::rename(&temporary, directory));
        written.map_err(|source| {
            // What is left of a failed attempt is of no use; that it stays is no further error.
            let _ = std::fs::remove_dir_all(&temporary);
            ModelError::Io {
                path: directory.to_owned(),
                source,
            }
        })
    }

    fn saved_config(&self, options: &SaveOptions) -> Result<Value, ModelError> {
        let own = &self.preprocess;
        let wrong = |option, reason: String| ModelError::Option { option, reason };
        let scale = options.scale.unwrap_or(1.0);
        let white = scale == 255.0;
        if !white && scale != 1.0 {
            return Err(wrong("scale", format!("is {scale}; give 1 or 255")));
        }
        let channels = own.input_size()[0];
        let scaled = |given: &Option<Vec<f64>>, plain: f64, own: &[f64]| match given {
            Some(values) => values.iter().map(|v| v / scale).collect(),
            None if white => vec![plain / scale; channels],
            None => own.to_vec(),
        };
        let (mean, std) = (
            scaled(&options.mean, 0.0, own.mean()),
            scaled(&options.std, 1.0, own.std()),
        );
        let [height, width] = options
            .size
            .unwrap_or([own.input_size()[1], own.input_size()[2]]);
        let size = [channels, height, width];
        if self.description.fixed_size() && size != self.description.input_shape() {
            return Err(wrong(
                "size",
                format!(
                    "is {size:?}, and the network takes {:?} alone; leave the size out",
                    self.description.input_shape()
                ),
            ));
        }
        let crop_pct = options.crop_pct.unwrap_or(own.crop_pct());
        let interpolation = options.interpolation.unwrap_or(own.interpolation());
        let checked = Preprocess::new(size, interpolation, crop_pct, own.crop_mode(), &mean, &std)
            .map_err(|e| match e {
                ModelError::Preprocess { key, reason } => wrong(key, reason),
                other => other,
            })?;
        let classes = self.labels.len();
        let names = match &options.labels {
            Some(names) if names.len() == classes => Some(names.clone()),
            Some(names) => {
                return Err(wrong(
                    "labels",
                    format!(
                        "has {} names, and the network has {classes} classes; give one for each",
                        names.len()
                    ),
                ));
            }
            None => (0..classes)
                .map(|i| self.labels.name(i).map(str::to_owned))
                .collect(),
        };
        Ok(json!({
            "num_classes": classes,
            "label_names": names,
            "problem_type": self.tags.then_some("multi_label_classification"),
            "pretrained_cfg": {
                "input_size": size,
                "interpolation": interpolation.name(),
                "crop_pct": crop_pct,
                "crop_mode": own.crop_mode().name(),
                "mean": checked.mean(),
                "std": checked.std(),
            },
        }))
    }

    fn saved_weights(&self, directory: &Path) -> Result<Vec<u8>, ModelError> {
        let failed = |e: safetensors::SafeTensorError| ModelError::WeightsFile {
            file: directory.join("model.safetensors").display().to_string(),
            reason: e.to_string(),
        };
        let names = self.description.tensor_names();
        let named = names
            .into_iter()
            .filter_map(|n| self.tensors.get_key_value(n));
        let bytes = named.map(|(name, constant)| {
            let tensor = constant.load();
            let tensor = tensor.map_err(|e| ModelError::of_tensor(&self.weights_file, name, e))?;
            let bytes = tensor.data().iter().flat_map(|v| v.to_le_bytes()).collect();
            Ok((name, constant.shape().dims(), bytes))
        });
        let bytes: Vec<(&String, &[usize], Vec<u8>)> = bytes.collect::<Result<_, ModelError>>()?;
        let views = bytes
            .iter()
            .map(|(name, dims, bytes)| {
                Ok((
                    name.as_str(),
                    TensorView::new(Dtype::F32, dims.to_vec(), bytes)?,
                ))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        serialize(views, None).map_err(failed)
    }
}

fn json_bytes(value: &Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

/// A name beside `directory` that nobody else uses.
fn temporary(directory: &Path) -> PathBuf {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    directory.with_file_name(name)
}

fn write(directory: &Path, files: &[(&str, Vec<u8>)]) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for (name, content) in files {
        std::fs::write(directory.join(name), content)?;
    }
    Ok(())
}
