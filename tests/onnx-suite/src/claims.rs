//! What is claimed, and what of it is known not to be supported.

use crate::Case;
use serde::Deserialize;

/// The operators that image networks are made of: all of them are read. What
/// the importer reads besides is held to its tests too.
pub const CLAIMED: &[&str] = &[
    "Abs",
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "CastLike",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvTranspose",
    "Cos",
    "DepthToSpace",
    "Div",
    "Dropout",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Gather",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "LRN",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpPool",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mish",
    "Mul",
    "Neg",
    "PRelu",
    "Pad",
    "Pow",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Resize",
    "Selu",
    "Shape",
    "Sigmoid",
    "Sin",
    "Slice",
    "Softmax",
    "Softplus",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Swish",
    "Tanh",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Upsample",
    "Where",
];

/// Inputs that an exporter gives as constants: parameters of layers, and
/// numbers that decide about shapes. They are bound before the import.
const PARAMETERS: &[&str] = &[
    "BatchNormalization 1",
    "BatchNormalization 2",
    "BatchNormalization 3",
    "BatchNormalization 4",
    "Conv 1",
    "Conv 2",
    "ConvTranspose 1",
    "ConvTranspose 2",
    "Dropout 1",
    "Gemm 1",
    "Gemm 2",
    "GroupNormalization 1",
    "GroupNormalization 2",
    "InstanceNormalization 1",
    "InstanceNormalization 2",
    "LayerNormalization 1",
    "LayerNormalization 2",
    "Pad 2",
    "RMSNormalization 1",
    "Range 0",
    "Range 1",
    "Range 2",
    "Resize 1",
    "Resize 2",
    "Upsample 1",
];

/// Whether an input is bound as a constant: everything that is no float, and
/// parameters.
#[must_use]
pub fn is_bound(input: &crate::Value) -> bool {
    let parameter = |r: &String| PARAMETERS.contains(&r.as_str());
    !input.is_float() || input.readers.iter().any(parameter)
}

/// Why a case is not run at all: it has other element types than floats, whole
/// numbers and truths, or no floats, or operators that are not read.
#[must_use]
pub fn not_claimed(case: &Case) -> Option<String> {
    let unread = |op: &&String| !limpid_model::onnx::operators().any(|known| known == **op);
    let unread: Vec<&str> = case
        .operators
        .iter()
        .filter(unread)
        .map(|op| &**op)
        .collect();
    if !unread.is_empty() {
        return Some(format!("the operator {}", unread.join(", ")));
    }
    if case.model.is_some() {
        return None;
    }
    let mut types: Vec<&str> = case
        .inputs
        .iter()
        .chain(&case.outputs)
        .map(|v| &*v.r#type)
        .collect();
    types.sort_unstable();
    types.dedup();
    Some(format!("the element types {}", types.join(", ")))
}

/// Cases of claimed operators that are known not to be supported.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsupported {
    /// Names of cases; `*` stands for anything.
    pub cases: Vec<String>,
    /// Why.
    pub reason: String,
}

/// Why a list cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ListError {
    /// It is not TOML or has other keys.
    #[error("the list of unsupported cases does not parse: {0}")]
    Syntax(#[from] toml::de::Error),
    /// An entry says no reason.
    #[error("the unsupported cases {0} have no reason; say why they are not supported")]
    NoReason(String),
}

/// Reads a list of unsupported cases.
///
/// ```
/// use limpid_onnx_suite::parse;
/// let list = parse("[[unsupported]]\ncases = ['conv_3d*']\nreason = 'three dimensions'").unwrap();
/// assert!(list[0].matches("conv_3d_pads").is_some());
/// assert!(list[0].matches("conv_2d").is_none());
/// assert!(parse("[[unsupported]]\ncases = ['a']\nreason = ''").is_err());
/// ```
///
/// # Errors
/// When it is not TOML of this form, or an entry has no reason.
pub fn parse(text: &str) -> Result<Vec<Unsupported>, ListError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        #[serde(default)]
        unsupported: Vec<Unsupported>,
    }
    let list: List = toml::from_str(text)?;
    match list.unsupported.iter().find(|u| u.reason.trim().is_empty()) {
        Some(u) => Err(ListError::NoReason(u.cases.join(", "))),
        None => Ok(list.unsupported),
    }
}

/// The list that is kept with the suite.
///
/// # Errors
/// When it is damaged.
pub fn committed() -> Result<Vec<Unsupported>, ListError> {
    parse(include_str!("../unsupported.toml"))
}

impl Unsupported {
    /// The pattern that a case's name has, if any.
    #[must_use]
    pub fn matches(&self, name: &str) -> Option<&str> {
        let fits = |p: &&String| glob(p, name);
        self.cases.iter().find(fits).map(|p| &**p)
    }
}

fn glob(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    name.strip_prefix(head)
        .is_some_and(|n| (0..=n.len()).any(|i| n.is_char_boundary(i) && glob(rest, &n[i..])))
}
