use crate::TensorError;
use std::fmt;
use std::ops::Deref;

/// The extents of a tensor, outermost first (C order). A scalar has none.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The extents.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// The number of elements.
    ///
    /// # Errors
    /// [`TensorError::Overflow`] when the product does not fit a `usize`.
    pub fn elements(&self) -> Result<usize, TensorError> {
        self.0
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d))
            .ok_or_else(|| TensorError::Overflow(self.clone()))
    }

    /// The shape of the result when tensors of shapes `self` and `other` meet
    /// in an elementwise operation (numpy's rule: right-aligned, 1 stretches).
    /// `None` when they do not fit.
    #[must_use]
    pub fn broadcast(&self, other: &Self) -> Option<Self> {
        let rank = self.len().max(other.len());
        let dim = |s: &Self, i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s.0[j]);
        (0..rank)
            .map(|i| match (dim(self, i), dim(other, i)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Self {
        Self(dims)
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Self(dims.to_vec())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self(dims.to_vec())
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_follows_numpy() {
        let s = |d: &[usize]| Shape::from(d);
        assert_eq!(s(&[4, 1, 3]).broadcast(&s(&[5, 1])), Some(s(&[4, 5, 3])));
        assert_eq!(s(&[]).broadcast(&s(&[2])), Some(s(&[2])));
        assert_eq!(s(&[2]).broadcast(&s(&[3])), None);
    }

    #[test]
    fn absurd_shapes_are_refused() {
        let shape = Shape::from([usize::MAX, 2]);
        assert!(matches!(shape.elements(), Err(TensorError::Overflow(_))));
    }
}
