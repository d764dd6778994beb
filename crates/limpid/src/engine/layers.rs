//! Layers' outputs, their gradients, and what becomes of the scores when they
//! are changed.

use super::context::values;
use super::{Engine, graphs};
use crate::Error;
use limpid_explain::{
    Attention, Attentions, ExplainError, LayerGradients, LayerVariants, Objective, Vary,
};
use limpid_graph::grid::{Grid, Maps};
use limpid_graph::ops::Op;
use limpid_graph::{Graph, ValueId};
use limpid_tensor::{Shape, Tensor};
use std::collections::HashMap;
use std::sync::Arc;

/// Where a network attends between all tokens.
#[derive(Debug, Clone)]
pub(super) struct AttentionPlaces {
    /// The weights of each attention, `[1, heads, T, T]`.
    values: Vec<ValueId>,
    before: usize,
    rows: usize,
    columns: usize,
    class_token: bool,
}

/// The layers that are maps of more than one cell, in the order in which they
/// run; one name for each value, the shortest.
pub(super) fn maps(graph: &Graph, grids: &HashMap<String, Grid>) -> Vec<String> {
    let mut named: HashMap<ValueId, &String> = HashMap::new();
    for (name, value) in graph.layers() {
        if grids.get(name).is_some_and(Grid::is_map) {
            let best = named.entry(*value).or_insert(name);
            if (name.len(), name) < (best.len(), *best) {
                *best = name;
            }
        }
    }
    let mut layers: Vec<(ValueId, &String)> = named.into_iter().collect();
    layers.sort();
    layers.into_iter().map(|(_, name)| name.clone()).collect()
}

/// Where a lowered graph attends; else why nothing can be read from it.
pub(super) fn attentions(graph: &Graph, maps: &Maps<'_>) -> Result<AttentionPlaces, String> {
    let softmax = |n: &&limpid_graph::Node| matches!(n.op, Op::Softmax(_));
    let nodes = graph.nodes().iter().filter(softmax);
    let scores: Vec<ValueId> = nodes.map(|n| n.outputs[0]).collect();
    let square: Vec<ValueId> = scores
        .iter()
        .copied()
        .filter(|v| matches!(graph.fact(*v).shape[..], [_, _, t, s] if t == s && t > 1))
        .collect();
    let Some(&first) = square.first() else {
        return Err("the network has no attention between tokens".into());
    };
    let shape = &graph.fact(first).shape;
    let same = |v: &ValueId| graph.fact(*v).shape[0] == 1 && graph.fact(*v).shape[2] == shape[2];
    let Some(tokens) = maps.tokens(first) else {
        return Err("the network's attention is not between the tokens of one grid".into());
    };
    if !square.iter().all(same) {
        return Err(
            "the network attends within windows or at several scales, not between all tokens"
                .into(),
        );
    }
    let [before, rows, columns] = tokens;
    Ok(AttentionPlaces {
        class_token: before > 0 && !maps.is_pooled(),
        values: square,
        before,
        rows,
        columns,
    })
}

/// A value of one picture, without the batch.
fn single(t: Tensor) -> Result<Tensor, Error> {
    let shape = t.dims()[1..].to_vec();
    Ok(t.reshape(shape)?)
}

/// Makes a tensor of a place's data for one picture, in C order: the place's
/// number, the extents of its value, the data.
type Make<'a> = dyn Fn(usize, &[usize], &[f32]) -> Result<Tensor, Error> + 'a;

/// The data as they are.
fn unchanged(_place: usize, dims: &[usize], data: &[f32]) -> Result<Tensor, Error> {
    Ok(Tensor::from_slice(dims, data)?)
}

impl Engine {
    /// What layers put out for one picture `[C, H, W]`, and the objectives'
    /// gradients with respect to it, of the layers' own shapes.
    pub(crate) fn layer_gradients(
        &self,
        image: &Tensor,
        layers: &[String],
        objectives: &[Objective],
    ) -> Result<Vec<LayerGradients>, Error> {
        let (network, places) = self.places(layers)?;
        self.gradients_at(&network, &places, image, objectives, &unchanged, &unchanged)
    }

    /// The same as maps `[C, h, w]`.
    pub(super) fn map_gradients(
        &self,
        image: &Tensor,
        layers: &[String],
        objectives: &[Objective],
    ) -> Result<Vec<LayerGradients>, Error> {
        let (network, places) = self.places(layers)?;
        let on_grid = |(layer, place): (&String, &ValueId)| {
            self.map_grid(layer, &network.fact(*place).shape[1..])
        };
        let grids = layers.iter().zip(&places).map(on_grid);
        let grids = grids.collect::<Result<Vec<_>, _>>()?;
        let cells = |place: usize, _: &[usize], data: &[f32]| -> Result<Tensor, Error> {
            let grid = grids[place];
            let mut cells = Tensor::zeros([grid.channels, grid.rows, grid.columns])?;
            grid.copy_cells(data, cells.data_mut());
            Ok(cells)
        };
        let zero = |values: &[f32]| values.iter().all(|v| *v == 0.0);
        let gradient = |place: usize, dims: &[usize], data: &[f32]| {
            let cells = cells(place, dims, data)?;
            if zero(cells.data()) && !zero(data) {
                return Err(ExplainError::OtherTokens {
                    layer: layers[place].clone(),
                }
                .into());
            }
            Ok(cells)
        };
        self.gradients_at(&network, &places, image, objectives, &cells, &gradient)
    }

    /// A graph that keeps these layers, and where they are.
    pub(super) fn places(&self, layers: &[String]) -> Result<(Arc<Graph>, Vec<ValueId>), Error> {
        let values = layers
            .iter()
            .map(|l| Ok(self.original.layer(l)?))
            .collect::<Result<Vec<_>, Error>>()?;
        self.network_with(layers, &values)
    }

    /// A layer's output for one picture, of its own shape.
    pub(crate) fn activation(&self, image: &Tensor, layer: &str) -> Result<Tensor, Error> {
        let (network, places) = self.places(&[layer.to_owned()])?;
        let (mut graph, map) = graphs::forward(&network, image.dims(), 1)?;
        graph.set_outputs(&[map[places[0].index()]]);
        single(self.run(&graph, &[image])?.remove(0))
    }

    fn gradients_at(
        &self,
        network: &Graph,
        places: &[ValueId],
        image: &Tensor,
        objectives: &[Objective],
        activation: &Make<'_>,
        gradient: &Make<'_>,
    ) -> Result<Vec<LayerGradients>, Error> {
        // A value that has several names is computed once.
        let mut firsts: Vec<usize> = Vec::new();
        let mut which = Vec::with_capacity(places.len());
        for (i, v) in places.iter().enumerate() {
            let known = firsts.iter().position(|first| places[*first] == *v);
            which.push(known.unwrap_or_else(|| {
                firsts.push(i);
                firsts.len() - 1
            }));
        }
        if firsts.len() < places.len() {
            let once: Vec<ValueId> = firsts.iter().map(|i| places[*i]).collect();
            let found = self.gradients_at(
                network,
                &once,
                image,
                objectives,
                &|place, dims, data| activation(firsts[place], dims, data),
                &|place, dims, data| gradient(firsts[place], dims, data),
            )?;
            return Ok(which.into_iter().map(|i| found[i].clone()).collect());
        }
        let mut found: Vec<LayerGradients> = Vec::with_capacity(places.len());
        let output = |place: usize, t: &Tensor| -> Result<LayerGradients, Error> {
            Ok(LayerGradients {
                activation: activation(place, &t.dims()[1..], t.data())?,
                gradients: Vec::with_capacity(objectives.len()),
            })
        };
        if objectives.is_empty() {
            let (mut graph, map) = graphs::forward(network, image.dims(), 1)?;
            let outputs: Vec<ValueId> = places.iter().map(|v| map[v.index()]).collect();
            graph.set_outputs(&outputs);
            self.run_each(&graph, &[image], |t| {
                found.push(output(found.len(), &t)?);
                Ok(())
            })?;
        }
        // Scores that are read off alike can share a batch.
        for alike in objectives.chunk_by(|a, b| a.readout() == b.readout()) {
            let readout = alike[0].readout();
            let dims = image.dims();
            let build = |targets| graphs::layer_gradients(network, places, readout, dims, targets);
            let batch = self.batch(alike.len() as u64, build)?;
            for objectives in alike.chunks(batch) {
                let graph = build(objectives.len())?;
                let classes = self.info.classes;
                let cotangents = graphs::cotangents(objectives, classes);
                let cotangents = Tensor::new([objectives.len(), classes], cotangents)?;
                // First all layers' outputs, then all gradients.
                let mut next = 0;
                self.run_each(&graph, &[image, &cotangents], |t| {
                    let place = next;
                    next += 1;
                    if place >= places.len() {
                        let place = place - places.len();
                        let rows = t.data().chunks((t.data().len() / objectives.len()).max(1));
                        for row in rows {
                            let row = gradient(place, &t.dims()[1..], row)?;
                            found[place].gradients.push(row);
                        }
                    } else if found.len() == place {
                        found.push(output(place, &t)?);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(found)
    }

    fn map_grid(&self, layer: &str, dims: &[usize]) -> Result<&Grid, ExplainError> {
        self.grid(layer).ok_or_else(|| ExplainError::NotSpatial {
            layer: layer.to_owned(),
            shape: Shape::from(dims).to_string(),
        })
    }

    /// The objectives for each changed output of a layer.
    pub(super) fn layer_scores(
        &self,
        request: &LayerVariants<'_>,
        vary: &mut Vary<'_>,
        mut advance: impl FnMut(u64) -> Result<(), ExplainError>,
    ) -> Result<Vec<f64>, Error> {
        let layer = request.layer.to_owned();
        let original = self.activation(request.image, &layer)?;
        let grid = *self.map_grid(&layer, original.dims())?;
        advance(1)?;
        let cells = grid.cells(original.data());
        let (network, places) = self.places(&[layer])?;
        let dims = request.image.dims();
        let build = |batch| graphs::layer_variants(&network, places[0], dims, batch);
        let batch = self.batch(request.count as u64, build)?;
        let mut scores = Vec::with_capacity(request.count * request.objectives.len());
        for first in (0..request.count).step_by(batch) {
            let batch = batch.min(request.count - first);
            let mut data = original.data().repeat(batch);
            for (i, data) in data.chunks_mut(original.data().len()).enumerate() {
                let mut variant = cells.clone();
                vary(first + i, &mut variant)?;
                grid.put_cells(&variant, data);
            }
            let shape = [&[batch], original.dims()].concat();
            let variants = Tensor::new(shape, data)?;
            let graph = build(batch)?;
            let logits = self.run(&graph, &[request.image, &variants])?.remove(0);
            values(
                logits.data(),
                self.info.classes,
                request.objectives,
                &mut scores,
            )?;
            advance(batch as u64)?;
        }
        Ok(scores)
    }

    /// The weights of the network's attentions, and their gradients.
    pub(super) fn attentions(
        &self,
        image: &Tensor,
        objectives: &[Objective],
    ) -> Result<Attentions, Error> {
        let places = self.attentions.as_ref();
        let places = places.map_err(|why| ExplainError::NoAttention(why.clone()))?;
        // No layer has such a name.
        let names = [String::new()];
        let (network, values) = self.network_with(&names, &places.values)?;
        let found =
            self.gradients_at(&network, &values, image, objectives, &unchanged, &unchanged)?;
        let layer = |found: LayerGradients| Attention {
            weights: found.activation,
            gradients: found.gradients,
        };
        Ok(Attentions {
            layers: found.into_iter().map(layer).collect(),
            before: places.before,
            rows: places.rows,
            columns: places.columns,
            class_token: places.class_token,
        })
    }
}
