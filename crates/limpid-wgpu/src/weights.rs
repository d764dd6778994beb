//! What kernels read and nobody writes: packed weights and tables of geometry.
//! Equal ones are on the device once, for as long as an executable uses them.

use crate::gather::Gather;
use crate::gpu::{Gpu, lock};
use crate::kernels::{heat_kernel, winograd};
use crate::layout::Stored;
use limpid_device::DeviceError;
use limpid_graph::Constant;
use limpid_tensor::TensorError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

/// What a buffer is filled with.
#[derive(Clone)]
pub(crate) enum Weights {
    /// Words.
    Table(Arc<Vec<u32>>),
    /// A constant in another order, each number times the factor of its line:
    /// `factor` has one for each `line` numbers of the source.
    Packed {
        constant: Constant,
        gather: Arc<Gather>,
        factor: Option<(Constant, usize)>,
        form: Form,
    },
    /// A constant as it is.
    Plain(Constant),
    /// The cosine basis of so many points, for either direction.
    Basis { points: usize, inverse: bool },
}

/// What packed numbers become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// Numbers of this type.
    Plain(Stored),
    /// Windows of 3 x 3, one after the other, evaluated at Winograd's points:
    /// `[point, window]`. A flipped window is read from its end.
    Winograd { flipped: bool },
}

impl Default for Form {
    fn default() -> Self {
        Self::Plain(Stored::F32)
    }
}

impl Weights {
    pub(crate) fn table(words: Vec<u32>) -> Self {
        Self::Table(Arc::new(words))
    }

    fn key(&self) -> Key {
        match self {
            Self::Table(words) => Key::Table(Arc::clone(words)),
            Self::Plain(constant) => Key::Plain(constant.address()),
            Self::Basis { points, inverse } => Key::Basis(*points, *inverse),
            Self::Packed {
                constant,
                gather,
                factor,
                form,
            } => Key::Packed(
                constant.address(),
                Arc::clone(gather),
                factor.as_ref().map(|(f, line)| (f.address(), *line)),
                *form,
            ),
        }
    }

    /// What must live for the key to mean the same.
    fn sources(&self) -> Vec<Constant> {
        match self {
            Self::Table(_) | Self::Basis { .. } => Vec::new(),
            Self::Plain(c) => vec![c.clone()],
            Self::Packed {
                constant, factor, ..
            } => {
                let factor = factor.iter().map(|(f, _)| f.clone());
                std::iter::once(constant.clone()).chain(factor).collect()
            }
        }
    }

    /// The bytes of the buffer.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, TensorError> {
        let of = |values: &[f32]| bytemuck::cast_slice(values).to_vec();
        Ok(match self {
            Self::Table(words) => bytemuck::cast_slice(words).to_vec(),
            Self::Plain(constant) => of(constant.load()?.data()),
            Self::Basis { points, inverse } => of(&heat_kernel::basis(*points, *inverse)),
            Self::Packed {
                constant,
                gather,
                factor,
                form,
            } => {
                let source = constant.load()?;
                let packed = match factor {
                    None => gather.apply(source.data()),
                    Some((factor, line)) => {
                        let factor = factor.load()?;
                        let lines = source.data().chunks(*line).zip(factor.data());
                        let scaled = lines.flat_map(|(l, f)| l.iter().map(move |v| v * f));
                        gather.apply(&scaled.collect::<Vec<_>>())
                    }
                };
                match form {
                    Form::Plain(Stored::F32) => of(&packed),
                    Form::Winograd { flipped } => of(&winograd::weights(&packed, *flipped)),
                    Form::Plain(Stored::F16) => {
                        let half = packed.iter().map(|v| half::f16::from_f32(*v));
                        bytemuck::cast_slice(&half.collect::<Vec<_>>()).to_vec()
                    }
                }
            }
        })
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Table(Arc<Vec<u32>>),
    Plain(usize),
    Basis(usize, bool),
    Packed(usize, Arc<Gather>, Option<(usize, usize)>, Form),
}

/// Weights on the device; keeps what tells them apart alive.
pub(crate) struct Resident {
    pub(crate) buffer: wgpu::Buffer,
    _sources: Vec<Constant>,
}

/// The weights that executables use now.
#[derive(Default)]
pub(crate) struct WeightCache(Mutex<HashMap<Key, Weak<Resident>>>);

impl WeightCache {
    /// The weights' buffer, filled unless it is there.
    ///
    /// # Errors
    /// When memory is short, or a constant cannot be read.
    pub(crate) fn get(&self, gpu: &Gpu, weights: &Weights) -> Result<Arc<Resident>, DeviceError> {
        let key = weights.key();
        if let Some(there) = lock(&self.0).get(&key).and_then(Weak::upgrade) {
            return Ok(there);
        }
        let bytes = weights.bytes()?;
        let resident = Arc::new(Resident {
            buffer: gpu.filled("weights", wgpu::BufferUsages::STORAGE, &bytes)?,
            _sources: weights.sources(),
        });
        let mut all = lock(&self.0);
        all.retain(|_, r| r.strong_count() > 0);
        all.insert(key, Arc::downgrade(&resident));
        Ok(resident)
    }
}
