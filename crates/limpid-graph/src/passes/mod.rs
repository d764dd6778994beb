//! Passes: pure functions from graph to graph.
//!
//! A model runs through them in this order: [`lower`], [`fold_constants`], [`fold_batch_norm`],
//! [`vjp`], [`eliminate_dead_code`], [`fuse_attention`], [`fuse`], [`fuse_elementwise`], [`keep_slopes`].
//! Layers that somebody asks for are made outputs first; a pass never removes an output nor
//! fuses through one.

mod dead_code;
mod fold_batch_norm;
mod fold_constants;
mod fuse;
mod fuse_attention;
mod fuse_elementwise;
mod keep_slopes;
mod lower;
mod recognize;
mod vjp;

pub use dead_code::eliminate_dead_code;
pub use fold_batch_norm::fold_batch_norm;
pub use fold_constants::{MAX_CONSTANT_WORK, constants_of, fold_constants};
pub use fuse::fuse;
pub use fuse_attention::fuse_attention;
pub use fuse_elementwise::fuse_elementwise;
pub use keep_slopes::keep_slopes;
pub use lower::{LowerContext, lower};
pub use recognize::recognize;
pub use vjp::{Gradient, LayerRule, Lrp, Rule, VjpContext, vjp, vjp_with_baseline};

use crate::{Graph, GraphError, Node, Source, ValueId};

/// Copies `graph` node by node. `visit` emits what stands for a node and
/// returns the new values of its outputs.
fn rewrite(
    graph: &Graph,
    mut visit: impl FnMut(
        &mut Graph,
        &Mapping,
        usize,
        &Node,
    ) -> Result<Vec<Option<ValueId>>, GraphError>,
) -> Result<Graph, GraphError> {
    let mut new = Graph::new();
    let mut map = Mapping(vec![None; graph.values().len()]);
    for (i, v) in graph.values().iter().enumerate() {
        map.0[i] = match &v.source {
            Source::Input(_) => Some(new.input(v.name.clone(), v.fact.clone())),
            Source::Constant(c) => Some(new.constant(v.name.clone(), c)),
            Source::Node { .. } => None,
        };
    }
    for (i, node) in graph.nodes().iter().enumerate() {
        let outputs = visit(&mut new, &map, i, node)?;
        for (old, value) in node.outputs.iter().zip(outputs) {
            map.0[old.index()] = value.or(map.0[old.index()]);
        }
    }
    let outputs: Vec<ValueId> = graph.outputs().iter().map(|v| map.get(*v)).collect();
    new.set_outputs(&outputs);
    for (name, v) in graph.layers() {
        if let Some(value) = map.0[v.index()] {
            new.set_layer(name.clone(), value);
        }
    }
    Ok(new)
}

/// Where the values of the old graph are in the new one.
struct Mapping(Vec<Option<ValueId>>);

impl Mapping {
    /// The new value of `old`, which a live node reads.
    fn get(&self, old: ValueId) -> ValueId {
        self.0[old.index()].expect("a pass keeps every value that is still read")
    }

    fn all(&self, old: &[ValueId]) -> Vec<ValueId> {
        old.iter().map(|v| self.get(*v)).collect()
    }
}
