//! Why an import stops, before it is known where.

use crate::ModelError;
use limpid_graph::{GraphError, OpError};
use limpid_tensor::TensorError;

/// A result whose error is still without its place.
pub(super) type Result<T> = std::result::Result<T, Refusal>;

/// What is wrong, and at which node once that is known.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    place: Option<String>,
    reason: String,
    /// A limit was passed, so that nothing after this is looked at.
    pub(super) fatal: bool,
}

impl Refusal {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            place: None,
            reason: reason.into(),
            fatal: false,
        }
    }

    pub(super) fn fatal(reason: impl Into<String>) -> Self {
        Self {
            fatal: true,
            ..Self::new(reason)
        }
    }

    /// The same at `place`, where it has none yet.
    pub(super) fn at(mut self, place: impl FnOnce() -> String) -> Self {
        self.place.get_or_insert_with(place);
        self
    }

    pub(super) fn in_file(self, file: &str) -> ModelError {
        ModelError::Onnx {
            file: file.to_owned(),
            reason: self.to_string(),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl From<GraphError> for Refusal {
    fn from(e: GraphError) -> Self {
        match e {
            GraphError::Op { op, source, .. } => Self::new(format!("{op} {source}")),
            e => Self::new(e.to_string()),
        }
    }
}

impl From<OpError> for Refusal {
    fn from(e: OpError) -> Self {
        Self::new(e.to_string())
    }
}

impl From<TensorError> for Refusal {
    fn from(e: TensorError) -> Self {
        Self::new(e.to_string())
    }
}
