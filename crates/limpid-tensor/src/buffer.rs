use crate::TensorError;
use bytemuck::{Pod, Zeroable};

/// A cache line; a vector of these is aligned as the widest SIMD load wants.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Bytes on a 64-byte boundary, zero at first, whose allocation may fail
/// without ending the process.
#[derive(Clone)]
pub struct AlignedBuffer {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBuffer {
    /// The alignment of the first byte.
    pub const ALIGNMENT: usize = 64;

    /// A zeroed buffer of `len` bytes.
    ///
    /// # Errors
    /// [`TensorError::OutOfMemory`] when the system has no such memory.
    pub fn zeroed(len: usize) -> Result<Self, TensorError> {
        let lines = bytemuck::allocation::try_zeroed_vec(len.div_ceil(64))
            .map_err(|()| TensorError::OutOfMemory { bytes: len })?;
        Ok(Self { lines, len })
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    /// The bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }

    /// The buffer as elements of `T`; a tail shorter than one is left out.
    #[must_use]
    pub fn as_slice<T: Pod>(&self) -> &[T] {
        let whole = self.len / size_of::<T>() * size_of::<T>();
        bytemuck::cast_slice(&self.bytes()[..whole])
    }

    /// The buffer as elements of `T`, to write.
    pub fn as_mut_slice<T: Pod>(&mut self) -> &mut [T] {
        let whole = self.len / size_of::<T>() * size_of::<T>();
        bytemuck::cast_slice_mut(&mut self.bytes_mut()[..whole])
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_and_zeroed() {
        for len in [0, 1, 63, 64, 65, 1000] {
            let b = AlignedBuffer::zeroed(len).unwrap();
            assert_eq!(b.bytes().as_ptr() as usize % AlignedBuffer::ALIGNMENT, 0);
            assert_eq!(b.bytes(), vec![0; len]);
        }
    }

    #[test]
    fn refused_memory_is_an_error() {
        let bytes = isize::MAX as usize - 63;
        assert!(matches!(
            AlignedBuffer::zeroed(bytes),
            Err(TensorError::OutOfMemory { .. })
        ));
    }
}
