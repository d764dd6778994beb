//! Tensors that lie in a file beside the model.

use super::proto::TensorProto;
use super::refusal::{Refusal, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The files beside a model that its tensors name.
#[derive(Debug, Default)]
pub(super) struct External {
    directory: Option<PathBuf>,
    files: HashMap<String, Opened>,
}

#[derive(Debug)]
struct Opened {
    file: File,
    length: u64,
    /// The bytes that tensors may still take: twice the file's, since tied
    /// weights may be named twice, and no file can fill the memory.
    left: u64,
}

impl External {
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self {
            directory,
            files: HashMap::new(),
        }
    }

    /// The `bytes` bytes of a tensor.
    pub(super) fn read(&mut self, proto: &TensorProto, bytes: usize) -> Result<Vec<u8>> {
        let get = |key: &str| {
            let entry = proto.external_data.iter().find(|e| e.key() == key);
            entry.map(super::proto::StringStringEntryProto::value)
        };
        let number = |key: &str| match get(key) {
            None => Ok(None),
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
                Refusal::new(format!(
                    "gives its external data's {key} as `{}`; a whole number is needed",
                    short(text)
                ))
            }),
        };
        let location = get("location").unwrap_or_default();
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if length.is_some_and(|n| n != bytes as u64) {
            return Err(Refusal::new(format!(
                "needs {bytes} bytes and claims {} of its external data; export the model again",
                length.unwrap_or_default()
            )));
        }
        let opened = self.open(location)?;
        let end = offset.checked_add(bytes as u64);
        if end.is_none_or(|end| end > opened.length) {
            return Err(Refusal::new(format!(
                "claims {bytes} bytes from byte {offset} of `{}`, which holds {}; copy or export the file again",
                short(location),
                opened.length
            )));
        }
        opened.left = opened.left.checked_sub(bytes as u64).ok_or_else(|| {
            Refusal::new(format!(
                "is one of many that claim the same bytes of `{}`; export the model again",
                short(location)
            ))
        })?;
        let failed = |e: std::io::Error| {
            Refusal::new(format!("cannot be read from `{}`: {e}", short(location)))
        };
        let mut content = Vec::new();
        content.try_reserve_exact(bytes).map_err(|_| {
            Refusal::new(format!(
                "needs {bytes} bytes of memory, which the system refuses"
            ))
        })?;
        opened.file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        (&opened.file)
            .take(bytes as u64)
            .read_to_end(&mut content)
            .map_err(failed)?;
        if content.len() != bytes {
            return Err(Refusal::new(format!(
                "`{}` became shorter while it was read; try again",
                short(location)
            )));
        }
        Ok(content)
    }

    fn open(&mut self, location: &str) -> Result<&mut Opened> {
        if !self.files.contains_key(location) {
            let opened = self.locate(location)?;
            self.files.insert(location.to_owned(), opened);
        }
        self.files
            .get_mut(location)
            .ok_or_else(|| Refusal::new("has no external data"))
    }

    fn locate(&self, location: &str) -> Result<Opened> {
        let refused = |why: &str| {
            Refusal::new(format!(
                "names `{}` as its external data, {why}; only a regular file in the model's own folder is read",
                short(location)
            ))
        };
        let mut components = Path::new(location).components();
        let beside = matches!(components.next(), Some(Component::Normal(_)))
            && components.next().is_none()
            && !location.contains(['/', '\\', ':', '\0']);
        if !beside {
            return Err(refused("which is not beside the model"));
        }
        let directory = self
            .directory
            .as_ref()
            .ok_or_else(|| refused("and the model has no folder"))?;
        let path = directory.join(location);
        let metadata = std::fs::symlink_metadata(&path)
            .map_err(|e| refused(&format!("which cannot be read ({e})")))?;
        if !metadata.is_file() {
            return Err(refused("which is a link or no file"));
        }
        let file =
            File::open(&path).map_err(|e| refused(&format!("which cannot be read ({e})")))?;
        let length = metadata.len();
        Ok(Opened {
            file,
            length,
            left: length.saturating_mul(2),
        })
    }
}

fn short(text: &str) -> String {
    crate::description::short(text)
}
