use limpid_tensor::TensorError;

/// Why an algorithm refused its input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A size or value is not what it must be.
    #[error("{what} must be {expected}, not {found}")]
    Invalid {
        /// The argument.
        what: &'static str,
        /// What it may be.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A value is infinite or not a number.
    #[error("{what} is not finite at element {index}")]
    NonFinite {
        /// The argument.
        what: &'static str,
        /// The element, in C order.
        index: usize,
    },
    /// Every pixel is to be filled in.
    #[error("every pixel is removed, so there is nothing to fill them from: keep at least one")]
    NothingKept,
    /// A system of linear equations has no unique solution.
    #[error(
        "the regression has no unique solution: give it more samples than unknowns, or a penalty above zero"
    )]
    Singular,
    /// An iteration ended before its tolerance was met.
    #[error("{what} did not converge within {iterations} iterations")]
    NotConverged {
        /// The algorithm.
        what: &'static str,
        /// How long it tried.
        iterations: usize,
    },
    /// A picture on which an information curve has no meaning.
    #[error("no information curve for this picture: {reason}; leave it out")]
    NoCurve {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Memory is short.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl InputError {
    pub(crate) fn invalid(
        what: &'static str,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self::Invalid {
            what,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// That `values` are finite.
    pub(crate) fn check_finite<T: Copy + Into<f64>>(
        what: &'static str,
        values: &[T],
    ) -> Result<(), Self> {
        match values.iter().position(|v| !(*v).into().is_finite()) {
            Some(index) => Err(Self::NonFinite { what, index }),
            None => Ok(()),
        }
    }

    /// That there are `expected` elements.
    pub(crate) fn check_length(
        what: &'static str,
        expected: usize,
        found: usize,
    ) -> Result<(), Self> {
        if expected == found {
            return Ok(());
        }
        let expected = format!("{expected} elements long");
        Err(Self::invalid(what, expected, found))
    }

    /// The sizes of a picture `[C, H, W]`.
    pub(crate) fn picture(dims: &[usize]) -> Result<[usize; 3], Self> {
        <[usize; 3]>::try_from(dims)
            .map_err(|_| Self::invalid("the picture", "of shape [C, H, W]", format!("{dims:?}")))
    }
}
