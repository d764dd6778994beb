//! Tensors of a safetensors file.

use crate::ModelError;
use crate::file::{self, Content};
use limpid_graph::{Constant, TensorSource, nearest_names};
use limpid_tensor::{Shape, Tensor, TensorError};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The largest weights file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 36;

/// The largest header that is read, in bytes; a network of 10 000 tensors has
/// about 1 MB.
const MAX_HEADER_BYTES: u64 = 1 << 26;

/// The most axes of a tensor.
const MAX_RANK: usize = crate::limits::MAX_RANK;

/// Numbers that are converted at once.
const CHUNK: usize = 1024;

/// The content of a safetensors file: names and shapes, checked, and the way to
/// the numbers. A file stays open and is read again for each tensor that is
/// asked for.
///
/// F32, F16 and BF16 tensors are exact as 32-bit floats, F64 is rounded.
/// Integer tensors (bookkeeping such as `num_batches_tracked`) are left out of
/// [`Weights::names`].
pub struct Weights {
    file: String,
    content: Arc<Content>,
    /// Where the tensors' bytes begin.
    data: u64,
    tensors: BTreeMap<String, TensorInfo>,
}

/// The JSON header.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    _metadata: Option<HashMap<String, String>>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorInfo>,
}

impl Weights {
    /// Opens a safetensors file. The file is read, never mapped.
    ///
    /// # Errors
    /// When the file cannot be read or its header is not sound.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let (file, _) = file::open(path, MAX_FILE_BYTES)?;
        let content = Content::of(file).map_err(|source| ModelError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::of(content, &path.display().to_string())
    }

    /// The same from a file's content; `name` stands for it in errors.
    ///
    /// # Errors
    /// When the header is not sound.
    pub fn from_bytes(
        bytes: impl Into<Cow<'static, [u8]>>,
        name: &str,
    ) -> Result<Self, ModelError> {
        Self::of(Content::Memory(bytes.into()), name)
    }

    fn of(content: Content, name: &str) -> Result<Self, ModelError> {
        let parsed = header(&content).and_then(|text| {
            let data = 8 + text.len() as u64;
            Ok((data, parse_header(&text, content.len() - data)?))
        });
        let (data, tensors) = parsed.map_err(|reason| unsound(name, reason))?;
        Ok(Self {
            file: name.to_owned(),
            content: Arc::new(content),
            data,
            tensors,
        })
    }

    /// The file's name, as errors give it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The names of the tensors that are not integers, in byte order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors
            .iter()
            .filter(|(_, info)| !is_integer(info.dtype))
            .map(|(name, _)| name.as_str())
    }

    /// The shape of a tensor, if there is one of this name.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|info| info.shape.as_slice())
    }

    /// The tensor of this name, as 32-bit floats.
    ///
    /// # Errors
    /// When it is missing (with the nearest names), has a type that is no
    /// floating-point type, cannot be read, or holds a value that is not finite.
    pub fn tensor(&self, name: &str) -> Result<Tensor, ModelError> {
        let stored = self.stored(name)?;
        stored.load().map_err(|e| stored.refused(e))
    }

    /// The tensor of this name as a constant of a graph: read now and checked, but
    /// kept only where it is small.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub fn constant(&self, name: &str) -> Result<Constant, ModelError> {
        let stored = self.stored(name)?;
        if stored.shape.iter().product::<usize>() <= Constant::SMALL {
            return Ok(self.tensor(name)?.into());
        }
        stored.pieces(|_| ()).map_err(|e| stored.refused(e))?;
        Ok(Arc::new(stored).into())
    }

    fn stored(&self, name: &str) -> Result<Stored, ModelError> {
        let Some(info) = self.tensors.get(name) else {
            return Err(ModelError::MissingTensor {
                file: self.file.clone(),
                tensor: name.to_owned(),
                near: nearest_names(name, self.names()),
            });
        };
        let (start, end) = info.data_offsets;
        let stored = Stored {
            file: self.file.clone(),
            name: name.to_owned(),
            content: Arc::clone(&self.content),
            bytes: self.data + start as u64..self.data + end as u64,
            dtype: info.dtype,
            shape: info.shape.as_slice().into(),
        };
        match info.dtype {
            Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16 => Ok(stored),
            other => Err(stored.refused(stored.unreadable(format!(
                "is of type {other}; convert it to F32, F16, BF16 or F64"
            )))),
        }
    }

    /// The SHA-256 of the file's content, in 64 lower-case hexadecimal digits.
    /// Computed at each call.
    ///
    /// # Errors
    /// When the file cannot be read, or has changed since it was opened.
    pub fn sha256(&self) -> Result<String, ModelError> {
        let hash = self.content.sha256();
        hash.map_err(|reason| unsound(&self.file, format!("it {reason}")))
    }
}

/// A tensor of a weights file.
struct Stored {
    file: String,
    name: String,
    content: Arc<Content>,
    /// Where its bytes are in the file.
    bytes: Range<u64>,
    /// A floating-point type.
    dtype: Dtype,
    shape: Shape,
}

impl Stored {
    /// Shows the numbers in order, some at a time.
    fn pieces(&self, mut each: impl FnMut(&[f32])) -> Result<(), TensorError> {
        let (size, mut done, mut wrong) = (self.dtype.bitsize() / 8, 0, None);
        let mut numbers = [0.0; CHUNK];
        let read = self.content.read(self.bytes.clone(), |bytes| {
            for bytes in bytes.chunks(CHUNK * size) {
                let numbers = &mut numbers[..bytes.len() / size];
                convert(self.dtype, bytes, numbers);
                // Vectors answer whether; where is asked for an error alone.
                if !numbers.iter().fold(true, |all, v| all & v.is_finite()) {
                    let at = numbers.iter().position(|v| !v.is_finite());
                    wrong = wrong.or(at.map(|i| (done + i, numbers[i])));
                }
                done += numbers.len();
                each(numbers);
            }
        });
        let found = read.and_then(|()| match wrong {
            None => Ok(()),
            Some((i, v)) => Err(format!(
                "holds {v} at element {i}; weights must be finite, so export them again"
            )),
        });
        found.map_err(|reason| self.unreadable(reason))
    }

    fn refused(&self, error: TensorError) -> ModelError {
        ModelError::of_tensor(&self.file, &self.name, error)
    }

    fn unreadable(&self, reason: String) -> TensorError {
        TensorError::Unreadable {
            file: self.file.clone(),
            tensor: self.name.clone(),
            reason,
        }
    }
}

impl TensorSource for Stored {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn read(&self, to: &mut [f32]) -> Result<(), TensorError> {
        let mut rest = to;
        self.pieces(|numbers| {
            let (to, behind) = std::mem::take(&mut rest).split_at_mut(numbers.len());
            to.copy_from_slice(numbers);
            rest = behind;
        })
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Weights")
            .field("file", &self.file)
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}

fn unsound(file: &str, reason: String) -> ModelError {
    ModelError::WeightsFile {
        file: file.to_owned(),
        reason,
    }
}

fn is_integer(dtype: Dtype) -> bool {
    use Dtype::{BOOL, I8, I16, I32, I64, U8, U16, U32, U64};
    matches!(dtype, BOOL | U8 | I8 | U16 | I16 | U32 | I32 | U64 | I64)
}

/// The text of the header, whose length the first 8 bytes claim.
fn header(content: &Content) -> Result<Vec<u8>, String> {
    let Some(room) = content.len().checked_sub(8) else {
        return Err("it holds fewer than 8 bytes".to_owned());
    };
    let bytes = |range: Range<u64>| {
        let mut bytes = Vec::new();
        let read = content.read(range, |piece| bytes.extend_from_slice(piece));
        read.map(|()| bytes)
            .map_err(|reason| format!("it {reason}"))
    };
    let claimed = bytes(0..8)?
        .iter()
        .rev()
        .fold(0, |n, b| n << 8 | u64::from(*b));
    if claimed > room || claimed > MAX_HEADER_BYTES {
        return Err(format!(
            "its header claims {claimed} bytes, {room} follow and at most {MAX_HEADER_BYTES} are read"
        ));
    }
    bytes(8..8 + claimed)
}

/// The tensors of a header, in front of `data` bytes: each tensor's size is
/// that of its shape and type, and together they cover the bytes exactly.
fn parse_header(text: &[u8], data: u64) -> Result<BTreeMap<String, TensorInfo>, String> {
    let header: Header =
        serde_json::from_slice(text).map_err(|e| format!("its header is not sound: {e}"))?;
    let mut order: Vec<(&String, &TensorInfo)> = header.tensors.iter().collect();
    order.sort_by_key(|(_, info)| info.data_offsets);
    let mut covered = 0;
    for (name, info) in order {
        let (start, end) = info.data_offsets;
        if info.shape.len() > MAX_RANK {
            return Err(format!(
                "tensor `{name}` has {} axes, more than {MAX_RANK}",
                info.shape.len()
            ));
        }
        let size = info
            .shape
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d))
            .and_then(|n| n.checked_mul(info.dtype.bitsize()))
            .filter(|bits| bits % 8 == 0)
            .map(|bits| bits / 8)
            .ok_or_else(|| {
                format!(
                    "the size of tensor `{name}` of shape {:?} overflows",
                    info.shape
                )
            })?;
        if end as u64 > data || start > end {
            return Err(format!(
                "tensor `{name}` claims the bytes {start} to {end} of {data}"
            ));
        }
        if end - start != size {
            return Err(format!(
                "tensor `{name}` of shape {:?} and type {} needs {size} bytes and claims {}",
                info.shape,
                info.dtype,
                end - start
            ));
        }
        if start != covered {
            return Err(format!(
                "tensor `{name}` begins at byte {start}, and the one before it ends at {covered}"
            ));
        }
        covered = end;
    }
    if covered as u64 != data {
        return Err(format!(
            "its tensors cover {covered} of the {data} bytes that follow the header"
        ));
    }
    Ok(header.tensors)
}

/// Little-endian elements of a floating-point type as 32-bit floats, at most
/// [`CHUNK`] of them.
fn convert(dtype: Dtype, bytes: &[u8], to: &mut [f32]) {
    use half::slice::HalfFloatSliceExt;
    match dtype {
        Dtype::F64 => {
            for (to, b) in to.iter_mut().zip(bytes.as_chunks().0) {
                *to = f64::from_le_bytes(*b) as f32;
            }
        }
        Dtype::F16 => {
            let mut buffer = [half::f16::ZERO; CHUNK];
            for (v, b) in buffer.iter_mut().zip(bytes.as_chunks().0) {
                *v = half::f16::from_le_bytes(*b);
            }
            buffer[..to.len()].convert_to_f32_slice(to);
        }
        Dtype::BF16 => {
            for (to, b) in to.iter_mut().zip(bytes.as_chunks().0) {
                *to = half::bf16::from_le_bytes(*b).to_f32();
            }
        }
        _ => {
            for (to, b) in to.iter_mut().zip(bytes.as_chunks().0) {
                *to = f32::from_le_bytes(*b);
            }
        }
    }
}
