//! Bounded reading of files.

use crate::ModelError;
use sha2::Digest;
use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Bytes that are read from a file at once: whole elements of any type, and
/// little enough to stay in a cache until they are used.
const PIECE: u64 = 1 << 18;

/// Opens a regular file of at most `limit` bytes; the file and its length.
pub(crate) fn open(path: &Path, limit: u64) -> Result<(File, u64), ModelError> {
    let io = |source| ModelError::Io {
        path: path.to_owned(),
        source,
    };
    // Asked before opening: opening a pipe without a writer would wait forever.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(ModelError::NotAFile {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    if bytes > limit {
        return Err(too_large(path, bytes, limit));
    }
    Ok((file, bytes))
}

/// The content of a regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ModelError> {
    let (file, bytes) = open(path, limit)?;
    let mut content = Vec::new();
    let refused = || ModelError::OutOfMemory {
        file: path.display().to_string(),
        bytes,
    };
    let expected = usize::try_from(bytes).map_err(|_| refused())?;
    content.try_reserve_exact(expected).map_err(|_| refused())?;
    // A file may grow while it is read.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(|source| ModelError::Io {
            path: path.to_owned(),
            source,
        })?;
    if content.len() as u64 > limit {
        return Err(too_large(path, content.len() as u64, limit));
    }
    Ok(content)
}

/// Bytes in memory, or those of a file that stays open and is read whenever
/// they are wanted.
pub(crate) enum Content {
    Memory(Cow<'static, [u8]>),
    File(Mutex<File>, Metadata),
}

impl Content {
    /// The content of an open file, as long as that stays as it is.
    pub(crate) fn of(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self::File(Mutex::new(file), metadata))
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, metadata) => metadata.len(),
        }
    }

    /// Shows some of the bytes, a piece at a time.
    ///
    /// # Errors
    /// With the reason, when the file cannot be read or is not what it was when
    /// it was opened. What has been shown is of no use then.
    pub(crate) fn read(
        &self,
        range: Range<u64>,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), String> {
        let (file, opened) = match self {
            Self::Memory(bytes) => {
                each(&bytes[range.start as usize..range.end as usize]);
                return Ok(());
            }
            Self::File(file, opened) => (file, opened),
        };
        let mut buffer = vec![0; PIECE.min(range.end - range.start) as usize];
        let read = range.clone().step_by(PIECE as usize).try_for_each(|start| {
            let piece = &mut buffer[..PIECE.min(range.end - start) as usize];
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(piece)?;
            drop(file);
            each(piece);
            io::Result::Ok(())
        });
        // Asked last: what is still the same now was so while it was read.
        let file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let same = file
            .metadata()
            .and_then(|now| Ok(now.len() == opened.len() && now.modified()? == opened.modified()?));
        if matches!(same, Ok(false)) {
            return Err("has changed since it was opened; open the model again".to_owned());
        }
        same.and(read).map_err(|e| format!("cannot be read: {e}"))
    }

    /// The SHA-256 of all bytes in lower-case hexadecimal digits.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn sha256(&self) -> Result<String, String> {
        let mut hash = sha2::Sha256::new();
        self.read(0..self.len(), |bytes| hash.update(bytes))?;
        Ok(hex(&hash.finalize()))
    }
}

fn too_large(path: &Path, bytes: u64, limit: u64) -> ModelError {
    ModelError::FileTooLarge {
        file: path.display().to_string(),
        bytes,
        limit,
    }
}

/// The SHA-256 of `bytes` in lower-case hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
