use super::rewrite;
use crate::{Graph, GraphError};

/// Drops the nodes that no output needs. Inputs stay, and constants, which
/// cost nothing.
///
/// # Errors
/// None on a graph that exists; inference runs again.
pub fn eliminate_dead_code(graph: &Graph) -> Result<Graph, GraphError> {
    let live = live_nodes(graph);
    rewrite(graph, |new, map, i, node| {
        if !live[i] {
            return Ok(vec![None; node.outputs.len()]);
        }
        let outs = new.push(node.name.clone(), node.op.clone(), &map.all(&node.inputs))?;
        Ok(outs.into_iter().map(Some).collect())
    })
}

fn live_nodes(graph: &Graph) -> Vec<bool> {
    let mut wanted = vec![false; graph.values().len()];
    for v in graph.outputs() {
        wanted[v.index()] = true;
    }
    let mut live = vec![false; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate().rev() {
        live[i] = node.outputs.iter().any(|v| wanted[v.index()]);
        if live[i] {
            for v in &node.inputs {
                wanted[v.index()] = true;
            }
        }
    }
    live
}
