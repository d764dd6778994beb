//! Tensors of a safetensors file.

use crate::{ModelError, file};
use limpid_graph::nearest_names;
use limpid_tensor::Tensor;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The largest weights file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 36;

/// The largest header that is read, in bytes; a network of 10 000 tensors has
/// about 1 MB.
const MAX_HEADER_BYTES: u64 = 1 << 26;

/// The most axes of a tensor.
const MAX_RANK: usize = crate::limits::MAX_RANK;

/// The content of a safetensors file: names, shapes and bytes, checked.
///
/// F32, F16 and BF16 tensors are exact as 32-bit floats, F64 is rounded.
/// Integer tensors (bookkeeping such as `num_batches_tracked`) are left out of
/// [`Weights::names`].
pub struct Weights {
    file: String,
    bytes: Cow<'static, [u8]>,
    /// Where the tensors' bytes begin.
    data: usize,
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
    /// Reads a safetensors file. The header is checked against the file's
    /// length before the rest is read; the file is read, never mapped.
    ///
    /// # Errors
    /// When the file cannot be read or its header is not sound.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let (mut opened, bytes) = file::open(path, MAX_FILE_BYTES)?;
        let io = |source| ModelError::Io {
            path: path.to_owned(),
            source,
        };
        let mut start = [0u8; 8];
        if bytes >= 8 {
            opened.read_exact(&mut start).map_err(io)?;
            let header = header_len(&start, bytes).map_err(|reason| unsound(&name, reason))?;
            let mut text = vec![0; header];
            opened.read_exact(&mut text).map_err(io)?;
            parse_header(&text, bytes - 8 - header as u64)
                .map_err(|reason| unsound(&name, reason))?;
            opened.seek(SeekFrom::Start(0)).map_err(io)?;
        }
        let content = file::read_rest(path, &opened, bytes, MAX_FILE_BYTES)?;
        Self::from_bytes(content, &name)
    }

    /// The same from a file's content; `name` stands for it in errors.
    ///
    /// # Errors
    /// When the header is not sound.
    pub fn from_bytes(
        bytes: impl Into<Cow<'static, [u8]>>,
        name: &str,
    ) -> Result<Self, ModelError> {
        let bytes = bytes.into();
        let parsed = bytes
            .first_chunk::<8>()
            .ok_or_else(|| "it holds fewer than 8 bytes".to_owned())
            .and_then(|start| header_len(start, bytes.len() as u64))
            .and_then(|header| {
                let data = 8 + header;
                let tensors = parse_header(&bytes[8..data], (bytes.len() - data) as u64)?;
                Ok((data, tensors))
            });
        let (data, tensors) = parsed.map_err(|reason| unsound(name, reason))?;
        Ok(Self {
            file: name.to_owned(),
            bytes,
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
    /// floating-point type, or holds a value that is not finite.
    pub fn tensor(&self, name: &str) -> Result<Tensor, ModelError> {
        let wrong = |reason: String| ModelError::WeightsTensor {
            file: self.file.clone(),
            tensor: name.to_owned(),
            reason,
        };
        let Some(info) = self.tensors.get(name) else {
            return Err(ModelError::MissingTensor {
                file: self.file.clone(),
                tensor: name.to_owned(),
                near: nearest_names(name, self.names()),
            });
        };
        let (start, end) = info.data_offsets;
        let bytes = &self.bytes[self.data + start..self.data + end];
        let mut tensor =
            Tensor::zeros(info.shape.as_slice()).map_err(|source| ModelError::Tensor {
                file: format!("{}, tensor `{name}`", self.file),
                source,
            })?;
        convert(info.dtype, bytes, tensor.data_mut()).ok_or_else(|| {
            wrong(format!(
                "is of type {}; convert it to F32, F16, BF16 or F64",
                info.dtype
            ))
        })?;
        // Vectors answer whether; where is asked for an error alone.
        if !tensor.is_finite()
            && let Some(i) = tensor.data().iter().position(|v| !v.is_finite())
        {
            return Err(wrong(format!(
                "holds {} at element {i}; weights must be finite, so export them again",
                tensor.data()[i]
            )));
        }
        Ok(tensor)
    }

    /// The SHA-256 of the file's content, in 64 lower-case hexadecimal digits.
    /// Computed at each call.
    #[must_use]
    pub fn sha256(&self) -> String {
        file::sha256_hex(&self.bytes)
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

/// The header's length, which the first 8 bytes claim, for a file of `total`
/// bytes.
fn header_len(start: &[u8; 8], total: u64) -> Result<usize, String> {
    let claimed = u64::from_le_bytes(*start);
    let room = total.saturating_sub(8);
    if claimed > room || claimed > MAX_HEADER_BYTES {
        return Err(format!(
            "its header claims {claimed} bytes, {} follow and at most {MAX_HEADER_BYTES} are read",
            room
        ));
    }
    usize::try_from(claimed).map_err(|e| e.to_string())
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

/// Little-endian elements as 32-bit floats; `None` for types without meaning
/// as a weight.
fn convert(dtype: Dtype, bytes: &[u8], to: &mut [f32]) -> Option<()> {
    use half::slice::HalfFloatSliceExt;
    // Through a small buffer: the bytes of a file lie on no particular boundary.
    const CHUNK: usize = 1024;
    match dtype {
        Dtype::F32 => {
            for (to, b) in to.iter_mut().zip(bytes.chunks_exact(4)) {
                *to = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
        }
        Dtype::F64 => {
            for (to, b) in to.iter_mut().zip(bytes.chunks_exact(8)) {
                let v = f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
                *to = v as f32;
            }
        }
        Dtype::F16 => {
            let mut buffer = [half::f16::ZERO; CHUNK];
            for (to, bytes) in to.chunks_mut(CHUNK).zip(bytes.chunks(2 * CHUNK)) {
                for (v, b) in buffer.iter_mut().zip(bytes.chunks_exact(2)) {
                    *v = half::f16::from_le_bytes([b[0], b[1]]);
                }
                buffer[..to.len()].convert_to_f32_slice(to);
            }
        }
        Dtype::BF16 => {
            for (to, b) in to.iter_mut().zip(bytes.chunks_exact(2)) {
                *to = half::bf16::from_le_bytes([b[0], b[1]]).to_f32();
            }
        }
        _ => return None,
    }
    Some(())
}
