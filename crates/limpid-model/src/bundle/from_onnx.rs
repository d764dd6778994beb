//! Models from ONNX files.

use super::Model;
use crate::onnx::{self, ImportOptions};
use crate::{Config, Description, ModelError, file};
use prost::bytes::Bytes;
use std::path::Path;
use std::sync::OnceLock;

/// The largest ONNX file that is read: protocol buffers end at 2 GiB.
const MAX_FILE_BYTES: u64 = 1 << 31;

impl Model {
    /// Opens an ONNX file, with the `config.json` beside it if there is one.
    pub(super) fn open_onnx(path: &Path) -> Result<Self, ModelError> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let beside = folder.join("config.json");
        let config = beside.exists().then(|| Config::open(&beside)).transpose()?;
        let bytes = file::read(path, MAX_FILE_BYTES)?;
        Self::from_onnx(
            &path.display().to_string(),
            bytes,
            Some(folder),
            config.as_ref(),
        )
    }

    /// The classifier of an ONNX file's content; `name` stands for the file in
    /// errors, `folder` is where its external data may lie.
    ///
    /// # Errors
    /// When the network is no classifier of pictures, uses what is not
    /// supported, or does not fit the configuration.
    pub fn from_onnx(
        name: &str,
        bytes: Vec<u8>,
        folder: Option<&Path>,
        config: Option<&Config>,
    ) -> Result<Self, ModelError> {
        let standard = Config::empty("config.json");
        let known = config.unwrap_or(&standard);
        let sha256 = file::sha256_hex(&bytes);
        let picture = known.preprocess(&serde_json::Map::new(), None);
        let options = ImportOptions {
            file: name.to_owned(),
            directory: folder.map(Path::to_owned),
            // Extents that the file leaves open are those of the configuration.
            picture: picture.ok().map(|p| p.input_size()),
            partial: true,
            ..ImportOptions::default()
        };
        let network = onnx::network(Bytes::from(bytes), &options)?;
        let batch = network
            .graph
            .inputs()
            .first()
            .map(|v| network.graph.fact(*v).shape[0]);
        if let (Some(reason), Some(batch @ 2..)) = (&network.fixed, batch) {
            return Err(ModelError::Onnx {
                file: name.to_owned(),
                reason: format!(
                    "it takes {batch} pictures at once, and they cannot be told apart ({reason}); export it for one picture"
                ),
            });
        }
        let (description, tensors) = Description::from_graph(&network.graph, name)?;
        let mut notes = network.notes;
        if config.is_none() {
            notes.push(format!(
                "{name} has no config.json beside it; pictures are normalised as for ImageNet"
            ));
        }
        if let Some(reason) = &network.fixed {
            notes.push(format!("{name} takes one picture at a time ({reason})"));
        }
        let architecture = "onnx".to_owned();
        let mut model = Self::finish(
            name,
            architecture,
            known,
            description,
            tensors,
            name,
            notes,
            network.fixed,
        )?;
        model.tags |= network.tags;
        model.sha256 = OnceLock::from(sha256);
        Ok(model)
    }
}
