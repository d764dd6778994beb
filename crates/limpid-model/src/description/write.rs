//! Writing a description, and making one of a graph.

use super::{Description, FORMAT, NodeDescription};
use crate::ModelError;
use limpid_graph::{Constant, Graph, Op, Source, ValueId};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Weights by the names that a description gives them.
type Tensors = BTreeMap<String, Constant>;

impl Description {
    /// The description of a network, and the weights that its nodes read.
    ///
    /// `graph` takes pictures `[1, C, H, W]` and puts out their logits. Values
    /// keep their names as far as these differ; constants become weights. The
    /// network takes pictures of this size alone. `file` stands for the
    /// description in errors.
    ///
    /// # Errors
    /// When the graph has other inputs or outputs, or an operator takes a weight
    /// that depends on the picture.
    pub fn from_graph(graph: &Graph, file: &str) -> Result<(Self, Tensors), ModelError> {
        let wrong = |place: &str, reason: String| ModelError::Description {
            file: file.to_owned(),
            place: place.to_owned(),
            reason,
        };
        let &[input] = graph.inputs() else {
            return Err(wrong(
                "the network",
                format!(
                    "has {} inputs; it must take pictures alone",
                    graph.inputs().len()
                ),
            ));
        };
        let &[output] = graph.outputs() else {
            return Err(wrong(
                "the network",
                format!(
                    "has {} outputs; give the logits alone",
                    graph.outputs().len()
                ),
            ));
        };
        let dims = graph.fact(input).shape.dims();
        if dims.len() != 4 {
            return Err(wrong(
                "the network's input",
                format!("has the shape {dims:?}; pictures [N, C, H, W] are needed"),
            ));
        }
        let names = Names::of(graph);
        let mut tensors = BTreeMap::new();
        for node in graph.nodes() {
            for v in &node.inputs {
                if let Some(constant) = graph.constant_of(*v) {
                    tensors.insert(names.get(*v), constant.clone());
                }
            }
        }
        let nodes = graph.nodes().iter().map(|node| NodeDescription {
            name: node
                .outputs
                .first()
                .map_or_else(|| node.name.clone(), |v| names.get(*v)),
            op: node.op.clone(),
            inputs: node.inputs.iter().map(|v| names.get(*v)).collect(),
            outputs: node.outputs.iter().map(|v| names.get(*v)).collect(),
        });
        let computed = graph
            .layers()
            .iter()
            .filter(|(_, v)| !graph.is_constant(**v));
        let mut defaults = Map::new();
        defaults.insert("input_size".to_owned(), json!(dims[1..]));
        let description = Self {
            file: file.to_owned(),
            input: names.get(input),
            input_shape: dims[1..].to_vec(),
            constants: BTreeMap::new(),
            nodes: nodes.collect(),
            layers: computed
                .map(|(layer, v)| (layer.clone(), names.get(*v)))
                .collect(),
            output: names.get(output),
            defaults,
            fixed_size: true,
        };
        // What a file may not say, a graph may not either.
        let text = serde_json::to_vec(&description.to_json());
        let text = text.map_err(|e| wrong("the network", e.to_string()))?;
        Ok((Self::from_bytes(&text, file)?, tensors))
    }

    /// The content of a `graph.json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let constants: Map<String, Value> = self
            .constants
            .iter()
            .map(|(name, t)| (name.clone(), json!({"shape": t.dims(), "values": t.data()})))
            .collect();
        let nodes: Vec<Value> = self.nodes.iter().map(NodeDescription::to_json).collect();
        json!({
            "format": FORMAT,
            "inputs": [{"name": self.input, "shape": self.input_shape}],
            "constants": constants,
            "nodes": nodes,
            "layers": self.layers,
            "outputs": [self.output],
            "defaults": self.defaults,
            "fixed_size": self.fixed_size,
        })
    }

    /// The same network for pictures whose channels come in the opposite order.
    pub(crate) fn with_channels_reversed(mut self) -> Self {
        let channels = self.input_shape.first().copied().unwrap_or(0);
        let taken: BTreeSet<&str> = self
            .nodes
            .iter()
            .flat_map(|n| n.inputs.iter().chain(&n.outputs))
            .map(String::as_str)
            .collect();
        let name = unused("pixels", |name| taken.contains(name) || name == self.input);
        let indices: Vec<usize> = (0..channels).rev().collect();
        let node = NodeDescription {
            name: self.input.clone(),
            op: Op::Gather(limpid_graph::ops::Gather { axis: 1, indices }),
            inputs: vec![name.clone()],
            outputs: vec![std::mem::replace(&mut self.input, name)],
        };
        self.nodes.insert(0, node);
        self
    }
}

impl NodeDescription {
    fn to_json(&self) -> Value {
        let mut node = json!(self.op);
        node["name"] = json!(self.name);
        node["inputs"] = json!(self.inputs);
        node["outputs"] = json!(self.outputs);
        node
    }
}

/// A name for every value, no two alike.
struct Names(Vec<String>);

impl Names {
    fn of(graph: &Graph) -> Self {
        let mut names: Vec<Option<String>> = vec![None; graph.values().len()];
        let mut taken: BTreeSet<String> = BTreeSet::new();
        // Inputs and layers first: those are names that people know.
        let inputs = graph
            .inputs()
            .iter()
            .map(|v| (graph.value(*v).name.clone(), *v));
        let own = |(name, v): &(String, ValueId)| graph.value(*v).name == *name;
        let layers: Vec<_> = graph
            .layers()
            .iter()
            .map(|(n, v)| (n.clone(), *v))
            .collect();
        let known = layers
            .iter()
            .filter(|l| own(l))
            .chain(layers.iter().filter(|l| !own(l)));
        for (name, v) in inputs.chain(known.cloned()) {
            if names[v.index()].is_none() && taken.insert(name.clone()) {
                names[v.index()] = Some(name);
            }
        }
        // One name for a weight that stands in the graph several times.
        let mut same: HashMap<usize, String> = HashMap::new();
        let mut next: HashMap<String, usize> = HashMap::new();
        for (i, value) in graph.values().iter().enumerate() {
            if names[i].is_some() {
                continue;
            }
            let weight = match &value.source {
                Source::Constant(c) => Some(c.address()),
                _ => None,
            };
            if let Some(name) = weight.and_then(|w| same.get(&w)) {
                names[i] = Some(name.clone());
                continue;
            }
            let base = if value.name.is_empty() {
                "value"
            } else {
                &value.name
            };
            let count = next.entry(base.to_owned()).or_insert(0);
            let name = loop {
                let name = if *count == 0 {
                    base.to_owned()
                } else {
                    format!("{base}.{count}")
                };
                *count += 1;
                if taken.insert(name.clone()) {
                    break name;
                }
            };
            if let Some(weight) = weight {
                same.insert(weight, name.clone());
            }
            names[i] = Some(name);
        }
        Self(names.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn get(&self, v: ValueId) -> String {
        self.0[v.index()].clone()
    }
}

/// `base`, or with the first number behind it that makes a name of its own.
fn unused(base: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (1..).map(|i| format!("{base}.{i}"));
    std::iter::once(base.to_owned())
        .chain(numbered)
        .find(|name| !taken(name))
        .unwrap_or_default()
}
