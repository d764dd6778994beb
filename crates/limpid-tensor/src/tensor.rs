use crate::{AlignedBuffer, Shape, TensorError};

/// A host tensor of 32-bit floats in C order, on a 64-byte boundary.
#[derive(Clone)]
pub struct Tensor {
    shape: Shape,
    data: AlignedBuffer,
}

impl Tensor {
    /// A tensor of `shape` with the elements `data` in C order.
    ///
    /// # Errors
    /// When the length does not fit the shape, or memory is short.
    pub fn new(shape: impl Into<Shape>, data: Vec<f32>) -> Result<Self, TensorError> {
        Self::from_slice(shape, &data)
    }

    /// A tensor of `shape` with a copy of `data` in C order.
    ///
    /// # Errors
    /// When the length does not fit the shape, or memory is short.
    pub fn from_slice(shape: impl Into<Shape>, data: &[f32]) -> Result<Self, TensorError> {
        let shape = shape.into();
        let expected = shape.elements()?;
        if expected != data.len() {
            return Err(TensorError::Length {
                shape,
                expected,
                found: data.len(),
            });
        }
        let mut t = Self::zeros(shape)?;
        t.data_mut().copy_from_slice(data);
        Ok(t)
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// When the size overflows or memory is short.
    pub fn zeros(shape: impl Into<Shape>) -> Result<Self, TensorError> {
        let shape = shape.into();
        let bytes = shape
            .elements()?
            .checked_mul(size_of::<f32>())
            .ok_or_else(|| TensorError::Overflow(shape.clone()))?;
        let data = AlignedBuffer::zeroed(bytes)?;
        Ok(Self { shape, data })
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The extents, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// The elements in C order.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        self.data.as_slice()
    }

    /// The elements in C order, to write.
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.data.as_mut_slice()
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// When the element counts differ.
    pub fn reshape(self, shape: impl Into<Shape>) -> Result<Self, TensorError> {
        let shape = shape.into();
        let (expected, found) = (shape.elements()?, self.data().len());
        if expected != found {
            return Err(TensorError::Length {
                shape,
                expected,
                found,
            });
        }
        Ok(Self {
            shape,
            data: self.data,
        })
    }

    /// Whether every element is finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        // Whole chunks at once, as vectors compare.
        let all = |chunk: &[f32]| chunk.iter().fold(true, |all, v| all & v.is_finite());
        self.data().chunks(256).all(all)
    }
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.data() == other.data()
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor{}", self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_length_is_an_error() {
        let e = Tensor::new([2, 2], vec![0.0; 3]).unwrap_err();
        assert_eq!(
            e.to_string(),
            "a tensor of shape [2, 2] needs 4 elements, 3 were given"
        );
    }
}
