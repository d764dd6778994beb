use crate::{Fact, Graph, GraphError, Node, Source, ValueId};
use limpid_tensor::{Shape, TensorError};
use std::ops::Range;
use std::sync::Arc;

/// Where a value lives while a plan runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In the buffer bound to this input.
    Input(usize),
    /// In the buffer bound to this output.
    Output(usize),
    /// Among the weights, which the device keeps in its own form.
    Constant,
    /// In the arena, at these bytes.
    Arena(Range<usize>),
}

/// A node as a plan runs it.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its position.
    pub index: usize,
}

/// A graph with a place for each value. Values whose lifetimes do not meet
/// share bytes of one arena.
#[derive(Debug, Clone)]
pub struct Plan {
    graph: Arc<Graph>,
    locations: Vec<Location>,
    arena_bytes: usize,
}

impl Plan {
    /// Plans `graph` for a device that stores a value in `storage_bytes` of
    /// its fact and wants every value at a multiple of `alignment` bytes.
    ///
    /// # Errors
    /// When the sizes overflow, or an output is not made by a node.
    pub fn new(
        graph: Arc<Graph>,
        storage_bytes: impl Fn(&Fact) -> Result<usize, TensorError>,
        alignment: usize,
    ) -> Result<Self, GraphError> {
        let facts = Arc::clone(&graph);
        Self::by_value(graph, |v| storage_bytes(facts.fact(v)), |i| i, alignment)
    }

    /// Plans `graph` for a device that stores equal facts in different ways,
    /// for which `storage_bytes` is asked for each value, and that runs some
    /// nodes at once: `turn` is when a node of this position runs, and never
    /// falls from one node to the next.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn by_value(
        graph: Arc<Graph>,
        storage_bytes: impl Fn(ValueId) -> Result<usize, TensorError>,
        turn: impl Fn(usize) -> usize,
        alignment: usize,
    ) -> Result<Self, GraphError> {
        check_outputs(&graph)?;
        let lifetimes = lifetimes(&graph, turn);
        let mut locations = Vec::with_capacity(graph.values().len());
        let mut arena = Vec::new();
        for (i, v) in graph.values().iter().enumerate() {
            let output = graph.outputs().iter().position(|o| o.index() == i);
            locations.push(match (&v.source, output) {
                (Source::Input(k), _) => Location::Input(*k),
                (Source::Constant(_), _) => Location::Constant,
                (_, Some(k)) => Location::Output(k),
                _ => {
                    let bytes = storage_bytes(ValueId(i as u32))?;
                    let size = bytes
                        .checked_next_multiple_of(alignment)
                        .ok_or_else(|| TensorError::Overflow(v.fact.shape.clone()))?;
                    arena.push(Block {
                        value: i,
                        size,
                        life: lifetimes[i].clone(),
                        start: 0,
                    });
                    // The place is known once all blocks are.
                    Location::Arena(0..size)
                }
            });
        }
        let arena_bytes = place(&mut arena)?;
        for block in arena {
            locations[block.value] = Location::Arena(block.start..block.start + block.size);
        }
        Ok(Self {
            graph,
            locations,
            arena_bytes,
        })
    }

    /// The graph.
    #[must_use]
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The nodes in the order in which they run.
    pub fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let nodes = self.graph.nodes().iter().enumerate();
        nodes.map(|(index, node)| Step { node, index })
    }

    /// Where a value lives.
    #[must_use]
    pub fn location(&self, value: ValueId) -> &Location {
        &self.locations[value.index()]
    }

    /// The bytes of the arena.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// The lowest place, in the arena or behind it, where so many bytes are free
    /// while these nodes run.
    #[must_use]
    pub fn free(&self, nodes: Range<usize>, bytes: usize) -> usize {
        let all = self.graph.nodes();
        let read = all[nodes.start..].iter().flat_map(|n| &n.inputs);
        let made = all[nodes.clone()].iter().flat_map(|n| &n.outputs);
        let exists = |v: &&ValueId| {
            let maker = self.graph.producer(**v);
            maker.is_some_and(|(node, _)| node < nodes.end)
        };
        let busy = read.chain(made).filter(exists).filter_map(|v| {
            let Location::Arena(place) = self.location(*v) else {
                return None;
            };
            Some((place.start, place.end))
        });
        gap(busy.collect(), bytes)
    }
}

/// An output's buffer is written by the one node that makes it.
fn check_outputs(graph: &Graph) -> Result<(), GraphError> {
    for (k, v) in graph.outputs().iter().enumerate() {
        let value = graph.value(*v);
        let reason = match value.source {
            Source::Node { .. } if !graph.outputs()[..k].contains(v) => continue,
            Source::Node { .. } => "listed twice",
            Source::Input(_) => "an input",
            Source::Constant(_) => "a constant",
        };
        let name = value.name.clone();
        return Err(GraphError::Output { name, reason });
    }
    Ok(())
}

/// The turns from a value's making to its last reading, both included; empty
/// for what no node makes.
fn lifetimes(graph: &Graph, turn: impl Fn(usize) -> usize) -> Vec<Range<usize>> {
    let mut lives = vec![0..0; graph.values().len()];
    for (index, node) in graph.nodes().iter().enumerate() {
        let step = turn(index);
        for v in &node.outputs {
            // A value that nobody reads still needs room while it is written.
            lives[v.index()] = step..step + 1;
        }
        for v in &node.inputs {
            if !lives[v.index()].is_empty() {
                lives[v.index()].end = step + 1;
            }
        }
    }
    lives
}

struct Block {
    value: usize,
    size: usize,
    life: Range<usize>,
    start: usize,
}

/// Places the largest blocks first, each at the lowest offset where no block
/// alive at the same time stands; returns the bytes used.
fn place(blocks: &mut [Block]) -> Result<usize, TensorError> {
    blocks.sort_by(|a, b| b.size.cmp(&a.size).then(a.value.cmp(&b.value)));
    let mut total = 0;
    for i in 0..blocks.len() {
        let (placed, rest) = blocks.split_at_mut(i);
        let block = &mut rest[0];
        let meets = |b: &&Block| b.life.start < block.life.end && block.life.start < b.life.end;
        let busy = placed.iter().filter(meets);
        let start = gap(
            busy.map(|b| (b.start, b.start + b.size)).collect(),
            block.size,
        );
        let end = start
            .checked_add(block.size)
            .ok_or_else(|| TensorError::Overflow(Shape::from([block.size])))?;
        block.start = start;
        total = total.max(end);
    }
    Ok(total)
}

/// The lowest offset where `size` bytes meet none of the `busy` ones.
fn gap(mut busy: Vec<(usize, usize)>, size: usize) -> usize {
    busy.sort_unstable();
    let mut start = 0;
    for (from, to) in busy {
        if start + size <= from {
            break;
        }
        start = start.max(to);
    }
    start
}
