use limpid_explain::ExplainError;
use limpid_plugin_abi as abi;

/// A service of the host that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// One of the interface's `LIMPID_...` constants.
    pub status: abi::limpid_status,
    /// The host's sentence.
    pub message: String,
}

impl HostError {
    pub(crate) fn missing(service: &str) -> ExplainError {
        ExplainError::Run(Box::new(Self {
            status: abi::LIMPID_UNSUPPORTED,
            message: format!("this version of Limpid has no service `{service}` for plugins"),
        }))
    }
}

/// A panic in a function that the host calls back.
#[derive(Debug, thiserror::Error)]
#[error("in a callback: {0}")]
pub(crate) struct Panicked(pub(crate) String);

/// The status that tells the host of an error.
pub(crate) fn status_of(error: &ExplainError) -> abi::limpid_status {
    match error {
        ExplainError::Cancelled => abi::LIMPID_CANCELLED,
        ExplainError::Run(inner) if inner.is::<Panicked>() => abi::LIMPID_PANIC,
        ExplainError::Run(inner) => inner
            .downcast_ref::<HostError>()
            .map_or(abi::LIMPID_FAILED, |e| e.status),
        ExplainError::Tensor(_) => abi::LIMPID_OUT_OF_MEMORY,
        ExplainError::Parameter { .. }
        | ExplainError::Conflict { .. }
        | ExplainError::UnknownMethod { .. }
        | ExplainError::Foreign
        | ExplainError::Shape { .. } => abi::LIMPID_INVALID,
        _ => abi::LIMPID_FAILED,
    }
}
