//! Constants: weights, shapes, masks, and what is computed from them.

use super::external::External;
use super::proto::TensorProto;
use super::refusal::{Refusal, Result};
use crate::limits::MAX_RANK;
use limpid_graph::ValueId;
use limpid_graph::reference::RefTensor;
use limpid_tensor::{Shape, Tensor};
use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

/// What the elements of a value are. All are held as floats; integers are
/// exact to 2^53 in constants and to 2^24 where they are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Int,
    Bool,
}

impl Kind {
    /// The kind of a type of ONNX's `TensorProto.DataType`.
    pub(super) fn of(data_type: i32) -> Result<Self> {
        match data_type {
            1 | 10 | 11 | 16 => Ok(Self::Float),
            2..=7 | 12 | 13 => Ok(Self::Int),
            9 => Ok(Self::Bool),
            _ => Err(Refusal::new(format!(
                "has the element type {}, which is not supported; export the model in 32-bit floats",
                type_name(data_type)
            ))),
        }
    }
}

fn type_name(data_type: i32) -> String {
    match data_type {
        0 => "UNDEFINED".to_owned(),
        8 => "STRING".to_owned(),
        14 => "COMPLEX64".to_owned(),
        15 => "COMPLEX128".to_owned(),
        17..=20 | 24 => "FLOAT8".to_owned(),
        21 | 22 => "INT4".to_owned(),
        n => format!("number {n}"),
    }
}

/// A constant tensor.
#[derive(Debug)]
pub(super) struct Literal {
    /// The value's name in the file, or that of the node it was computed for.
    pub(super) name: String,
    pub(super) kind: Kind,
    elements: Elements,
    /// Its value in the graph, once a node has read it.
    pub(super) placed: Cell<Option<ValueId>>,
}

#[derive(Debug)]
enum Elements {
    /// Weights, as devices take them.
    Single(Arc<Tensor>),
    /// Everything that arithmetic is done with here.
    Double(RefTensor),
}

impl Literal {
    pub(super) fn new(name: &str, kind: Kind, tensor: RefTensor) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            elements: Elements::Double(tensor),
            placed: Cell::new(None),
        }
    }

    /// What was computed of others; large floats are kept in single precision.
    pub(super) fn computed(name: &str, kind: Kind, tensor: RefTensor) -> Result<Self> {
        const LARGE: usize = 1 << 16;
        let literal = Self::new(name, kind, tensor);
        if kind == Kind::Float && literal.shape().elements()? >= LARGE {
            return Ok(Self::weights(name, literal.single()?));
        }
        Ok(literal)
    }

    pub(super) fn weights(name: &str, tensor: Arc<Tensor>) -> Self {
        Self {
            name: name.to_owned(),
            kind: Kind::Float,
            elements: Elements::Single(tensor),
            placed: Cell::new(None),
        }
    }

    pub(super) fn shape(&self) -> &Shape {
        match &self.elements {
            Elements::Single(t) => t.shape(),
            Elements::Double(t) => &t.shape,
        }
    }

    /// The elements in double precision.
    pub(super) fn double(&self) -> Cow<'_, RefTensor> {
        match &self.elements {
            Elements::Single(t) => Cow::Owned(RefTensor::from(&**t)),
            Elements::Double(t) => Cow::Borrowed(t),
        }
    }

    /// The elements in single precision. Infinities, which stand in masks, are
    /// the largest numbers of their sign, so that 0 times one is 0.
    ///
    /// # Errors
    /// When an element is not a number.
    pub(super) fn single(&self) -> Result<Arc<Tensor>> {
        let wanting = |v: &f32| !v.is_finite();
        let mut tensor = match &self.elements {
            Elements::Single(t) if !t.data().iter().any(wanting) => return Ok(Arc::clone(t)),
            Elements::Single(t) => Tensor::clone(t),
            Elements::Double(t) => {
                let mut tensor = Tensor::zeros(&t.shape)?;
                for (to, v) in tensor.data_mut().iter_mut().zip(&t.data) {
                    *to = *v as f32;
                }
                tensor
            }
        };
        for v in tensor.data_mut().iter_mut() {
            if v.is_nan() {
                return Err(Refusal::new(format!(
                    "the constant `{}` holds a value that is not a number; train or export the model again",
                    self.name
                )));
            }
            *v = v.clamp(f32::MIN, f32::MAX);
        }
        Ok(Arc::new(tensor))
    }

    /// The same elements under another shape.
    pub(super) fn reshaped(&self, shape: Shape) -> Result<Self> {
        Ok(match &self.elements {
            Elements::Single(t) => {
                Self::weights(&self.name, Arc::new(Tensor::clone(t).reshape(shape)?))
            }
            Elements::Double(t) => {
                Self::new(&self.name, self.kind, RefTensor::new(shape, t.data.clone()))
            }
        })
    }

    /// The elements as whole numbers.
    pub(super) fn ints(&self) -> Result<Vec<i64>> {
        let ints = self
            .double()
            .data
            .iter()
            .map(|&v| (v.fract() == 0.0).then_some(v as i64))
            .collect();
        ints_or_refusal(ints, &self.name)
    }

    /// The constant of a `TensorProto`.
    pub(super) fn read(proto: &TensorProto, external: &mut External) -> Result<Self> {
        let name = proto.name();
        let place = || format!("tensor `{}`", crate::description::short(name));
        Self::decode(proto, external).map_err(|e| e.at(place))
    }

    fn decode(proto: &TensorProto, external: &mut External) -> Result<Self> {
        let name = proto.name();
        let kind = Kind::of(proto.data_type())?;
        let shape = shape(&proto.dims)?;
        let count = shape.elements()?;
        let width = width(proto.data_type());
        let bytes = count.checked_mul(width).ok_or_else(|| {
            Refusal::new(format!(
                "has the shape {shape}, whose size overflows; export the model again"
            ))
        })?;
        let outside;
        let raw = if proto.data_location() == 1 {
            outside = external.read(proto, bytes)?;
            Some(&outside[..])
        } else {
            proto.raw_data.as_deref()
        };
        let claims = |found: usize, unit: &str| {
            Refusal::new(format!(
                "has the shape {shape} and holds {found} {unit}; export or download the model again"
            ))
        };
        if let Some(raw) = raw {
            if raw.len() != bytes {
                return Err(claims(raw.len(), "bytes"));
            }
            if proto.data_type() == 1 {
                let mut tensor = Tensor::zeros(shape)?;
                for (to, b) in tensor.data_mut().iter_mut().zip(raw.chunks_exact(4)) {
                    *to = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                }
                return Ok(Self::weights(name, Arc::new(tensor)));
            }
            let data = raw
                .chunks_exact(width)
                .map(|b| element(proto.data_type(), b))
                .collect();
            return Ok(Self::new(name, kind, RefTensor::new(shape, data)));
        }
        let found = match proto.data_type() {
            1 => proto.float_data.len(),
            11 => proto.double_data.len(),
            7 => proto.int64_data.len(),
            12 | 13 => proto.uint64_data.len(),
            _ => proto.int32_data.len(),
        };
        if found != count {
            return Err(claims(found, "elements"));
        }
        if proto.data_type() == 1 {
            let tensor = Tensor::from_slice(shape, &proto.float_data)?;
            return Ok(Self::weights(name, Arc::new(tensor)));
        }
        let data: Vec<f64> = match proto.data_type() {
            11 => proto.double_data.clone(),
            7 => proto.int64_data.iter().map(|&v| v as f64).collect(),
            12 | 13 => proto.uint64_data.iter().map(|&v| v as f64).collect(),
            10 => halves(&proto.int32_data, |v| half::f16::from_bits(v).to_f64()),
            16 => halves(&proto.int32_data, |v| half::bf16::from_bits(v).to_f64()),
            _ => proto.int32_data.iter().map(|&v| f64::from(v)).collect(),
        };
        Ok(Self::new(name, kind, RefTensor::new(shape, data)))
    }
}

fn halves(bits: &[i32], value: impl Fn(u16) -> f64) -> Vec<f64> {
    bits.iter().map(|&v| value(v as u16)).collect()
}

fn ints_or_refusal(ints: Option<Vec<i64>>, name: &str) -> Result<Vec<i64>> {
    ints.ok_or_else(|| Refusal::new(format!("`{name}` must hold whole numbers")))
}

/// The extents of a tensor of a file.
pub(super) fn shape(dims: &[i64]) -> Result<Shape> {
    let wrong = || {
        Refusal::new(format!(
            "has the shape {:?}...; at most {MAX_RANK} axes with extents of 0 or more are possible",
            &dims[..dims.len().min(MAX_RANK)]
        ))
    };
    if dims.len() > MAX_RANK {
        return Err(wrong());
    }
    let dims: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    Ok(Shape::from(dims.ok_or_else(wrong)?))
}

/// The bytes of an element of a type that [`Kind::of`] accepts.
fn width(data_type: i32) -> usize {
    match data_type {
        2 | 3 | 9 => 1,
        4 | 5 | 10 | 16 => 2,
        7 | 11 | 13 => 8,
        _ => 4,
    }
}

/// A little-endian element; `bytes` has the type's width.
fn element(data_type: i32, bytes: &[u8]) -> f64 {
    let mut wide = [0u8; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(wide);
    match data_type {
        2 | 4 | 12 | 13 => bits as f64,
        3 => f64::from(bits as i8),
        5 => f64::from(bits as i16),
        6 => f64::from(bits as i32),
        7 => bits as i64 as f64,
        9 => f64::from(u8::from(bits != 0)),
        10 => half::f16::from_bits(bits as u16).to_f64(),
        11 => f64::from_bits(bits),
        16 => half::bf16::from_bits(bits as u16).to_f64(),
        _ => f64::from(f32::from_bits(bits as u32)),
    }
}
