//! Architectures as data, and their binding to weights.

mod built_in;
mod parse;
mod write;

use crate::limits::Budget;
use crate::{ModelError, Weights, file};
use limpid_graph::passes::{MAX_CONSTANT_WORK, constants_of};
use limpid_graph::{Constant, Cost, Fact, Graph, GraphError, Op, OpError, ValueId, nearest_names};
use limpid_tensor::Tensor;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// The value of `format` in a description.
const FORMAT: &str = "limpid-graph/1";

/// The largest description that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 26;

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
/// A node's input is the name of an earlier value, of a tensor of the weights
/// file, or of an entry of `constants`, `{"shape": [..], "values": [..]}`. The
/// input's shape has no batch axis; the axes and shapes of attributes count it.
/// `layers` maps a module's path to the value that it puts out; `defaults` are
/// preprocessing keys as in `config.json`; `fixed_size` is set where the network
/// takes pictures of one size alone.
#[derive(Debug, Clone)]
pub struct Description {
    file: String,
    input: String,
    input_shape: Vec<usize>,
    constants: BTreeMap<String, Arc<Tensor>>,
    nodes: Vec<NodeDescription>,
    layers: BTreeMap<String, String>,
    output: String,
    defaults: Map<String, Value>,
    fixed_size: bool,
}

#[derive(Debug, Clone)]
struct NodeDescription {
    name: String,
    op: Op,
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

    /// Whether the network takes pictures of [`Description::input_shape`] alone.
    #[must_use]
    pub fn fixed_size(&self) -> bool {
        self.fixed_size
    }

    /// The tensors of the weights file that the nodes read, in byte order.
    #[must_use]
    pub fn tensor_names(&self) -> BTreeSet<&str> {
        let made: BTreeSet<&str> = self
            .nodes
            .iter()
            .flat_map(|n| n.outputs.iter().map(String::as_str))
            .chain([self.input.as_str()])
            .chain(self.constants.keys().map(String::as_str))
            .collect();
        self.nodes
            .iter()
            .flat_map(|n| n.inputs.iter().map(String::as_str))
            .filter(|name| !made.contains(name))
            .collect()
    }

    /// The tensors of the weights file that are measured in training rather than
    /// learned: the statistics of batch normalisations.
    pub(crate) fn statistics(&self) -> BTreeSet<&str> {
        let norms = self
            .nodes
            .iter()
            .filter(|n| matches!(n.op, Op::BatchNormalization(_)));
        let read = norms.flat_map(|n| n.inputs.iter().skip(3));
        read.map(String::as_str).collect()
    }

    /// The channels of the pictures, from the weight of the first convolution
    /// where that reads the picture.
    #[must_use]
    pub fn input_channels(&self, tensors: &BTreeMap<String, Constant>) -> Option<usize> {
        self.nodes.iter().find_map(|node| match &node.op {
            Op::Conv(conv) if node.inputs.first() == Some(&self.input) => {
                let weight = tensors.get(node.inputs.get(1)?)?;
                weight
                    .shape()
                    .get(1)?
                    .checked_mul(conv.groups)
                    .filter(|c| *c > 0)
            }
            _ => None,
        })
    }

    /// The constants of the graph: tensors of a weights file, the description's
    /// own, and what depends on those alone, computed in f64.
    ///
    /// # Errors
    /// When a tensor is missing, has no floating-point type, or is not finite,
    /// or when it does not fit the operator that it is computed with.
    pub fn bind(&self, weights: &Weights) -> Result<BTreeMap<String, Constant>, ModelError> {
        let (mut work, mut budget) = (MAX_CONSTANT_WORK, Budget::new(1));
        let own = self.constants.iter();
        let mut tensors: BTreeMap<String, Constant> = own
            .map(|(name, tensor)| (name.clone(), Arc::clone(tensor).into()))
            .collect();
        for name in self.tensor_names() {
            tensors.insert(name.to_owned(), weights.constant(name)?);
        }
        for node in &self.nodes {
            let inputs = node.inputs.iter().map(|name| tensors.get(name));
            let Some(inputs) = inputs.collect::<Option<Vec<_>>>() else {
                continue;
            };
            let computed = constants_of(&node.op, &inputs, &mut work).map_err(|source| {
                let error = GraphError::Op {
                    node: node.name.clone(),
                    op: node.op.name(),
                    source,
                };
                self.refused(node, error, &tensors, weights.file())
            })?;
            let computed = computed.unwrap_or_default();
            let facts: Vec<Fact> = computed.iter().map(|t| Fact::f32(t.shape())).collect();
            budget
                .take(&facts.iter().collect::<Vec<_>>(), Cost::default())
                .map_err(|reason| self.wrong(format!("node `{}`", short(&node.name)), reason))?;
            for (name, tensor) in node.outputs.iter().zip(computed) {
                tensors.insert(name.clone(), tensor.into());
            }
        }
        Ok(tensors)
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
        tensors: &BTreeMap<String, Constant>,
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
            if node.outputs.iter().all(|name| tensors.contains_key(name)) {
                continue;
            }
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
                        let id = graph.constant(name.clone(), tensor);
                        values.insert(name, id);
                        id
                    }
                };
                inputs.push(id);
            }
            for (i, name) in node.inputs.iter().enumerate() {
                if node.op.parameter(i) && !graph.is_constant(inputs[i]) {
                    let reason = format!(
                        "({}) takes the weight at input {i} from `{}`, which takes too long to compute beforehand; put it into the weights file",
                        node.op.name(),
                        short(name)
                    );
                    return Err(self.wrong(format!("node `{}`", short(&node.name)), reason));
                }
            }
            let outputs = graph
                .push(node.name.clone(), node.op.clone(), &inputs)
                .map_err(|e| self.refused(node, e, tensors, weights))?;
            if outputs.len() != node.outputs.len() {
                let reason = format!(
                    "names {} outputs, {} has {}",
                    node.outputs.len(),
                    node.op.name(),
                    outputs.len()
                );
                return Err(self.wrong(format!("node `{}`", short(&node.name)), reason));
            }
            let facts =
                |ids: &[ValueId]| -> Vec<&Fact> { ids.iter().map(|&v| graph.fact(v)).collect() };
            let (of, made) = (facts(&inputs), facts(&outputs));
            budget
                .take(&made, node.op.cost(&of, &made))
                .map_err(|reason| self.wrong(format!("node `{}`", short(&node.name)), reason))?;
            values.extend(node.outputs.iter().map(String::as_str).zip(outputs));
        }
        let find = |place: &str, value: &str| {
            values.get(value).copied().ok_or_else(|| {
                let why = if tensors.contains_key(value) {
                    "does not depend on the picture"
                } else {
                    "no node makes"
                };
                self.wrong(
                    place.to_owned(),
                    format!("is `{}`, which {why}", short(value)),
                )
            })
        };
        for (layer, value) in &self.layers {
            if tensors.contains_key(value) {
                continue;
            }
            graph.set_layer(layer.clone(), find(&format!("layer `{layer}`"), value)?);
        }
        graph.set_outputs(&[find("key `outputs`", &self.output)?]);
        Ok(graph)
    }

    fn wrong(&self, place: String, reason: String) -> ModelError {
        ModelError::Description {
            file: self.file.clone(),
            place,
            reason,
        }
    }

    /// An operator's refusal, laid on the tensor where it is one's shape.
    fn refused(
        &self,
        node: &NodeDescription,
        error: GraphError,
        tensors: &BTreeMap<String, Constant>,
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
        self.wrong(format!("with the weights of {weights}"), error.to_string())
    }
}

/// The beginning of a text from a file, for an error message.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
