//! A network for any number of pictures, from one that was exported for some.
//!
//! The batch is traced from the input to the output, whatever axes it passes
//! on the way. Every value is laid out anew with the batch first, so that a
//! picture has a part of its own in it; then no operator's attributes depend on
//! the number of pictures.

use super::refusal::{Refusal, Result};
use limpid_graph::ops::{Reshape, Transpose};
use limpid_graph::{Fact, Graph, Node, Op, Source, ValueId};
use limpid_tensor::{Shape, Tensor};
use serde_json::{Value as Json, json};

/// Where the batch lies among the axes that a value has in the file: axis
/// `axis` runs over `outer` times the batch times what belongs to a picture.
/// The batch goes first here, then the axes before it, then `outer` unless it
/// is 1, then the axes behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    axis: usize,
    outer: usize,
}

/// The most ways that are tried to lead the batch through a network.
const MAX_ATTEMPTS: usize = 500;

const FIRST: Place = Place { axis: 0, outer: 1 };

/// A value of the old graph in the new one; without a place it does not depend
/// on the pictures.
#[derive(Debug, Clone, Copy)]
struct Laid {
    id: ValueId,
    place: Option<Place>,
}

/// The same network for one picture, or for any number side by side.
///
/// # Errors
/// When the batch cannot be traced; the reason names the node.
pub(super) fn lift(graph: &Graph) -> Result<Graph> {
    let batch = graph
        .inputs()
        .first()
        .and_then(|v| graph.fact(*v).shape.first().copied());
    let batch = batch.ok_or_else(|| Refusal::new("the network has no input with a batch"))?;
    // Where the batch of one picture goes in a reshape can be ambiguous. What
    // works to the end is right, whichever it is: no operator mixes pictures.
    let mut choices: Vec<usize> = Vec::new();
    let mut first = None;
    for _ in 0..MAX_ATTEMPTS {
        let mut lift = Lift {
            old: graph,
            new: Graph::new(),
            laid: Vec::with_capacity(graph.values().len()),
            batch,
            choices: &choices,
            options: Vec::new(),
        };
        let refusal = match lift.run() {
            Ok(()) => return for_one(graph, lift.new),
            Err(refusal) => refusal,
        };
        first.get_or_insert(refusal);
        // The last choice that leaves another.
        let options = lift.options;
        choices.resize(options.len(), 0);
        while choices
            .last()
            .is_some_and(|&c| c + 1 >= options[choices.len() - 1])
        {
            choices.pop();
        }
        match choices.last_mut() {
            Some(choice) => *choice += 1,
            None => break,
        }
    }
    Err(first.unwrap_or_else(|| Refusal::new("the batch is lost")))
}

/// The lifted network with an input of one picture.
fn for_one(graph: &Graph, new: Graph) -> Result<Graph> {
    if graph
        .inputs()
        .iter()
        .all(|v| graph.fact(*v).shape.first() == Some(&1))
    {
        return Ok(new);
    }
    // Anew for one picture.
    let mut one = Graph::new();
    let inputs: Vec<ValueId> = new
        .inputs()
        .iter()
        .map(|v| {
            let mut dims = new.fact(*v).shape.to_vec();
            dims[0] = 1;
            one.input(new.value(*v).name.clone(), Fact::f32(dims))
        })
        .collect();
    let map = one.splice(&new, &inputs)?;
    let outputs: Vec<ValueId> = new.outputs().iter().map(|v| map[v.index()]).collect();
    one.set_outputs(&outputs);
    Ok(one)
}

struct Lift<'g> {
    old: &'g Graph,
    new: Graph,
    laid: Vec<Option<Laid>>,
    batch: usize,
    /// Which of its places each reshape with several takes, as far as it is said.
    choices: &'g [usize],
    /// How many places these reshapes had.
    options: Vec<usize>,
}

impl Lift<'_> {
    fn run(&mut self) -> Result<()> {
        let old = self.old;
        for v in old.values() {
            let laid = match &v.source {
                Source::Input(_) => Some(Laid {
                    id: self.new.input(v.name.clone(), v.fact.clone()),
                    place: Some(FIRST),
                }),
                Source::Constant(t) => Some(Laid {
                    id: self.new.constant(v.name.clone(), t),
                    place: None,
                }),
                Source::Node { .. } => None,
            };
            self.laid.push(laid);
        }
        for node in old.nodes() {
            let laid = self
                .node(node)
                .map_err(|e| e.at(|| format!("node `{}` ({})", node.name, node.op.name())))?;
            self.check(node, laid)?;
            self.laid[node.outputs[0].index()] = Some(laid);
        }
        let mut outputs = Vec::new();
        for v in old.outputs() {
            let laid = self.of(*v);
            if laid.place.is_some_and(|p| p != FIRST) {
                return Err(Refusal::new("its output does not begin with the batch"));
            }
            outputs.push(laid.id);
        }
        self.new.set_outputs(&outputs);
        for (name, v) in old.layers() {
            self.new.set_layer(name.clone(), self.of(*v).id);
        }
        Ok(())
    }

    fn of(&self, v: ValueId) -> Laid {
        self.laid[v.index()].expect("nodes stand in topological order")
    }

    fn dims(&self, v: ValueId) -> &Shape {
        &self.old.fact(v).shape
    }

    /// What the new value must look like is known from the old one.
    fn check(&self, node: &Node, laid: Laid) -> Result<()> {
        let old = self.dims(node.outputs[0]);
        let expected = match laid.place {
            None => old.to_vec(),
            Some(place) => self.physical(old, place)?,
        };
        if self.new.fact(laid.id).shape.dims() == expected {
            return Ok(());
        }
        Err(Refusal::new(format!(
            "node `{}` loses the batch",
            node.name
        )))
    }

    /// The extents of a value of the file's extents `dims`, batch first.
    fn physical(&self, dims: &[usize], place: Place) -> Result<Vec<usize>> {
        let whole = self.batch * place.outer;
        let extent = dims.get(place.axis).copied().unwrap_or(0);
        if extent == 0 || !extent.is_multiple_of(whole) {
            return Err(Refusal::new("the batch is lost"));
        }
        let outer = (place.outer > 1).then_some(place.outer);
        let mut physical = vec![extent / place.outer];
        physical.extend(&dims[..place.axis]);
        physical.extend(outer);
        physical.extend(&dims[place.axis + 1..]);
        Ok(physical)
    }

    fn push(&mut self, node: &Node, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        let made = self.new.push(node.name.clone(), op, inputs)?;
        made.first()
            .copied()
            .ok_or_else(|| Refusal::new("makes nothing"))
    }

    /// The elements under `rest` behind the batch.
    fn reshape(&mut self, node: &Node, x: ValueId, rest: &[usize]) -> Result<ValueId> {
        let mut shape = vec![-1i64];
        shape.extend(rest.iter().map(|&d| d as i64));
        if self.new.fact(x).shape.get(1..) == Some(rest) {
            return Ok(x);
        }
        self.push(node, Reshape { shape }.into(), &[x])
    }

    fn transpose(&mut self, node: &Node, x: ValueId, perm: &[usize]) -> Result<ValueId> {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return Ok(x);
        }
        let perm = perm.to_vec();
        self.push(node, Transpose { perm }.into(), &[x])
    }

    fn node(&mut self, node: &Node) -> Result<Laid> {
        let inputs: Vec<Laid> = node.inputs.iter().map(|v| self.of(*v)).collect();
        let ids: Vec<ValueId> = inputs.iter().map(|l| l.id).collect();
        if inputs.iter().all(|l| l.place.is_none()) {
            let id = self.push(node, node.op.clone(), &ids)?;
            return Ok(Laid { id, place: None });
        }
        if node.op.formula(ids.len()).is_some() || matches!(node.op, Op::Clip(_)) {
            return self.broadcast(node, &inputs, 0);
        }
        match (&node.op, node.op.name(), inputs[0].place) {
            (_, "MatMul" | "Concat" | "Attention", _) => self.several(node, &inputs),
            (_, _, None) => Err(Refusal::new(
                "reads the pictures elsewhere than in its first input",
            )),
            _ if inputs[1..].iter().any(|l| l.place.is_some()) => {
                Err(Refusal::new("reads the pictures in several inputs"))
            }
            (Op::Reshape(_) | Op::Flatten(_), _, Some(place)) => {
                self.reshaped(node, inputs[0].id, place)
            }
            (Op::Transpose(op), _, Some(place)) => {
                self.transposed(node, inputs[0].id, place, &op.perm)
            }
            (Op::Gemm(_), _, Some(place)) if place.axis + 1 < self.dims(node.inputs[0]).len() => {
                let id = self.push(node, node.op.clone(), &ids)?;
                Ok(Laid {
                    id,
                    place: Some(place),
                })
            }
            (_, _, Some(place)) => self.along_axes(node, place, &ids),
        }
    }

    /// The axis of the new value that axis `axis` of the old one is.
    fn axis(&self, axis: usize, place: Place) -> Result<usize> {
        match axis.cmp(&place.axis) {
            std::cmp::Ordering::Less => Ok(axis + 1),
            std::cmp::Ordering::Equal => Err(Refusal::new("works along the batch")),
            std::cmp::Ordering::Greater => Ok(axis + usize::from(place.outer > 1)),
        }
    }

    /// Operators that work along given axes, or on pictures as a whole.
    fn along_axes(&mut self, node: &Node, place: Place, ids: &[ValueId]) -> Result<Laid> {
        let mut json = serde_json::to_value(&node.op).map_err(|e| Refusal::new(e.to_string()))?;
        let attrs = &mut json["attrs"];
        let one = |v: &Json| v.as_u64().map_or(usize::MAX, |v| v as usize);
        match node.op.name() {
            "Softmax" | "LogSoftmax" | "Slice" | "Gather" | "Roll" => {
                attrs["axis"] = json!(self.axis(one(&attrs["axis"]), place)?);
            }
            "LayerNormalization" | "RMSNormalization" => {
                let axis = one(&attrs["axis"]);
                if axis <= place.axis {
                    return Err(Refusal::new("normalises across the batch"));
                }
                attrs["axis"] = json!(self.axis(axis, place)?);
            }
            name if name.starts_with("Reduce") => {
                let axes = attrs["axes"].as_array().cloned().unwrap_or_default();
                let axes: Vec<usize> = axes
                    .iter()
                    .map(|a| self.axis(one(a), place))
                    .collect::<Result<_>>()?;
                attrs["axes"] = json!(axes);
            }
            "Pad" | "Tile" | "Expand" => {
                let (key, neutral) = match node.op.name() {
                    "Pad" => ("pads", json!([0, 0])),
                    "Tile" => ("repeats", json!(1)),
                    _ => ("shape", json!(1)),
                };
                let list = attrs[key].as_array().cloned().unwrap_or_default();
                attrs[key] = json!(self.spread(node, &list, place, &neutral)?);
                if node.op.name() == "Expand" {
                    return self.expanded(node, ids[0], place, json);
                }
            }
            _ if place == FIRST => {}
            _ => return Err(Refusal::new("needs the batch on its first axis")),
        }
        let op: Op = serde_json::from_value(json).map_err(|e| Refusal::new(e.to_string()))?;
        let id = self.push(node, op, ids)?;
        Ok(Laid {
            id,
            place: Some(place),
        })
    }

    /// A list with one entry for each axis, for the new axes; the batch's is
    /// the neutral one.
    fn spread(
        &self,
        node: &Node,
        list: &[Json],
        place: Place,
        neutral: &Json,
    ) -> Result<Vec<Json>> {
        let dims = self.dims(node.inputs[0]);
        let kept = |v: &Json| {
            v == neutral
                || (node.op.name() == "Expand"
                    && v.as_u64() == dims.get(place.axis).map(|&d| d as u64))
        };
        if list.len() != dims.len() || !kept(&list[place.axis]) {
            return Err(Refusal::new("changes the batch"));
        }
        let mut new = vec![neutral.clone()];
        new.extend_from_slice(&list[..place.axis]);
        if place.outer > 1 {
            new.push(neutral.clone());
        }
        new.extend_from_slice(&list[place.axis + 1..]);
        Ok(new)
    }

    fn expanded(&mut self, node: &Node, x: ValueId, place: Place, op: Json) -> Result<Laid> {
        let op: Op = serde_json::from_value(op).map_err(|e| Refusal::new(e.to_string()))?;
        let id = self.push(node, op, &[x])?;
        Ok(Laid {
            id,
            place: Some(place),
        })
    }

    fn transposed(
        &mut self,
        node: &Node,
        x: ValueId,
        place: Place,
        perm: &[usize],
    ) -> Result<Laid> {
        let axis = perm.iter().position(|&p| p == place.axis).unwrap_or(0);
        let to = Place { axis, ..place };
        let mut new = vec![0];
        for &p in perm {
            if p != place.axis {
                new.push(self.axis(p, place)?);
            } else if place.outer > 1 {
                new.push(place.axis + 1);
            }
        }
        let id = self.transpose(node, x, &new)?;
        Ok(Laid {
            id,
            place: Some(to),
        })
    }

    /// In the file's order the elements run over `before`, the batch, what of
    /// the batch's axis belongs to a picture, and the rest.
    fn reshaped(&mut self, node: &Node, x: ValueId, place: Place) -> Result<Laid> {
        let from = self.dims(node.inputs[0]).to_vec();
        let to = self.dims(node.outputs[0]).to_vec();
        let product = |dims: &[usize]| dims.iter().product::<usize>();
        let before = product(&from[..place.axis]) * place.outer;
        let own = from[place.axis] / (place.outer * self.batch);
        let rest = product(&from[place.axis + 1..]);
        let candidates = (0..to.len()).filter_map(|axis| {
            let outer = before.checked_div(product(&to[..axis]))?;
            let fits = outer > 0
                && outer * product(&to[..axis]) == before
                && to[axis].is_multiple_of(outer * self.batch);
            fits.then_some(Place { axis, outer })
        });
        let mut candidates: Vec<Place> = candidates.collect();
        candidates.sort_by_key(|p| (p.outer > 1, p.axis));
        let choice = self.choices.get(self.options.len()).copied().unwrap_or(0);
        let choice = if candidates.len() > 1 {
            self.options.push(candidates.len());
            choice
        } else {
            0
        };
        let new = candidates.get(choice).copied().ok_or_else(|| {
            Refusal::new(format!(
                "makes {} of {}, which mixes the pictures of a batch",
                Shape::from(&to[..]),
                Shape::from(&from[..])
            ))
        })?;
        let new_own = to[new.axis] / (new.outer * self.batch);
        let physical = self.physical(&to, new)?;
        let mut id = x;
        if own != new_own && before > 1 {
            let new_rest = own * rest / new_own;
            if own > 1 {
                id = self.reshape(node, id, &[own, before, rest])?;
                id = self.transpose(node, id, &[0, 2, 1, 3])?;
            }
            if new_own > 1 {
                id = self.reshape(node, id, &[before, new_own, new_rest])?;
                id = self.transpose(node, id, &[0, 2, 1, 3])?;
            }
        }
        let id = self.reshape(node, id, &physical[1..])?;
        Ok(Laid {
            id,
            place: Some(new),
        })
    }

    /// Operators of several inputs that depend on the pictures.
    fn several(&mut self, node: &Node, inputs: &[Laid]) -> Result<Laid> {
        let mut json = serde_json::to_value(&node.op).map_err(|e| Refusal::new(e.to_string()))?;
        match node.op.name() {
            "MatMul" => {
                let rank = self.dims(node.outputs[0]).len();
                let weight = inputs[1].place.is_none() && self.dims(node.inputs[1]).len() == 2;
                let rows = inputs[0].place.is_some_and(|p| p.axis + 2 == rank);
                if weight && rows && json["attrs"]["trans_a"] != json!(true) {
                    let ids = [inputs[0].id, inputs[1].id];
                    let id = self.push(node, node.op.clone(), &ids)?;
                    return Ok(Laid {
                        id,
                        place: inputs[0].place,
                    });
                }
                self.broadcast(node, inputs, 2)
            }
            "Attention" => {
                if inputs[..3].iter().any(|l| l.place != Some(FIRST)) {
                    return Err(Refusal::new("needs the batch on its first axis"));
                }
                self.broadcast(node, inputs, 3)
            }
            _ => {
                let place = inputs.iter().find_map(|l| l.place).unwrap_or(FIRST);
                let axis = json["attrs"]["axis"]
                    .as_u64()
                    .map_or(usize::MAX, |v| v as usize);
                json["attrs"]["axis"] = json!(self.axis(axis, place)?);
                let op: Op =
                    serde_json::from_value(json).map_err(|e| Refusal::new(e.to_string()))?;
                let rank = self.dims(node.outputs[0]).len();
                let ids = self.aligned(node, inputs, place, rank)?;
                let id = self.push(node, op, &ids)?;
                Ok(Laid {
                    id,
                    place: Some(place),
                })
            }
        }
    }

    /// Operators whose inputs broadcast, but for the last `fixed` axes.
    fn broadcast(&mut self, node: &Node, inputs: &[Laid], fixed: usize) -> Result<Laid> {
        let rank = self.dims(node.outputs[0]).len();
        // Counted from the right, where shapes are aligned.
        let places = node.inputs.iter().zip(inputs).filter_map(|(v, l)| {
            let place = l.place?;
            Some(Place {
                axis: place.axis + rank - self.dims(*v).len(),
                ..place
            })
        });
        let places: Vec<Place> = places.collect();
        let place = places[0];
        if places.iter().any(|p| *p != place) || place.axis + fixed >= rank {
            return Err(Refusal::new(
                "combines values whose batches lie on different axes",
            ));
        }
        let ids = self.aligned(node, inputs, place, rank)?;
        let id = self.push(node, node.op.clone(), &ids)?;
        Ok(Laid {
            id,
            place: Some(place),
        })
    }

    /// The inputs with `rank` axes, and the batch of all in front.
    fn aligned(
        &mut self,
        node: &Node,
        inputs: &[Laid],
        place: Place,
        rank: usize,
    ) -> Result<Vec<ValueId>> {
        let mut ids = Vec::with_capacity(inputs.len());
        for (v, laid) in node.inputs.iter().zip(inputs) {
            let dims = self.dims(*v).to_vec();
            let missing = rank - dims.len();
            let padded = [vec![1; missing], dims.clone()].concat();
            ids.push(match laid.place {
                Some(_) if missing == 0 => laid.id,
                Some(_) => {
                    let physical = self.physical(&padded, place)?;
                    self.reshape(node, laid.id, &physical[1..])?
                }
                None => self.constant(laid.id, &padded, missing, place)?,
            });
        }
        Ok(ids)
    }

    /// A constant, of the extents `padded`, beside values whose batch is first.
    fn constant(
        &mut self,
        id: ValueId,
        padded: &[usize],
        missing: usize,
        place: Place,
    ) -> Result<ValueId> {
        let along = padded[place.axis];
        // Behind the batch nothing moves.
        if place.axis < missing || (along == 1 && place == FIRST) {
            return Ok(id);
        }
        let constant = self.new.constant_of(id).cloned();
        let constant =
            constant.ok_or_else(|| Refusal::new("reads a constant that is not computed"))?;
        let tensor = constant.load()?;
        let (before, behind) = (&padded[..place.axis], &padded[place.axis + 1..]);
        let outer = (place.outer > 1).then_some(1);
        let mut dims = vec![1];
        dims.extend(before);
        dims.extend(outer);
        dims.extend(behind);
        let name = self.new.value(id).name.clone();
        if along == 1 {
            let tensor = tensor.into_owned().reshape(dims)?;
            return Ok(self.new.constant(name, tensor));
        }
        // Made for a fixed batch: the same for every picture.
        let size = behind.iter().product::<usize>();
        let rows = before.iter().product::<usize>();
        let mut data = Vec::with_capacity(rows * size);
        for row in tensor.data().chunks_exact(along * size) {
            let first = &row[..size];
            if along != self.batch || row.chunks_exact(size).any(|other| other != first) {
                return Err(Refusal::new(
                    "reads a constant that differs between the pictures of a batch",
                ));
            }
            data.extend_from_slice(first);
        }
        Ok(self.new.constant(name, Tensor::new(dims, data)?))
    }
}
