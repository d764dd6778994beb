//! Inputs given as NumPy arrays.

use crate::{Input, ModelError, Preprocess, file};
use limpid_tensor::Tensor;
use std::path::Path;

const MAGIC: &[u8] = b"\x93NUMPY";

/// The largest header that is read; a three-dimensional array's has 128 bytes.
const MAX_HEADER: usize = 1 << 16;

/// The largest file that is read: the largest input and its header.
const MAX_FILE_BYTES: u64 = 4 * Preprocess::MAX_ELEMENTS as u64 + MAX_HEADER as u64 + 16;

impl Input {
    /// Reads a `.npy` file (version 1 or 2) with a C-order little-endian
    /// float32 array `[C,H,W]`, taken as the normalised input.
    ///
    /// # Errors
    /// When the file cannot be read, is no such array, or holds a value that is
    /// not finite.
    pub fn from_npy(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let bytes = file::read(path, MAX_FILE_BYTES)?;
        let mut input = Self::from_npy_bytes(&bytes, &path.display().to_string())?;
        input.set_path(path);
        Ok(input)
    }

    /// The same from a file's content; `name` stands for it in errors.
    ///
    /// # Errors
    /// As [`Input::from_npy`].
    pub fn from_npy_bytes(bytes: &[u8], name: &str) -> Result<Self, ModelError> {
        let tensor = parse(bytes).map_err(|reason| ModelError::Npy {
            file: name.to_owned(),
            reason,
        })?;
        Ok(Self::of_array(tensor, file::sha256_hex(bytes)))
    }
}

fn parse(bytes: &[u8]) -> Result<Tensor, String> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("it does not start as a .npy file does")?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [major, ..] if !matches!(major, 1 | 2) => {
            return Err(format!(
                "its format version is {major}, and versions 1 and 2 are read"
            ));
        }
        _ => return Err("it ends within its header".to_owned()),
    };
    if length > MAX_HEADER {
        return Err(format!(
            "its header claims {length} bytes, more than the {MAX_HEADER} that are read"
        ));
    }
    let header = rest.get(..length).ok_or("it ends within its header")?;
    let data = &rest[length..];
    let header = std::str::from_utf8(header)
        .ok()
        .filter(|h| h.is_ascii())
        .ok_or("its header is not text")?;

    let kind = value(header, "descr")?;
    if kind != "'<f4'" && kind != "\"<f4\"" {
        return Err(format!("its element type is {}, not '<f4'", short(kind)));
    }
    if value(header, "fortran_order")? != "False" {
        return Err("it is in Fortran order".to_owned());
    }
    let shape = shape(value(header, "shape")?)?;
    let expected = shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .filter(|&n| n > 0 && n <= Preprocess::MAX_ELEMENTS)
        .ok_or_else(|| {
            format!(
                "its shape {shape:?} does not have 1 to {} elements",
                Preprocess::MAX_ELEMENTS
            )
        })?;
    if data.len() != expected * 4 {
        return Err(format!(
            "its shape {shape:?} needs {} bytes of data, and it holds {}",
            expected * 4,
            data.len()
        ));
    }
    let mut tensor = Tensor::zeros(shape).map_err(|e| e.to_string())?;
    for (i, (to, from)) in tensor
        .data_mut()
        .iter_mut()
        .zip(data.chunks_exact(4))
        .enumerate()
    {
        let v = f32::from_le_bytes([from[0], from[1], from[2], from[3]]);
        if !v.is_finite() {
            return Err(format!("its element {i} is {v}"));
        }
        *to = v;
    }
    Ok(tensor)
}

/// The text of `key`'s value in the header, which is a Python dictionary of
/// three entries without nested dictionaries.
fn value<'a>(header: &'a str, key: &str) -> Result<&'a str, String> {
    let missing = || format!("its header has no `{key}`");
    let start = [format!("'{key}'"), format!("\"{key}\"")]
        .iter()
        .find_map(|quoted| header.find(quoted).map(|at| at + quoted.len()))
        .ok_or_else(missing)?;
    let text = header[start..]
        .trim_start()
        .strip_prefix(':')
        .ok_or_else(missing)?
        .trim_start();
    let end = match text.as_bytes().first() {
        Some(b'(') => text.find(')').map(|i| i + 1),
        _ => text.find([',', '}']),
    }
    .ok_or_else(missing)?;
    Ok(text[..end].trim_end())
}

/// A tuple of three non-negative numbers.
fn shape(text: &str) -> Result<[usize; 3], String> {
    let wrong = || format!("its shape is {}, not (C, H, W)", short(text));
    let inner = text
        .strip_prefix('(')
        .and_then(|t| t.strip_suffix(')'))
        .ok_or_else(wrong)?;
    let mut dims = inner.trim_end().trim_end_matches(',').split(',');
    let mut next = || {
        dims.next()
            .and_then(|d| d.trim().parse().ok())
            .ok_or_else(wrong)
    };
    let shape = [next()?, next()?, next()?];
    match dims.next() {
        None => Ok(shape),
        Some(_) => Err(wrong()),
    }
}

/// The beginning of a text, for an error message.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}
