//! The archives that `tests/fixtures/onnx-suite/export.py` writes.

use flate2::read::GzDecoder;
use limpid_graph::reference::RefTensor;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use std::io::Read;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It does not decompress.
    #[error("the archive does not decompress: {0}")]
    Compression(#[from] std::io::Error),
    /// It is no safetensors container, or lacks a tensor.
    #[error("the archive is no sound container: {0}")]
    Container(#[from] safetensors::SafeTensorError),
    /// The list of cases is missing or has other keys.
    #[error("the archive's list of cases does not parse: {0}")]
    Cases(#[from] serde_json::Error),
    /// A tensor has a type that no case should have.
    #[error("tensor `{name}` has the type {dtype:?}, which export.py does not write")]
    Type {
        /// The tensor's name.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
}

/// An input or output of a case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// The value's name in the model.
    pub name: String,
    /// The element type, by ONNX's name.
    pub r#type: String,
    /// What reads it, as operator and position: `Conv 1`. Of inputs alone.
    #[serde(default)]
    pub readers: Vec<String>,
    /// Where its elements are in the archive, if the case has data.
    #[serde(default)]
    pub tensor: Option<String>,
}

impl Value {
    /// Whether the elements are floats, of single or double precision.
    #[must_use]
    pub fn is_float(&self) -> bool {
        matches!(&*self.r#type, "float" | "double")
    }
}

/// An input that is bound to seeded numbers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weight {
    /// The value's name in the model.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// The index of its first number.
    pub first: u32,
    /// The mean of the uniform distribution.
    pub centre: f64,
    /// Half its width.
    pub width: f64,
}

impl Weight {
    /// The elements, as 32-bit floats hold them.
    #[must_use]
    pub fn elements(&self) -> Vec<f64> {
        let count = self.shape.iter().product::<usize>() as u32;
        let element = |i| f64::from((self.centre + self.width * uniform(i)) as f32);
        (self.first..self.first + count).map(element).collect()
    }
}

/// A number in [-1, 1): the hash of its index by the finaliser of MurmurHash3.
fn uniform(index: u32) -> f64 {
    let mut h = index;
    h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    h ^= h >> 16;
    f64::from(h >> 8) / f64::from(1 << 23) - 1.0
}

/// A test case of the `onnx` package.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// `node`, `light`, or `seeded`.
    pub group: String,
    /// Its name in the package, without `test_`.
    pub name: String,
    /// The version of the operator set.
    pub opset: i64,
    /// The operators of the model, those of other domains with their domain.
    pub operators: Vec<String>,
    /// The model's inputs that are no weights.
    pub inputs: Vec<Value>,
    /// The model's outputs.
    pub outputs: Vec<Value>,
    /// The accepted error, relative to what is expected.
    pub rtol: f64,
    /// The accepted error besides.
    pub atol: f64,
    /// Where the model is in the archive, if the case has data.
    #[serde(default)]
    pub model: Option<String>,
    /// The model's further inputs, which are weights.
    #[serde(default)]
    pub weights: Vec<Weight>,
    /// The largest element of the first output.
    #[serde(default)]
    pub top: Option<usize>,
    /// Where its gradient with respect to the first input is, at every
    /// `gradient_step`-th pixel of either axis.
    #[serde(default)]
    pub gradient: Option<String>,
    /// The norm of the whole gradient.
    #[serde(default)]
    pub gradient_norm: f64,
    /// See `gradient`.
    #[serde(default)]
    pub gradient_step: usize,
}

/// An archive in memory: the cases, and the tensors that they name.
pub struct Archive {
    bytes: Vec<u8>,
    /// The cases, in the package's order of names.
    pub cases: Vec<Case>,
}

impl Archive {
    /// The operator tests.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn node() -> Result<Self, ArchiveError> {
        Self::read(include_bytes!(
            "../../fixtures/onnx-suite/node.safetensors.gz"
        ))
    }

    /// The whole models.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn light() -> Result<Self, ArchiveError> {
        Self::read(include_bytes!(
            "../../fixtures/onnx-suite/light.safetensors.gz"
        ))
    }

    /// Decompresses an archive and reads its list of cases.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(compressed: &[u8]) -> Result<Self, ArchiveError> {
        let mut bytes = Vec::new();
        GzDecoder::new(compressed).read_to_end(&mut bytes)?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let list = header.metadata().as_ref().and_then(|m| m.get("cases"));
        let cases = serde_json::from_str(list.map_or("", |l| l))?;
        Ok(Self { bytes, cases })
    }

    /// The bytes of a model.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub fn model(&self, name: &str) -> Result<Vec<u8>, ArchiveError> {
        let tensors = SafeTensors::deserialize(&self.bytes)?;
        Ok(tensors.tensor(name)?.data().to_vec())
    }

    /// A tensor; integers are exact to 2^53, truths are 0 and 1.
    ///
    /// # Errors
    /// When there is no such tensor, or it has another type.
    pub fn tensor(&self, name: &str) -> Result<RefTensor, ArchiveError> {
        let tensors = SafeTensors::deserialize(&self.bytes)?;
        let view = tensors.tensor(name)?;
        let bytes = view.data();
        let data = match view.dtype() {
            Dtype::F32 => elements(bytes, |b| f64::from(f32::from_le_bytes(b))),
            Dtype::F64 => elements(bytes, f64::from_le_bytes),
            Dtype::I32 => elements(bytes, |b| f64::from(i32::from_le_bytes(b))),
            Dtype::I64 => elements(bytes, |b| i64::from_le_bytes(b) as f64),
            Dtype::U8 | Dtype::BOOL => bytes.iter().map(|&b| f64::from(b)).collect(),
            dtype => {
                let name = name.to_owned();
                return Err(ArchiveError::Type { name, dtype });
            }
        };
        Ok(RefTensor::new(view.shape(), data))
    }
}

fn elements<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&b| value(b)).collect()
}
