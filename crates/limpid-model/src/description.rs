//! Architectures as data, and their binding to weights.

use crate::limits::{Budget, MAX_NODES};
use crate::{ModelError, Weights, file};
use limpid_graph::{Fact, Graph, GraphError, Op, OpError, ValueId, nearest_names};
use limpid_tensor::Tensor;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// The value of `format` in a description.
const FORMAT: &str = "limpid-graph/1";

/// The largest description that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 26;

/// The built-in descriptions, by name: every file of `architectures/`.
static BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/architectures.rs"));

/// A network without its weights: the content of a `graph.json`.
///
/// ```json
/// {"format": "limpid-graph/1",
///  "inputs": [{"name": "x", "shape": [3, 224, 224]}],
///  "nodes": [{"name": "fc", "op": "Gemm", "attrs": {"trans_b": true},
///             "inputs": ["x", "fc.weight", "fc.bias"], "outputs": ["fc"]}],
///  "layers": {"fc": "fc"},
///  "outputs": ["fc"],
///  "defaults": {"input_size": [3, 224, 224]}}
/// ```
/// A node's input is the name of an earlier value or of a tensor of the weights
/// file. Shapes have no batch axis. `layers` maps a module's path to the value
/// that it puts out; `defaults` are preprocessing keys as in `config.json`.
#[derive(Debug, Clone)]
pub struct Description {
    file: String,
    input: String,
    input_shape: Vec<usize>,
    nodes: Vec<NodeDescription>,
    layers: BTreeMap<String, String>,
    output: String,
    defaults: Map<String, Value>,
}

#[derive(Debug, Clone)]
struct NodeDescription {
    name: String,
    op: Op,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

#[derive(Deserialize)]
struct RawDescription {
    format: String,
    inputs: Vec<RawInput>,
    nodes: Vec<RawNode>,
    #[serde(default)]
    layers: BTreeMap<String, String>,
    outputs: Vec<String>,
    #[serde(default)]
    defaults: Map<String, Value>,
}

#[derive(Deserialize)]
struct RawInput {
    name: String,
    shape: Vec<usize>,
}

#[derive(Deserialize)]
struct RawNode {
    name: String,
    op: String,
    #[serde(default)]
    attrs: Map<String, Value>,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Description {
    /// Reads a `graph.json`.
    ///
    /// # Errors
    /// When the file cannot be read or is not a sound description.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let bytes = file::read(path, MAX_FILE_BYTES)?;
        Self::from_bytes(&bytes, &path.display().to_string())
    }

    /// The built-in description of an architecture, if there is one.
    ///
    /// # Errors
    /// When the built-in file is not a sound description.
    pub fn built_in(name: &str) -> Result<Option<Self>, ModelError> {
        match BUILT_IN.binary_search_by_key(&name, |&(n, _)| n) {
            Ok(i) => {
                let (name, text) = BUILT_IN[i];
                Self::from_bytes(text.as_bytes(), &format!("architecture {name}")).map(Some)
            }
            Err(_) => Ok(None),
        }
    }

    /// The names of the built-in descriptions, in byte order.
    pub fn known() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|&(name, _)| name)
    }

    /// Parses a description; `name` stands for the file in errors.
    ///
    /// # Errors
    /// When it is not sound: unknown operators or attributes, operators that the
    /// engine alone makes, weights that are computed, values used before they
    /// are made or made twice, layers or outputs that do not exist, more than
    /// 2^14 nodes or layers.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self, ModelError> {
        let raw: RawDescription = serde_json::from_slice(bytes).map_err(|e| ModelError::Json {
            file: name.to_owned(),
            reason: e.to_string(),
        })?;
        let wrong = |place: String, reason: String| ModelError::Description {
            file: name.to_owned(),
            place,
            reason,
        };
        if raw.format != FORMAT {
            return Err(wrong(
                "key `format`".to_owned(),
                format!(
                    "is \"{}\"; this program reads \"{FORMAT}\"",
                    short(&raw.format)
                ),
            ));
        }
        let [input] = <[RawInput; 1]>::try_from(raw.inputs).map_err(|inputs| {
            wrong(
                "key `inputs`".to_owned(),
                format!("lists {} inputs; a network has exactly one", inputs.len()),
            )
        })?;
        let [output] = <[String; 1]>::try_from(raw.outputs).map_err(|outputs| {
            wrong(
                "key `outputs`".to_owned(),
                format!("lists {} outputs; give the logits alone", outputs.len()),
            )
        })?;
        for (key, length) in [("nodes", raw.nodes.len()), ("layers", raw.layers.len())] {
            if length > MAX_NODES {
                return Err(wrong(
                    format!("key `{key}`"),
                    format!("has {length} entries; at most {MAX_NODES} are read"),
                ));
            }
        }
        let all_outputs: BTreeSet<&str> = raw
            .nodes
            .iter()
            .flat_map(|n| n.outputs.iter().map(String::as_str))
            .collect();
        let mut made: BTreeSet<&str> = [input.name.as_str()].into();
        let mut nodes = Vec::with_capacity(raw.nodes.len());
        for node in &raw.nodes {
            let place = || format!("node `{}`", short(&node.name));
            for value in &node.inputs {
                if all_outputs.contains(value.as_str()) && !made.contains(value.as_str()) {
                    return Err(wrong(
                        place(),
                        format!(
                            "reads `{}` before a node makes it; put the nodes in order",
                            short(value)
                        ),
                    ));
                }
            }
            let op = operator(node).map_err(|reason| wrong(place(), reason))?;
            for (i, value) in node.inputs.iter().enumerate() {
                if op.parameter(i) && made.contains(value.as_str()) {
                    return Err(wrong(
                        place(),
                        format!(
                            "({}) takes the weight at input {i} from `{}`, which is computed; name a tensor of the weights file",
                            op.name(),
                            short(value)
                        ),
                    ));
                }
            }
            for value in &node.outputs {
                if !made.insert(value) {
                    return Err(wrong(
                        place(),
                        format!("makes `{}`, which exists already; rename it", short(value)),
                    ));
                }
            }
            nodes.push(NodeDescription {
                name: node.name.clone(),
                op,
                inputs: node.inputs.clone(),
                outputs: node.outputs.clone(),
            });
        }
        let absent = |value: &str| format!("is `{}`, which no node makes", short(value));
        if !made.contains(output.as_str()) {
            return Err(wrong("key `outputs`".to_owned(), absent(&output)));
        }
        for (layer, value) in &raw.layers {
            if !made.contains(value.as_str()) {
                return Err(wrong(format!("layer `{}`", short(layer)), absent(value)));
            }
        }
        Ok(Self {
            file: name.to_owned(),
            input: input.name,
            input_shape: input.shape,
            nodes,
            layers: raw.layers,
            output,
            defaults: raw.defaults,
        })
    }

    /// The file's name, as errors give it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The preprocessing keys that hold where a configuration has none.
    #[must_use]
    pub fn defaults(&self) -> &Map<String, Value> {
        &self.defaults
    }

    /// The shape `[C,H,W]` of the input that the description was made for.
    #[must_use]
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// The tensors of the weights file that the nodes read, in byte order.
    #[must_use]
    pub fn tensor_names(&self) -> BTreeSet<&str> {
        let made: BTreeSet<&str> = self
            .nodes
            .iter()
            .flat_map(|n| n.outputs.iter().map(String::as_str))
            .chain([self.input.as_str()])
            .collect();
        self.nodes
            .iter()
            .flat_map(|n| n.inputs.iter().map(String::as_str))
            .filter(|name| !made.contains(name))
            .collect()
    }

    /// The tensors that the nodes read, taken from a weights file.
    ///
    /// # Errors
    /// When one is missing, has no floating-point type, or is not finite.
    pub fn bind(&self, weights: &Weights) -> Result<BTreeMap<String, Arc<Tensor>>, ModelError> {
        self.tensor_names()
            .into_iter()
            .map(|name| Ok((name.to_owned(), Arc::new(weights.tensor(name)?))))
            .collect()
    }

    /// The graph for inputs `[batch, C, H, W]` = [`batch`, ...`input_size`], with
    /// `tensors` (see [`Description::bind`]) as its constants, every layer named
    /// and the logits as the only output. `weights` names their file in errors.
    ///
    /// # Errors
    /// When a tensor is missing or its shape does not fit, or when the values or
    /// their computation are larger than any sensible network's.
    pub fn graph(
        &self,
        tensors: &BTreeMap<String, Arc<Tensor>>,
        input_size: [usize; 3],
        batch: usize,
        weights: &str,
    ) -> Result<Graph, ModelError> {
        let mut graph = Graph::new();
        let mut values: HashMap<&str, ValueId> = HashMap::new();
        let mut budget = Budget::new(batch);
        let [c, h, w] = input_size;
        let x = graph.input(self.input.clone(), Fact::f32([batch, c, h, w]));
        values.insert(&self.input, x);
        for node in &self.nodes {
            let mut inputs = Vec::with_capacity(node.inputs.len());
            for name in &node.inputs {
                let id = match values.get(name.as_str()) {
                    Some(&id) => id,
                    None => {
                        let tensor =
                            tensors.get(name).ok_or_else(|| ModelError::MissingTensor {
                                file: weights.to_owned(),
                                tensor: name.clone(),
                                near: nearest_names(name, tensors.keys().map(String::as_str)),
                            })?;
                        let id = graph.constant(name.clone(), Arc::clone(tensor));
                        values.insert(name, id);
                        id
                    }
                };
                inputs.push(id);
            }
            let outputs = graph
                .push(node.name.clone(), node.op.clone(), &inputs)
                .map_err(|e| self.refused(node, e, tensors, weights))?;
            if outputs.len() != node.outputs.len() {
                return Err(ModelError::Description {
                    file: self.file.clone(),
                    place: format!("node `{}`", node.name),
                    reason: format!(
                        "names {} outputs, {} has {}",
                        node.outputs.len(),
                        node.op.name(),
                        outputs.len()
                    ),
                });
            }
            let facts =
                |ids: &[ValueId]| -> Vec<&Fact> { ids.iter().map(|&v| graph.fact(v)).collect() };
            let (of, made) = (facts(&inputs), facts(&outputs));
            budget
                .take(&made, node.op.cost(&of, &made))
                .map_err(|reason| ModelError::Description {
                    file: self.file.clone(),
                    place: format!("node `{}`", short(&node.name)),
                    reason,
                })?;
            values.extend(node.outputs.iter().map(String::as_str).zip(outputs));
        }
        let find = |place: &str, value: &str| {
            values
                .get(value)
                .copied()
                .ok_or_else(|| ModelError::Description {
                    file: self.file.clone(),
                    place: place.to_owned(),
                    reason: format!("is `{value}`, which no node makes"),
                })
        };
        for (layer, value) in &self.layers {
            graph.set_layer(layer.clone(), find(&format!("layer `{layer}`"), value)?);
        }
        graph.set_outputs(&[find("key `outputs`", &self.output)?]);
        Ok(graph)
    }

    /// An operator's refusal, laid on the tensor where it is one's shape.
    fn refused(
        &self,
        node: &NodeDescription,
        error: GraphError,
        tensors: &BTreeMap<String, Arc<Tensor>>,
        weights: &str,
    ) -> ModelError {
        if let GraphError::Op {
            source:
                OpError::Shape {
                    input,
                    expected,
                    found,
                },
            ..
        } = &error
            && let Some(name) = node.inputs.get(*input)
            && tensors.contains_key(name)
        {
            return ModelError::WeightsTensor {
                file: weights.to_owned(),
                tensor: name.clone(),
                reason: format!(
                    "has the shape {found}, and node `{}` ({}) needs {expected}; check that the weights belong to the architecture",
                    node.name,
                    node.op.name()
                ),
            };
        }
        ModelError::Description {
            file: self.file.clone(),
            place: format!("with the weights of {weights}"),
            reason: error.to_string(),
        }
    }
}

/// The operator of a node, or why it has none.
fn operator(node: &RawNode) -> Result<Op, String> {
    let names = Op::network_names();
    if !names.contains(&node.op.as_str()) {
        let what = if Op::NAMES.contains(&node.op.as_str()) {
            "internal"
        } else {
            "unknown"
        };
        return Err(format!(
            "has the {what} operator `{}`; the operators are {}",
            short(&node.op),
            names.join(", ")
        ));
    }
    let op: Op = serde_json::from_value(json!({"op": node.op, "attrs": node.attrs}))
        .map_err(|e| format!("has wrong attributes: {e}"))?;
    if op.fused() {
        return Err(
            "has wrong attributes: `epilogue` is internal; write its work as nodes of their own"
                .to_owned(),
        );
    }
    Ok(op)
}

/// The beginning of a text from a file, for an error message.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
