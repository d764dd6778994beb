//! The descriptions that are part of the program: every file of `architectures/`.

use super::{Description, MAX_FILE_BYTES};
use crate::ModelError;
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io::Read;

/// Compressed descriptions by name, in byte order.
static BUILT_IN: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/architectures.rs"));

/// What names another description's network, with preprocessing of its own.
#[derive(Deserialize)]
struct Alias {
    alias: String,
    #[serde(default)]
    defaults: Map<String, Value>,
}

/// For which `config.json` of the transformers library a description serves.
#[derive(Deserialize)]
struct Served {
    config: Match,
}

#[derive(Deserialize)]
struct Match {
    architectures: Vec<String>,
    keys: Map<String, Value>,
    #[serde(default)]
    defaults: Map<String, Value>,
}

impl Match {
    /// The keys of `config` that differ, with the values that serve.
    fn differing<'a>(
        &'a self,
        config: &'a Map<String, Value>,
    ) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let found = |key: &str| config.get(key).or_else(|| self.defaults.get(key));
        let same = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        };
        self.keys
            .iter()
            .filter(move |(key, value)| found(key).is_none_or(|v| !same(v, value)))
    }
}

impl Description {
    /// The built-in description of an architecture, if there is one.
    ///
    /// # Errors
    /// When the built-in file is not a sound description.
    pub fn built_in(name: &str) -> Result<Option<Self>, ModelError> {
        let Some(text) = text(name)? else {
            return Ok(None);
        };
        let file = format!("architecture {name}");
        match serde_json::from_slice::<Alias>(&text) {
            Ok(Alias { alias, defaults }) => {
                let network = Self::built_in(&alias)?;
                Ok(network.map(|d| Self {
                    file,
                    defaults,
                    ..d
                }))
            }
            Err(_) => Self::from_bytes(&text, &file).map(Some),
        }
    }

    /// The names of the built-in descriptions, in byte order.
    pub fn known() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|&(name, _)| name)
    }

    /// The built-in description of a network of the transformers library:
    /// `class` is an entry of its configuration's `architectures`, `config` the
    /// keys. `Ok(Err(reason))` says why none serves.
    ///
    /// # Errors
    /// When a built-in file is not a sound description.
    pub fn of_transformers(
        class: &str,
        config: &Map<String, Value>,
    ) -> Result<Result<Self, String>, ModelError> {
        let mut nearest: Option<(usize, String)> = None;
        let mut classes: Vec<String> = Vec::new();
        for name in Self::known().filter(|n| n.starts_with("hf.")) {
            let Some(Ok(Served { config: served })) =
                text(name)?.map(|text| serde_json::from_slice(&text))
            else {
                continue;
            };
            if !served.architectures.iter().any(|a| a == class) {
                classes.extend(served.architectures);
                continue;
            }
            let count = served.differing(config).count();
            let Some((key, value)) = served.differing(config).next() else {
                let found = Self::built_in(name)?;
                return Ok(found.ok_or_else(|| format!("has no description {name}")));
            };
            if nearest.as_ref().is_none_or(|(least, _)| count < *least) {
                let reason = format!(
                    "names {class}, of which no built-in description serves this configuration (nearest is {}, for which `{key}` must be {value})",
                    name.trim_start_matches("hf.")
                );
                nearest = Some((count, reason));
            }
        }
        classes.sort();
        classes.dedup();
        let reason = nearest.map(|(_, reason)| reason).unwrap_or_else(|| {
            format!(
                "names {class}; the built-in ones are {}",
                classes.join(", ")
            )
        });
        Ok(Err(reason))
    }
}

/// The JSON text of a built-in description.
fn text(name: &str) -> Result<Option<Vec<u8>>, ModelError> {
    let Ok(i) = BUILT_IN.binary_search_by_key(&name, |&(n, _)| n) else {
        return Ok(None);
    };
    let mut text = Vec::new();
    GzDecoder::new(BUILT_IN[i].1)
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut text)
        .map_err(|e| ModelError::Json {
            file: format!("architecture {name}"),
            reason: e.to_string(),
        })?;
    Ok(Some(text))
}
