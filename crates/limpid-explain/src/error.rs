use crate::InputError;
use limpid_graph::GraphError;
use limpid_tensor::TensorError;

/// What can go wrong in an explanation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// There is no method of this id.
    #[error("there is no method `{id}`; there are {known}")]
    UnknownMethod {
        /// The id asked for.
        id: String,
        /// The ids that exist.
        known: String,
    },
    /// There is no metric of this id.
    #[error("there is no metric `{id}`; there are {known}")]
    UnknownMetric {
        /// The id asked for.
        id: String,
        /// The ids that exist.
        known: String,
    },
    /// A parameter's value is wrong.
    #[error("parameter `{name}` of {method} must be {expected}, not `{found}`")]
    Parameter {
        /// The method.
        method: String,
        /// The parameter.
        name: String,
        /// What it may be.
        expected: String,
        /// What was given.
        found: String,
    },
    /// Two parameters exclude each other.
    #[error("{method}: {message}")]
    Conflict {
        /// The method.
        method: String,
        /// What excludes what, and what to do.
        message: String,
    },
    /// The model has no layer that a class activation map can use by default.
    #[error("{method}: the model has no layer that is a map of the picture")]
    NoCamLayer {
        /// The method.
        method: String,
    },
    /// The layer has no spatial extent.
    #[error("layer `{layer}` has shape {shape}, which is no map of the picture")]
    NotSpatial {
        /// The layer.
        layer: String,
        /// Its shape without the batch.
        shape: String,
    },
    /// Only tokens that are no cell of the grid have a gradient.
    #[error(
        "the scores depend on layer `{layer}` through its class token alone: the gradient at the picture's tokens is zero by structure; choose an earlier layer, such as the norm before the last attention"
    )]
    OtherTokens {
        /// The layer.
        layer: String,
    },
    /// The network has no attention that a method could read.
    #[error("{0}")]
    NoAttention(String),
    /// A result is infinite or not a number.
    #[error("{what} is not finite: the model overflows on this input")]
    NonFinite {
        /// What was computed.
        what: String,
    },
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A baseline picture could not be used.
    #[error("baseline {path}: {reason}")]
    Baseline {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A tensor was made by another context.
    #[error("a tensor of another run was used: tensors belong to the run that made them")]
    Foreign,
    /// A tensor's shape does not fit.
    #[error("{what} must be of shape {expected}, not {found}")]
    Shape {
        /// What it is.
        what: String,
        /// The shape that it should have.
        expected: String,
        /// The shape that it has.
        found: String,
    },
    /// A plugin failed or broke the rules of its interface.
    #[error("plugin {plugin}: {message}")]
    Plugin {
        /// The plugin's id.
        plugin: String,
        /// What happened.
        message: String,
    },
    /// A plugin refused its parameters.
    #[error("{message}")]
    Refused {
        /// The method.
        method: String,
        /// The plugin's words.
        message: String,
    },
    /// A graph could not be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// An algorithm refused its input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Memory is short.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The device or session failed.
    #[error(transparent)]
    Run(Box<dyn std::error::Error + Send + Sync>),
}
