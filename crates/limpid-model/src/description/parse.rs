//! Reading a description, and refusing one that is not sound.

use super::{Description, FORMAT, NodeDescription, short};
use crate::ModelError;
use crate::limits::{MAX_CONSTANTS, MAX_NODES};
use limpid_graph::{Op, nearest_names};
use limpid_tensor::Tensor;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Deserialize)]
struct RawDescription {
    format: String,
    inputs: Vec<RawInput>,
    #[serde(default)]
    constants: BTreeMap<String, RawConstant>,
    nodes: Vec<RawNode>,
    #[serde(default)]
    layers: BTreeMap<String, String>,
    outputs: Vec<String>,
    #[serde(default)]
    defaults: Map<String, Value>,
    #[serde(default)]
    fixed_size: bool,
}

#[derive(Deserialize)]
struct RawInput {
    name: String,
    shape: Vec<usize>,
}

#[derive(Deserialize)]
struct RawConstant {
    shape: Vec<usize>,
    values: Vec<f32>,
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
    /// Parses a description; `name` stands for the file in errors.
    ///
    /// # Errors
    /// When it is not sound: unknown operators or attributes, operators that the
    /// engine alone makes, weights that depend on the picture, values used before
    /// they are made or made twice, layers or outputs that do not exist, more than
    /// 2^14 nodes or layers, literal constants of more than 2^24 numbers.
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
        let constants = constants(raw.constants)
            .map_err(|(name, reason)| wrong(format!("constant `{}`", short(&name)), reason))?;
        let all_outputs: BTreeSet<&str> = raw
            .nodes
            .iter()
            .flat_map(|n| n.outputs.iter().map(String::as_str))
            .collect();
        let mut made: BTreeSet<&str> = [input.name.as_str()].into();
        made.extend(constants.keys().map(String::as_str));
        // What depends on the picture; the rest is computed when weights are bound.
        let mut varying: BTreeSet<&str> = [input.name.as_str()].into();
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
                if op.parameter(i) && varying.contains(value.as_str()) {
                    return Err(wrong(
                        place(),
                        format!(
                            "({}) takes the weight at input {i} from `{}`, which is computed from the picture; name a tensor of the weights file",
                            op.name(),
                            short(value)
                        ),
                    ));
                }
            }
            let varies = node.inputs.iter().any(|v| varying.contains(v.as_str()));
            for value in &node.outputs {
                if !made.insert(value) {
                    return Err(wrong(
                        place(),
                        format!("makes `{}`, which exists already; rename it", short(value)),
                    ));
                }
                if varies {
                    varying.insert(value);
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
            constants,
            nodes,
            layers: raw.layers,
            output,
            defaults: raw.defaults,
            fixed_size: raw.fixed_size,
        })
    }
}

/// The literal tensors; else the name of a wrong one and what is wrong.
fn constants(
    raw: BTreeMap<String, RawConstant>,
) -> Result<BTreeMap<String, Arc<Tensor>>, (String, String)> {
    let total: usize = raw.values().map(|c| c.values.len()).sum();
    let mut constants = BTreeMap::new();
    for (name, constant) in raw {
        if total > MAX_CONSTANTS {
            let reason = format!(
                "brings the constants to {total} numbers; at most {MAX_CONSTANTS} are read, so put large tensors into the weights file"
            );
            return Err((name, reason));
        }
        match Tensor::new(constant.shape, constant.values) {
            Ok(tensor) if tensor.is_finite() => {
                constants.insert(name, Arc::new(tensor));
            }
            Ok(_) => return Err((name, "has values that are not finite".to_owned())),
            Err(e) => return Err((name, e.to_string())),
        }
    }
    Ok(constants)
}

/// The operator of a node, or why it has none.
fn operator(node: &RawNode) -> Result<Op, String> {
    let names = Op::network_names();
    if !names.contains(&node.op.as_str()) {
        let op = short(&node.op);
        if Op::NAMES.contains(&op.as_str()) {
            return Err(format!(
                "has the internal operator `{op}`, which only the engine makes"
            ));
        }
        let near = nearest_names(&op, names.iter().copied());
        let near = if near.is_empty() {
            names.iter().map(ToString::to_string).collect()
        } else {
            near
        };
        return Err(format!(
            "has the unknown operator `{op}`; operators are {}",
            near.join(", ")
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
