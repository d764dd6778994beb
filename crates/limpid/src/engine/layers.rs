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
use limpid_tensor::Tensor;
use std::collections::HashMap;

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

impl Engine {
    /// What layers put out for one picture `[C, H, W]`, and the objectives'
    /// gradients with respect to it, of the layers' own shapes.
    pub(crate) fn layer_gradients(
        &self,
        image: &Tensor,
        layers: &[String],
        objectives: &[Objective],
    ) -> Result<Vec<LayerGradients>, Error> {
        let values = layers
            .iter()
            .map(|l| Ok(self.original.layer(l)?))
            .collect::<Result<Vec<_>, Error>>()?;
        let (network, places) = self.network_with(layers, &values)?;
        self.gradients_at(&network, &places, image, objectives)
    }

    /// A layer's output for one picture, of its own shape.
    pub(crate) fn activation(&self, image: &Tensor, layer: &str) -> Result<Tensor, Error> {
        let value = self.original.layer(layer)?;
        let (network, places) = self.network_with(&[layer.to_owned()], &[value])?;
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
    ) -> Result<Vec<LayerGradients>, Error> {
        if objectives.is_empty() {
            let (mut graph, map) = graphs::forward(network, image.dims(), 1)?;
            let outputs: Vec<ValueId> = places.iter().map(|v| map[v.index()]).collect();
            graph.set_outputs(&outputs);
            let alone = |activation| {
                Ok(LayerGradients {
                    activation: single(activation)?,
                    gradients: Vec::new(),
                })
            };
            return self.run(&graph, &[image])?.into_iter().map(alone).collect();
        }
        let mut found: Vec<LayerGradients> = Vec::new();
        // Scores that are read off alike can share a batch.
        for alike in objectives.chunk_by(|a, b| a.readout() == b.readout()) {
            let readout = alike[0].readout();
            let dims = image.dims();
            let build =
                |targets| graphs::layer_gradients(network, places, readout, dims, targets);
            let batch = self.batch(alike.len() as u64, build)?;
            for objectives in alike.chunks(batch) {
                let graph = build(objectives.len())?;
                let classes = self.info.classes;
                let cotangents = graphs::cotangents(objectives, classes);
                let cotangents = Tensor::new([objectives.len(), classes], cotangents)?;
                let mut outputs = self.run(&graph, &[image, &cotangents])?;
                let gradients = outputs.split_off(places.len());
                if found.is_empty() {
                    for activation in outputs {
                        found.push(LayerGradients {
                            activation: single(activation)?,
                            gradients: Vec::with_capacity(alike.len()),
                        });
                    }
                }
                for (found, gradient) in found.iter_mut().zip(gradients) {
                    let shape = found.activation.shape();
                    let rows = gradient.data().chunks(found.activation.data().len().max(1));
                    for row in rows {
                        found.gradients.push(Tensor::new(&shape[..], row.to_vec())?);
                    }
                }
            }
        }
        Ok(found)
    }

    /// A layer's output and gradients as maps `[C, h, w]`.
    pub(super) fn cells(
        &self,
        layer: &str,
        found: &LayerGradients,
    ) -> Result<LayerGradients, ExplainError> {
        let grid = self.map_grid(layer, found.activation.shape())?;
        let map = |t: &Tensor| {
            let shape = [grid.channels, grid.rows, grid.columns];
            Tensor::new(shape, grid.cells(t.data()))
        };
        let zero = |t: &Tensor| t.data().iter().all(|v| *v == 0.0);
        let mut gradients = Vec::with_capacity(found.gradients.len());
        for gradient in &found.gradients {
            let cells = map(gradient)?;
            if zero(&cells) && !zero(gradient) {
                return Err(ExplainError::OtherTokens {
                    layer: layer.to_owned(),
                });
            }
            gradients.push(cells);
        }
        Ok(LayerGradients {
            activation: map(&found.activation)?,
            gradients,
        })
    }

    fn map_grid(&self, layer: &str, shape: &limpid_tensor::Shape) -> Result<&Grid, ExplainError> {
        self.grid(layer).ok_or_else(|| ExplainError::NotSpatial {
            layer: layer.to_owned(),
            shape: shape.to_string(),
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
        let grid = *self.map_grid(&layer, original.shape())?;
        advance(1)?;
        let cells = grid.cells(original.data());
        let value = self.original.layer(&layer)?;
        let (network, places) = self.network_with(&[layer], &[value])?;
        let dims = request.image.dims();
        let build = |batch| graphs::layer_variants(&network, places[0], dims, batch);
        let batch = self.batch(request.count as u64, build)?;
        let mut scores = Vec::with_capacity(request.count * request.objectives.len());
        for first in (0..request.count).step_by(batch) {
            let batch = batch.min(request.count - first);
            let mut data = original.data().repeat(batch);
            for (i, data) in data.chunks_mut(original.data().len()).enumerate() {
                let mut variant = cells.clone();
                vary(first + i, &mut variant);
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
        let found = self.gradients_at(&network, &values, image, objectives)?;
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
