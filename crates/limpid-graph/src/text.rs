//! Graphs as text, for those who do not share memory layouts.

use crate::{Fact, Graph, GraphError, Op, ValueId};
use limpid_tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The longest text that is read, in bytes.
pub const MAX_TEXT: usize = 1 << 24;

/// The most nodes of a graph that is read.
const MAX_NODES: usize = 1 << 14;

/// The most elements of an input.
const MAX_ELEMENTS: u64 = 1 << 36;

/// What is wrong with a graph's text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// It is no such document.
    #[error("the graph is no sound JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is too large.
    #[error("the graph has {found} {what}; at most {most} are read")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: usize,
        /// How much is read.
        most: usize,
    },
    /// An input is too large.
    #[error("input `{0}` of the graph has shape {1}, more than 2^36 elements")]
    Huge(String, String),
    /// An input has no shape, and none is known.
    #[error("input `{0}` of the graph has no shape")]
    NoShape(String),
    /// A name stands for nothing, or for two things.
    #[error("the graph {problem} `{name}`")]
    Name {
        /// What is wrong.
        problem: &'static str,
        /// The name.
        name: String,
    },
    /// A constant holds what JSON cannot say.
    #[error("constant `{0}` of the graph is not finite")]
    NotFinite(String),
    /// An operator refuses its inputs, or there is none of the name.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphText {
    inputs: Vec<InputText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    constants: Vec<ConstantText>,
    #[serde(default)]
    nodes: Vec<NodeText>,
    outputs: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputText {
    name: String,
    #[serde(default)]
    shape: Option<Vec<Extent>>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Extent {
    Fixed(usize),
    /// `"N"`: the batch.
    Batch(Batch),
}

#[derive(Serialize, Deserialize)]
enum Batch {
    N,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConstantText {
    name: String,
    shape: Vec<usize>,
    /// As doubles, which hold every float exactly.
    values: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeText {
    #[serde(default)]
    name: String,
    op: String,
    #[serde(default)]
    attrs: Map<String, Value>,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

/// A graph of f32 inputs as JSON, with these inputs and outputs in this order.
/// Constants are written out.
///
/// # Errors
/// When a constant cannot be read or is not finite, or the text would be longer
/// than [`MAX_TEXT`].
///
/// ```
/// use limpid_graph::{Fact, Graph, ops::Clip, text};
/// let mut graph = Graph::new();
/// let x = graph.input("x", Fact::f32([1, 3]));
/// let y = graph.push("relu", Clip::relu(), &[x])?;
/// let written = text::write(&graph, &[x], &y)?;
/// let read = text::read(&written, 1, |_, _| None)?;
/// assert_eq!(read.nodes()[0].op, graph.nodes()[0].op);
/// // Inputs without a shape get it from whoever binds them.
/// let double = r#"{"inputs": [{"name": "x"}], "outputs": ["y"],
///                  "nodes": [{"op": "Add", "inputs": ["x", "x"], "outputs": ["y"]}]}"#;
/// let read = text::read(double, 1, |_, _| Some(Fact::f32([2, 2])))?;
/// assert_eq!(read.fact(read.outputs()[0]).shape[..], [2, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write(graph: &Graph, inputs: &[ValueId], outputs: &[ValueId]) -> Result<String, TextError> {
    // Names are for people and may repeat; positions do not.
    let name = |v: &ValueId| v.index().to_string();
    let names = |all: &[ValueId]| all.iter().map(name).collect::<Vec<_>>();
    let input = |v: &ValueId| InputText {
        name: name(v),
        shape: Some(
            graph
                .fact(*v)
                .shape
                .iter()
                .map(|d| Extent::Fixed(*d))
                .collect(),
        ),
    };
    let mut constants = Vec::new();
    for index in 0..graph.values().len() {
        let id = ValueId(index as u32);
        if let Some(constant) = graph.constant_of(id) {
            let tensor = constant.load().map_err(GraphError::from)?;
            if !tensor.is_finite() {
                return Err(TextError::NotFinite(graph.value(id).name.clone()));
            }
            constants.push(ConstantText {
                name: name(&id),
                shape: tensor.dims().to_vec(),
                values: tensor.data().iter().map(|v| f64::from(*v)).collect(),
            });
        }
    }
    let mut nodes = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        let Value::Object(mut op) = serde_json::to_value(&node.op)? else {
            unreachable!("an operator is written as an object");
        };
        nodes.push(NodeText {
            name: node.name.clone(),
            op: node.op.name().to_owned(),
            attrs: match op.remove("attrs") {
                Some(Value::Object(attrs)) => attrs,
                _ => Map::new(),
            },
            inputs: names(&node.inputs),
            outputs: names(&node.outputs),
        });
    }
    let text = serde_json::to_string(&GraphText {
        inputs: inputs.iter().map(input).collect(),
        constants,
        nodes,
        outputs: names(outputs),
    })?;
    small("bytes", text.len(), MAX_TEXT)?;
    Ok(text)
}

fn small(what: &'static str, found: usize, most: usize) -> Result<(), TextError> {
    match found > most {
        true => Err(TextError::TooLarge { what, found, most }),
        false => Ok(()),
    }
}

/// The graph of a text. An input without a shape has what `known` says of its
/// position and name; `"N"` in a shape is the batch. Nodes read inputs,
/// constants and outputs of earlier nodes by name.
///
/// # Errors
/// When the text is no such graph or an operator refuses its inputs.
pub fn read(
    text: &str,
    batch: usize,
    known: impl Fn(usize, &str) -> Option<Fact>,
) -> Result<Graph, TextError> {
    small("bytes", text.len(), MAX_TEXT)?;
    let text: GraphText = serde_json::from_str(text)?;
    small("nodes", text.nodes.len(), MAX_NODES)?;
    let mut graph = Graph::new();
    let mut named: HashMap<String, ValueId> = HashMap::new();
    let add = |named: &mut HashMap<String, ValueId>, name: String, v| match named
        .insert(name.clone(), v)
    {
        None => Ok(()),
        Some(_) => Err(TextError::Name {
            problem: "has two values of the name",
            name,
        }),
    };
    for (i, input) in text.inputs.into_iter().enumerate() {
        let extent = |e: Extent| match e {
            Extent::Fixed(n) => n,
            Extent::Batch(Batch::N) => batch,
        };
        let fact = match input.shape {
            Some(shape) => Fact::f32(shape.into_iter().map(extent).collect::<Vec<_>>()),
            None => known(i, &input.name).ok_or_else(|| TextError::NoShape(input.name.clone()))?,
        };
        let elements = fact.shape.iter().map(|d| *d as u64);
        if elements.fold(1, u64::saturating_mul) > MAX_ELEMENTS {
            return Err(TextError::Huge(input.name, fact.shape.to_string()));
        }
        let v = graph.input(&*input.name, fact);
        add(&mut named, input.name, v)?;
    }
    for constant in text.constants {
        let values = constant.values.iter().map(|v| *v as f32).collect();
        let tensor = Tensor::new(constant.shape, values).map_err(GraphError::from)?;
        let v = graph.constant(&*constant.name, tensor);
        add(&mut named, constant.name, v)?;
    }
    let find = |named: &HashMap<String, ValueId>, name: &str| {
        named.get(name).copied().ok_or_else(|| TextError::Name {
            problem: "reads a value that there is not:",
            name: name.to_owned(),
        })
    };
    for node in text.nodes {
        let op = serde_json::json!({"op": node.op, "attrs": node.attrs});
        let op: Op = serde_json::from_value(op)?;
        let inputs = node.inputs.iter().map(|n| find(&named, n));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let made = graph.push(node.name, op, &inputs)?;
        if made.len() < node.outputs.len() {
            return Err(TextError::Name {
                problem: "names an output that its operator has not:",
                name: node.outputs[made.len()].clone(),
            });
        }
        for (name, v) in node.outputs.into_iter().zip(made) {
            add(&mut named, name, v)?;
        }
    }
    let outputs = text.outputs.iter().map(|n| find(&named, n));
    let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
    graph.set_outputs(&outputs);
    Ok(graph)
}

/// Whether all inputs and outputs are floats, the one type that text has.
#[must_use]
pub fn is_writable(graph: &Graph) -> bool {
    let mut bound = graph.inputs().iter().chain(graph.outputs());
    bound.all(|v| graph.fact(*v).dtype == DType::F32)
}
