//! Shapes, element types, aligned buffers, host tensors and counter-based
//! random numbers: the vocabulary that every other crate of Limpid speaks.
//!
//! ```
//! use limpid_tensor::Tensor;
//! let t = Tensor::new([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
//! assert_eq!(t.dims(), [2, 3]);
//! # Ok::<(), limpid_tensor::TensorError>(())
//! ```
#![forbid(unsafe_code)]

mod buffer;
mod dtype;
mod error;
pub mod philox;
mod shape;
mod tensor;

pub use buffer::AlignedBuffer;
pub use dtype::DType;
pub use error::TensorError;
pub use shape::Shape;
pub use tensor::Tensor;
