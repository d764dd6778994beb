use limpid_tensor::{Shape, Tensor, TensorError};
use std::borrow::Cow;
use std::sync::{Arc, Weak};

/// What the numbers of a constant come from. A tensor in memory is one; a file
/// that is read again whenever somebody asks is another.
pub trait TensorSource: Send + Sync + 'static {
    /// The extents.
    fn shape(&self) -> &Shape;

    /// The tensor, where it is in memory.
    fn held(&self) -> Option<&Tensor> {
        None
    }

    /// Writes the numbers to `to`, which has room for as many as there are: the
    /// same ones at every call.
    ///
    /// # Errors
    /// [`TensorError::Unreadable`] when there is no getting at them any more.
    fn read(&self, to: &mut [f32]) -> Result<(), TensorError>;

    /// The numbers in a tensor of their own, read now.
    ///
    /// # Errors
    /// As [`read`](Self::read), or when memory is short.
    fn load(&self) -> Result<Tensor, TensorError> {
        let mut tensor = Tensor::zeros(self.shape())?;
        self.read(tensor.data_mut())?;
        Ok(tensor)
    }
}

impl TensorSource for Tensor {
    fn shape(&self) -> &Shape {
        Tensor::shape(self)
    }

    fn held(&self) -> Option<&Tensor> {
        Some(self)
    }

    fn read(&self, to: &mut [f32]) -> Result<(), TensorError> {
        to.copy_from_slice(self.data());
        Ok(())
    }
}

/// A constant of a graph. It costs little to copy, and copies are the same
/// constant. Its numbers need not be in memory: who wants them loads them, and
/// lets them go when they have been put into another form.
#[derive(Clone)]
pub struct Constant(Arc<dyn TensorSource>);

impl Constant {
    /// So many numbers are better kept than read again.
    pub const SMALL: usize = 4096;

    /// The extents.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        self.0.shape()
    }

    /// How many numbers it has.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape().iter().map(|d| *d as u64).product()
    }

    /// The tensor, where it is in memory.
    #[must_use]
    pub fn held(&self) -> Option<&Tensor> {
        self.0.held()
    }

    /// The tensor, read now where it is not in memory.
    ///
    /// # Errors
    /// [`TensorError::Unreadable`] when it cannot be read any more, or when memory
    /// is short.
    pub fn load(&self) -> Result<Cow<'_, Tensor>, TensorError> {
        match self.held() {
            Some(tensor) => Ok(Cow::Borrowed(tensor)),
            None => self.0.load().map(Cow::Owned),
        }
    }

    /// Writes the numbers to `to`, which has room for as many as there are.
    ///
    /// # Errors
    /// [`TensorError::Unreadable`] when they cannot be read any more.
    pub fn read(&self, to: &mut [f32]) -> Result<(), TensorError> {
        self.0.read(to)
    }

    /// The number of a constant that is one number, in memory.
    #[must_use]
    pub fn number(&self) -> Option<f32> {
        match self.held()?.data() {
            [x] => Some(*x),
            _ => None,
        }
    }

    /// What tells constants apart: the address of a constant that is in use.
    #[must_use]
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// A handle that keeps the address, and not the numbers, from being given
    /// away.
    #[must_use]
    pub fn downgrade(&self) -> Weak<dyn TensorSource> {
        Arc::downgrade(&self.0)
    }
}

impl std::fmt::Debug for Constant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Constant{}", self.shape())
    }
}

impl From<Tensor> for Constant {
    fn from(tensor: Tensor) -> Self {
        Self::from(Arc::new(tensor))
    }
}

impl<S: TensorSource> From<Arc<S>> for Constant {
    fn from(source: Arc<S>) -> Self {
        Self(source)
    }
}

impl From<&Self> for Constant {
    fn from(constant: &Self) -> Self {
        constant.clone()
    }
}
