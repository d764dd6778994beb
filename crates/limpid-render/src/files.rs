use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};

use crate::RenderError;

/// Encodes a picture as PNG, with the encoder's fast compression.
///
/// # Errors
/// If the picture has no pixel.
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>, RenderError> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(
            image.as_raw(),
            image.width(),
            image.height(),
            ExtendedColorType::Rgb8,
        )?;
    Ok(bytes)
}

/// Encodes an array as a `.npy` file: version 1.0, little-endian float32, C
/// order, the header padded so that the data begins at a multiple of 64 bytes
/// ([NEP 1](https://numpy.org/neps/nep-0001-npy-format.html)).
///
/// # Errors
/// If `data` does not have as many values as `shape` says.
///
/// ```
/// let bytes = limpid_render::encode_npy(&[2, 1], &[1.0, -2.0])?;
/// assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
/// assert_eq!(bytes.len(), 128 + 8);
/// # Ok::<(), limpid_render::RenderError>(())
/// ```
pub fn encode_npy(shape: &[usize], data: &[f32]) -> Result<Vec<u8>, RenderError> {
    let expected = shape
        .iter()
        .try_fold(1_usize, |n, d| n.checked_mul(*d))
        .filter(|n| *n == data.len() && shape.len() <= MAX_RANK);
    if expected.is_none() {
        return Err(RenderError::Shape {
            shape: shape.iter().take(MAX_RANK).copied().collect(),
            actual: data.len(),
        });
    }
    let mut dims = String::new();
    for (i, d) in shape.iter().enumerate() {
        // A tuple of one has a comma behind it.
        let comma = if i == 0 { "" } else { ", " };
        dims.push_str(&format!("{comma}{d}"));
    }
    if shape.len() == 1 {
        dims.push(',');
    }
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}");
    const PREAMBLE: usize = 10;
    let padded = (PREAMBLE + header.len() + 1).next_multiple_of(64);
    while PREAMBLE + header.len() + 1 < padded {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = Vec::with_capacity(padded + 4 * data.len());
    bytes.extend_from_slice(b"\x93NUMPY\x01\x00");
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    for value in data {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    Ok(bytes)
}

/// numpy's own limit.
const MAX_RANK: usize = 32;

/// Writes a whole file or none: the bytes go to a temporary name in the same
/// folder, which is then renamed over `path`. Missing folders are created; on
/// failure the temporary file is removed and what was at `path` stays.
///
/// # Errors
/// If a folder cannot be created or the file cannot be written, with the path,
/// the system's reason and what to do.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), RenderError> {
    let failed = |reason: io::Error| RenderError::Write {
        path: path.to_owned(),
        advice: advice(reason.kind()),
        reason,
    };
    if path.file_name().is_none() {
        return Err(failed(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it names no file",
        )));
    }
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let (mut file, temporary) = create_temporary(folder).map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.flush());
    drop(file);
    written
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|reason| {
            // The first failure is the one to report.
            let _ = fs::remove_file(&temporary);
            failed(reason)
        })
}

fn create_temporary(folder: &Path) -> io::Result<(File, PathBuf)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    const ATTEMPTS: usize = 1000;
    let mut last = io::Error::other("no free temporary name");
    for _ in 0..ATTEMPTS {
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = folder.join(format!(".limpid-{}-{n}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&name) {
            Ok(file) => return Ok((file, name)),
            // Left behind by a killed process of the same number.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

fn advice(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind::{
        IsADirectory, NotADirectory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem,
        StorageFull,
    };
    match kind {
        PermissionDenied | ReadOnlyFilesystem => "; choose a folder that can be written",
        StorageFull | QuotaExceeded => "; free some space or choose another disk",
        IsADirectory => "; a folder of that name is in the way",
        NotADirectory | io::ErrorKind::AlreadyExists => "; a file stands where a folder is needed",
        _ => "",
    }
}
