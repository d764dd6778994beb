//! A folder of pictures to take baselines from.

use crate::{Image, Model};
use limpid_explain::{ExplainError, Pictures};
use limpid_tensor::Tensor;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Pictures kept in memory at once.
const KEPT: usize = 64;

/// The most entries of a folder that are looked at.
const ENTRIES: usize = 1 << 20;

/// The endings of pictures, in lower case.
const ENDINGS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"];

pub(super) struct Folder {
    model: Model,
    files: Vec<PathBuf>,
    kept: Mutex<HashMap<usize, Arc<Tensor>>>,
}

impl Folder {
    /// The pictures that lie directly in a folder, in byte order.
    pub(super) fn open(folder: &str, model: Model) -> Result<Self, ExplainError> {
        let error = |reason: String| ExplainError::Baseline {
            path: folder.to_owned(),
            reason,
        };
        let entries = std::fs::read_dir(folder).map_err(|e| error(e.to_string()))?;
        let mut files = Vec::new();
        for entry in entries.take(ENTRIES) {
            let path = entry.map_err(|e| error(e.to_string()))?.path();
            let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
            if ending.is_some_and(|e| ENDINGS.contains(&&*e)) {
                files.push(path);
            }
        }
        if files.is_empty() {
            let endings = ENDINGS.join(", ");
            return Err(error(format!("has no pictures: no file ends in {endings}")));
        }
        files.sort_by(|a, b| {
            let bytes = |p: &PathBuf| p.as_os_str().as_encoded_bytes().to_vec();
            bytes(a).cmp(&bytes(b))
        });
        Ok(Self {
            model,
            files,
            kept: Mutex::default(),
        })
    }
}

impl Pictures for Folder {
    fn count(&self) -> usize {
        self.files.len()
    }

    fn picture(&self, index: usize) -> Result<Arc<Tensor>, ExplainError> {
        if let Some(found) = super::lock(&self.kept).get(&index) {
            return Ok(Arc::clone(found));
        }
        let path = &self.files[index];
        let input = Image::open(path)
            .and_then(|image| self.model.preprocess().apply(&image))
            .map_err(|e| ExplainError::Baseline {
                path: path.display().to_string(),
                reason: e.to_string(),
            })?;
        let tensor = Arc::new(input.tensor().clone());
        let mut kept = super::lock(&self.kept);
        if kept.len() < KEPT {
            kept.insert(index, Arc::clone(&tensor));
        }
        Ok(tensor)
    }
}
