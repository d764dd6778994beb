use limpid_tensor::{DType, Shape, TensorError};

/// Why an operator refuses its inputs or attributes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// A wrong number of inputs.
    #[error("takes {expected} inputs, {found} were given")]
    InputCount {
        /// The numbers that the operator takes, in words.
        expected: &'static str,
        /// The number given.
        found: usize,
    },
    /// An input's shape does not fit.
    #[error("input {input} must be {expected}, its shape is {found}")]
    Shape {
        /// The input's position.
        input: usize,
        /// What was expected.
        expected: String,
        /// The shape found.
        found: Shape,
    },
    /// An input's element type does not fit.
    #[error("input {input} must be of type {expected}, it is {found}")]
    DType {
        /// The input's position.
        input: usize,
        /// The type expected.
        expected: DType,
        /// The type found.
        found: DType,
    },
    /// An attribute is out of range.
    #[error("attribute `{name}` must be {expected}")]
    Attribute {
        /// The attribute.
        name: &'static str,
        /// What is allowed.
        expected: &'static str,
    },
    /// An input or output has no element.
    #[error("takes and makes no empty value, one has shape {0}")]
    Empty(Shape),
    /// The gradient with respect to an input does not exist or is not built.
    #[error("has no gradient with respect to input {input}")]
    NoGradient {
        /// The input's position.
        input: usize,
    },
    /// A rule other than the derivative says nothing of the operator.
    #[error("has no rule in {rule}; choose a gradient method for this network")]
    NoRule {
        /// The rule that was asked for.
        rule: &'static str,
    },
    /// The operator is written with others before anything runs or is differentiated.
    #[error("is written with simpler operators first; run the pass `lower`")]
    NotLowered,
    /// A gradient read a value that the operator did not declare as its residual.
    #[error("reads {what} in its gradient without declaring it as a residual")]
    UndeclaredResidual {
        /// What was read.
        what: &'static str,
    },
    /// A size overflows or memory is short.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// What can go wrong with a graph.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A node's operator refuses it.
    #[error("node `{node}` ({op}) {source}")]
    Op {
        /// The node's name.
        node: String,
        /// The operator's name.
        op: &'static str,
        /// The operator's complaint.
        source: OpError,
    },
    /// A run was given inputs that do not fit the graph's.
    #[error("the graph's input `{name}` is {expected}, {found} was given")]
    Input {
        /// The input's name.
        name: String,
        /// Type and shape of the input.
        expected: String,
        /// Shape of what was given, or "nothing".
        found: String,
    },
    /// No path leads from the value to the output, so its gradient is zero by structure.
    #[error(
        "no gradient reaches layer `{layer}` from `{output}`: choose a layer on the way to the output"
    )]
    NoPath {
        /// The value asked for.
        layer: String,
        /// The output.
        output: String,
    },
    /// A rule about rectifiers for a network without any.
    #[error(
        "no rectifier (ReLU, ReLU6) lies on the way to `{output}`, and {rule} is defined by them alone: choose another method for networks of smooth activations such as GELU or SiLU"
    )]
    NoRectifier {
        /// The rule that was asked for.
        rule: &'static str,
        /// The output.
        output: String,
    },
    /// A rule that compares with a baseline was given none.
    #[error("deeplift compares with a baseline, and none was given")]
    NoBaseline,
    /// A number of a rule is out of range.
    #[error("the rule's `{name}` must be {expected}")]
    Option {
        /// The number's name.
        name: &'static str,
        /// What is allowed.
        expected: &'static str,
    },
    /// There is no layer of this name.
    #[error("there is no layer `{name}`{}", suggest(.similar))]
    UnknownLayer {
        /// The name asked for.
        name: String,
        /// The most similar names that exist.
        similar: Vec<String>,
    },
    /// An output of a plan is no node's own.
    #[error("the output `{name}` is {reason}; a plan's outputs are made by nodes, each once")]
    Output {
        /// The value's name.
        name: String,
        /// What it is instead.
        reason: &'static str,
    },
    /// The memory that a plan needs overflows.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

fn suggest(similar: &[String]) -> String {
    if similar.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = similar.iter().map(|s| format!("`{s}`")).collect();
    format!("; similar names are {}", quoted.join(", "))
}
