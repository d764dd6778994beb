//! Bounded reading of files.

use crate::ModelError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

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
    read_rest(path, &file, bytes, limit)
}

/// What is left of an open file, which said that it holds `bytes` bytes.
pub(crate) fn read_rest(
    path: &Path,
    file: &File,
    bytes: u64,
    limit: u64,
) -> Result<Vec<u8>, ModelError> {
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

fn too_large(path: &Path, bytes: u64, limit: u64) -> ModelError {
    ModelError::FileTooLarge {
        file: path.display().to_string(),
        bytes,
        limit,
    }
}

/// The SHA-256 of `bytes` in lower-case hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    use std::fmt::Write;
    let mut hex = String::with_capacity(64);
    for byte in sha2::Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
