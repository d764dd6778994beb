use crate::TensorError;
use bytemuck::Pod;

/// Bytes on a 64-byte boundary, zero at first, whose allocation may fail
/// without ending the process.
pub struct AlignedBuffer {
    /// The bytes with room for the boundary. A vector of wider elements would
    /// come from another of the allocator's entrances, where pages are cleared
    /// one by one and a block that was freed does not serve for its like.
    words: Vec<u64>,
    /// The word at the boundary.
    first: usize,
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
        let room = Self::ALIGNMENT / size_of::<u64>() - 1;
        let words = bytemuck::allocation::try_zeroed_vec(len.div_ceil(size_of::<u64>()) + room)
            .map_err(|()| TensorError::OutOfMemory { bytes: len })?;
        Ok(Self::of(words, len))
    }

    fn of(words: Vec<u64>, len: usize) -> Self {
        let first = words.as_ptr().align_offset(Self::ALIGNMENT);
        Self { words, first, len }
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
        &bytemuck::cast_slice(&self.words[self.first..])[..self.len]
    }

    /// The bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words[self.first..])[..self.len]
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

impl Clone for AlignedBuffer {
    fn clone(&self) -> Self {
        let mut copy = Self::of(vec![0; self.words.len()], self.len);
        copy.bytes_mut().copy_from_slice(self.bytes());
        copy
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
            for b in [&b, &b.clone()] {
                assert_eq!(b.bytes().as_ptr() as usize % AlignedBuffer::ALIGNMENT, 0);
                assert_eq!(b.bytes(), vec![0; len]);
            }
        }
    }

    #[test]
    fn a_copy_has_the_same_bytes() {
        let mut b = AlignedBuffer::zeroed(100).unwrap();
        b.bytes_mut().iter_mut().zip(0..).for_each(|(b, i)| *b = i);
        assert_eq!(b.bytes(), b.clone().bytes());
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
