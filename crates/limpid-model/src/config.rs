//! `config.json`, as timm and the Hugging Face hub write it.

use crate::{CropMode, Interpolation, ModelError, Preprocess, file};
use serde_json::{Map, Value};
use std::path::Path;

/// The largest configuration that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 25;

/// The most classes of a model.
pub(crate) const MAX_CLASSES: usize = 1 << 24;

/// A bundle's configuration.
///
/// The preprocessing keys stand under `pretrained_cfg` or, in older files, at
/// the top; a key that is not known is ignored, and one that is `null` counts
/// as missing.
#[derive(Debug, Clone)]
pub struct Config {
    file: String,
    top: Map<String, Value>,
    pretrained: Map<String, Value>,
    notes: Vec<String>,
}

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// When the file cannot be read or is not a JSON object.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let bytes = file::read(path, MAX_FILE_BYTES)?;
        Self::from_bytes(&bytes, &path.display().to_string())
    }

    /// The same from a file's content; `name` stands for it in errors.
    ///
    /// # Errors
    /// When it is not a JSON object. Nesting beyond 128 levels is refused.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self, ModelError> {
        let json = |reason: String| ModelError::Json {
            file: name.to_owned(),
            reason,
        };
        let mut top = match serde_json::from_slice(bytes) {
            Ok(Value::Object(top)) => top,
            Ok(_) => return Err(json("it is not an object { ... }".to_owned())),
            Err(e) => return Err(json(e.to_string())),
        };
        let pretrained = match top.remove("pretrained_cfg") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(pretrained)) => pretrained,
            Some(_) => {
                return Err(ModelError::Config {
                    file: name.to_owned(),
                    key: "pretrained_cfg".to_owned(),
                    reason: "must be an object { ... }".to_owned(),
                });
            }
        };
        Ok(Self {
            file: name.to_owned(),
            top,
            pretrained,
            notes: Vec::new(),
        })
    }

    /// A configuration that says nothing; `name` stands for it in errors.
    #[must_use]
    pub fn empty(name: &str) -> Self {
        Self {
            file: name.to_owned(),
            top: Map::new(),
            pretrained: Map::new(),
            notes: Vec::new(),
        }
    }

    /// The file's name, as errors give it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The architecture's name, without timm's tag (`.in1k` and the like).
    ///
    /// # Errors
    /// When it is no text.
    pub fn architecture(&self) -> Result<Option<&str>, ModelError> {
        match self.get("architecture") {
            None => Ok(None),
            Some((_, Value::String(name))) => Ok(name.split('.').next()),
            Some((key, _)) => Err(self.wrong(&key, "must be a text, such as \"resnet50\"")),
        }
    }

    /// The class of the network in the transformers library, where the file
    /// names one and no architecture.
    ///
    /// # Errors
    /// When there is more than one, or it is no text.
    pub(crate) fn transformers_class(&self) -> Result<Option<&str>, ModelError> {
        let Some((key, value)) = self.get("architectures") else {
            return Ok(None);
        };
        match value.as_array().map(Vec::as_slice) {
            Some([Value::String(class)]) => Ok(Some(class)),
            _ => Err(self.wrong(
                &key,
                "must be a list of one class, such as [\"ViTForImageClassification\"]",
            )),
        }
    }

    /// Adds a remark for people.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Remarks on what the configuration leaves out.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The keys at the top.
    pub(crate) fn keys(&self) -> &Map<String, Value> {
        &self.top
    }

    /// The same configuration, with `defaults` for the keys that it has not.
    pub(crate) fn with_defaults(&self, defaults: Map<String, Value>) -> Self {
        let mut config = self.clone();
        for (key, value) in defaults {
            if config.get(&key).is_none() {
                config.top.insert(key, value);
            }
        }
        config
    }

    /// The number of classes.
    ///
    /// # Errors
    /// When it is no positive whole number.
    pub fn num_classes(&self) -> Result<Option<usize>, ModelError> {
        let Some((key, value)) = self.get("num_classes") else {
            return Ok(None);
        };
        match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(n) if (1..=MAX_CLASSES).contains(&n) => Ok(Some(n)),
            _ => Err(self.wrong(
                &key,
                &format!("must be a whole number from 1 to {MAX_CLASSES}"),
            )),
        }
    }

    /// Whether each class is a tag by itself: `problem_type`, as the
    /// transformers library has it, is `multi_label_classification`.
    ///
    /// # Errors
    /// When it is neither that, `single_label_classification` nor null.
    pub fn multi_label(&self) -> Result<bool, ModelError> {
        match self.get("problem_type") {
            None | Some((_, Value::Null)) => Ok(false),
            Some((_, Value::String(kind))) if kind == "multi_label_classification" => Ok(true),
            Some((_, Value::String(kind))) if kind == "single_label_classification" => Ok(false),
            Some((key, _)) => Err(self.wrong(
                &key,
                "must be \"single_label_classification\" or \"multi_label_classification\"",
            )),
        }
    }

    /// The classes' names: `label_names`, or the `id2label` of the transformers library.
    ///
    /// # Errors
    /// When they are not a list of texts, or not one for each index from 0.
    pub fn label_names(&self) -> Result<Option<Vec<String>>, ModelError> {
        let Some((key, value)) = self.get("label_names") else {
            return self.id2label();
        };
        value
            .as_array()
            .and_then(|names| {
                names
                    .iter()
                    .map(|n| n.as_str().map(str::to_owned))
                    .collect::<Option<Vec<_>>>()
            })
            .map(Some)
            .ok_or_else(|| self.wrong(&key, "must be a list of texts, one for each class"))
    }

    fn id2label(&self) -> Result<Option<Vec<String>>, ModelError> {
        let Some((key, value)) = self.get("id2label") else {
            return Ok(None);
        };
        let named = |labels: &Map<String, Value>| -> Option<Vec<String>> {
            let name = |i: usize| Some(labels.get(&i.to_string())?.as_str()?.to_owned());
            (0..labels.len()).map(name).collect()
        };
        let names = value.as_object().and_then(named);
        names.map(Some).ok_or_else(|| {
            self.wrong(
                &key,
                "must give a text for each index from 0, such as {\"0\": \"cat\"}",
            )
        })
    }

    /// The preprocessing: what the file says, else what `defaults` (an
    /// architecture's) say, else ImageNet's. `channels`, where the weights tell
    /// them, go before those of `input_size`.
    ///
    /// # Errors
    /// When a key has a wrong type or a value out of range.
    pub fn preprocess(
        &self,
        defaults: &Map<String, Value>,
        channels: Option<usize>,
    ) -> Result<Preprocess, ModelError> {
        let standard = Preprocess::default();
        let get = |key: &str| {
            self.get(key).or_else(|| {
                let value = defaults.get(key).filter(|v| !v.is_null())?;
                Some((format!("defaults.{key}"), value))
            })
        };
        let mut input_size = match get("input_size") {
            None => standard.input_size(),
            Some((key, value)) => numbers(value)
                .filter(|v| {
                    v.iter()
                        .all(|&x| x.fract() == 0.0 && (1.0..1e9).contains(&x))
                })
                .and_then(|v| <[f64; 3]>::try_from(v).ok())
                .map(|v| v.map(|x| x as usize))
                .ok_or_else(|| {
                    self.wrong(
                        &key,
                        "must be [channels, height, width], such as [3, 224, 224]",
                    )
                })?,
        };
        if let Some(channels) = channels {
            input_size[0] = channels;
        }
        let interpolation = match get("interpolation") {
            None => standard.interpolation(),
            Some((key, value)) => value
                .as_str()
                .and_then(Interpolation::from_name)
                .ok_or_else(|| {
                    let known: Vec<_> = Interpolation::ALL.iter().map(|f| f.name()).collect();
                    self.wrong(&key, &format!("must be one of {}", known.join(", ")))
                })?,
        };
        let crop_pct = match get("crop_pct") {
            None => standard.crop_pct(),
            // As in timm, 0 stands for the default.
            Some((key, value)) => match value.as_f64() {
                Some(0.0) => Preprocess::DEFAULT_CROP_PCT,
                Some(v) => v,
                None => return Err(self.wrong(&key, "must be a number, such as 0.875")),
            },
        };
        let crop_mode = match get("crop_mode") {
            None => standard.crop_mode(),
            Some((key, value)) => value
                .as_str()
                .and_then(CropMode::from_name)
                .ok_or_else(|| self.wrong(&key, "must be center, border or squash"))?,
        };
        let per_channel = |name: &str, standard: &[f64]| match get(name) {
            // ImageNet's three colours say nothing about other channel counts.
            None if input_size[0] == 3 => Ok(standard.to_vec()),
            None => Err(self.wrong(
                name,
                &format!(
                    "is missing; give one number for each of the {} channels",
                    input_size[0]
                ),
            )),
            Some((key, value)) => numbers(value)
                .ok_or_else(|| self.wrong(&key, "must be a list of numbers, one for each channel")),
        };
        let mean = per_channel("mean", standard.mean())?;
        let std = per_channel("std", standard.std())?;
        Preprocess::new(input_size, interpolation, crop_pct, crop_mode, &mean, &std).map_err(|e| {
            match e {
                ModelError::Preprocess { key, reason } => self.wrong(key, &reason),
                other => other,
            }
        })
    }

    /// The value of a key under `pretrained_cfg` or at the top, with its path.
    /// What stands at the top goes first where both have it: a fine-tuned
    /// model's file keeps the old `pretrained_cfg`.
    fn get(&self, key: &str) -> Option<(String, &Value)> {
        let present = |map: &'_ Map<String, Value>| map.get(key).is_some_and(|v| !v.is_null());
        if present(&self.top) {
            Some((key.to_owned(), &self.top[key]))
        } else if present(&self.pretrained) {
            Some((format!("pretrained_cfg.{key}"), &self.pretrained[key]))
        } else {
            None
        }
    }

    pub(crate) fn wrong(&self, key: &str, reason: &str) -> ModelError {
        ModelError::Config {
            file: self.file.clone(),
            key: key.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// A list of numbers.
fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(Value::as_f64).collect()
}
