use super::{Mapping, eliminate_dead_code, rewrite};
use crate::ops::{Add, Clip, Epilogue, MaskMul, Op, RangeMask};
use crate::{Graph, GraphError, Node, ValueId};

/// Fuses elementwise work into the product or convolution before it: a
/// residual or gradient sum, an activation, the storing of its mask, the
/// multiplication by one. A pooling stores the taps that its gradient reads.
/// A value that is an output, or read elsewhere, stays.
///
/// # Errors
/// None on a graph that exists; inference runs again.
pub fn fuse(graph: &Graph) -> Result<Graph, GraphError> {
    let uses = graph.uses();
    let masks = masks_by_value(graph);
    let chains: Vec<Option<Chain>> = (0..graph.nodes().len())
        .map(|i| Chain::from(graph, &uses, &masks, i))
        .collect();
    let mut absorbed = vec![false; graph.nodes().len()];
    let mut ends: Vec<Option<usize>> = vec![None; graph.nodes().len()];
    for (start, chain) in chains.iter().enumerate() {
        let Some(chain) = chain else { continue };
        absorbed[start] = true;
        for &member in chain.members.iter().chain(&chain.mask) {
            absorbed[member] = true;
        }
        // The fused node stands where its last member stood: by then every
        // other operand exists.
        ends[chain.emit_at(start)] = Some(start);
    }
    // An activation that is fused into nothing is followed by its mask at
    // once: of the two, only the mask lives on until the gradient.
    let mut followed: Vec<Option<usize>> = vec![None; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        if let (Op::Clip(_), false) = (&node.op, absorbed[i])
            && let Some(mask) = masks[node.outputs[0].index()]
        {
            followed[i] = Some(mask);
            absorbed[mask] = true;
        }
    }
    // A pooling puts out the taps that its gradient reads.
    let mut taps: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        let Op::MaxPoolArgmax(argmax) = &node.op else {
            continue;
        };
        let pooling = |n: &Node| n.op == Op::MaxPool(argmax.pool) && n.inputs == node.inputs;
        if let Some(pool) = graph.nodes()[..i].iter().position(pooling) {
            taps[pool].push(i);
            absorbed[i] = true;
        }
    }
    let mut late: Vec<(ValueId, ValueId)> = Vec::new();
    let fused = rewrite(graph, |new, map, i, node| {
        if let Some(start) = ends[i] {
            let chain = chains[start].as_ref().expect("ends point at chains");
            let outs = chain.emit(new, graph, map, &graph.nodes()[start])?;
            if let Some(mask) = chain.mask {
                late.push((graph.nodes()[mask].outputs[0], outs[1]));
            }
            let own = |old: &ValueId| (*old == chain.value).then_some(outs[0]);
            let value = node.outputs.iter().map(own).collect();
            return Ok(value);
        }
        if absorbed[i] {
            // A mask that was made earlier, beside or behind its value.
            let own = |old: &ValueId| late.iter().find(|(o, _)| o == old).map(|(_, n)| *n);
            return Ok(node.outputs.iter().map(own).collect());
        }
        let mut op = node.op.clone();
        if let (Op::MaxPool(pool), false) = (&mut op, taps[i].is_empty()) {
            pool.store_argmax = true;
        }
        let mut outs = new.push(node.name.clone(), op, &map.all(&node.inputs))?;
        for &argmax in &taps[i] {
            late.push((graph.nodes()[argmax].outputs[0], outs[1]));
        }
        outs.truncate(node.outputs.len());
        if let Some(mask) = followed[i].map(|mask| &graph.nodes()[mask]) {
            let made = new.push(mask.name.clone(), mask.op.clone(), &outs)?[0];
            late.push((mask.outputs[0], made));
        }
        Ok(outs.into_iter().map(Some).collect())
    })?;
    eliminate_dead_code(&fused)
}

/// For each value the node that makes its mask, if exactly one does.
fn masks_by_value(graph: &Graph) -> Vec<Option<usize>> {
    let mut found: Vec<Vec<usize>> = vec![Vec::new(); graph.values().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        if matches!(node.op, Op::RangeMask(_)) {
            found[node.inputs[0].index()].push(i);
        }
    }
    found
        .into_iter()
        .map(|nodes| (nodes.len() == 1).then(|| nodes[0]))
        .collect()
}

/// A product or convolution and what is fused into it.
struct Chain {
    epilogue: Epilogue,
    /// The nodes fused, in order, without the mask's.
    members: Vec<usize>,
    /// The node whose mask is stored.
    mask: Option<usize>,
    /// The inputs that the epilogue adds.
    extra: Vec<ValueId>,
    /// The value that the fused node makes, in the old graph.
    value: ValueId,
}

impl Chain {
    fn from(graph: &Graph, uses: &[usize], masks: &[Option<usize>], start: usize) -> Option<Self> {
        let node = &graph.nodes()[start];
        if !epilogue_of(&node.op)?.is_none() {
            return None;
        }
        let mut chain = Self {
            epilogue: Epilogue::default(),
            members: Vec::new(),
            mask: None,
            extra: Vec::new(),
            value: node.outputs[0],
        };
        while chain.extend(graph, uses, masks, start) {}
        // The mask of the final value, where it is an activation's.
        if let (Some(clip), Some(mask)) = (chain.epilogue.clip, masks[chain.value.index()])
            && let Op::RangeMask(range) = &graph.nodes()[mask].op
            && *range == RangeMask::inside(clip)
        {
            chain.epilogue.store_mask = Some(*range);
            chain.mask = Some(mask);
        }
        (!chain.epilogue.is_none()).then_some(chain)
    }

    /// Takes the only reader of the chain's value, if it fits behind what there is.
    fn extend(
        &mut self,
        graph: &Graph,
        uses: &[usize],
        masks: &[Option<usize>],
        start: usize,
    ) -> bool {
        let only = uses[self.value.index()] == 1 && masks[self.value.index()].is_none();
        if !only || graph.outputs().contains(&self.value) {
            return false;
        }
        let reader = graph
            .nodes()
            .iter()
            .enumerate()
            .skip(start + 1)
            .find(|(_, n)| n.inputs.contains(&self.value));
        let Some((i, node)) = reader else {
            return false;
        };
        let fresh = self.epilogue.clip.is_none() && !self.epilogue.mask_mul;
        let other = |node: &Node| {
            let first = node.inputs[0] == self.value;
            node.inputs[usize::from(first)]
        };
        let shape = &graph.fact(self.value).shape;
        match &node.op {
            Op::Add(Add {}) if fresh && !self.epilogue.add => {
                let addend = other(node);
                // The addend must exist before this node; where it is a fused
                // product itself, one of the two takes the other.
                if graph.fact(addend).shape != *shape || addend == self.value {
                    return false;
                }
                if is_later_product(graph, addend, start) {
                    return false;
                }
                self.epilogue.add = true;
                self.extra.push(addend);
            }
            Op::Clip(clip @ Clip { .. }) if fresh => self.epilogue.clip = Some(*clip),
            Op::MaskMul(MaskMul {}) if fresh && node.inputs[0] == self.value => {
                self.epilogue.mask_mul = true;
                self.extra.push(node.inputs[1]);
            }
            _ => return false,
        }
        self.members.push(i);
        self.value = node.outputs[0];
        true
    }

    fn emit_at(&self, start: usize) -> usize {
        self.members.last().copied().unwrap_or(start)
    }

    fn emit(
        &self,
        new: &mut Graph,
        graph: &Graph,
        map: &Mapping,
        product: &Node,
    ) -> Result<Vec<ValueId>, GraphError> {
        let mut op = product.op.clone();
        if let Some(epilogue) = epilogue_mut(&mut op) {
            *epilogue = self.epilogue;
        }
        let inputs = [&product.inputs[..], &self.extra].concat();
        let name = graph.value(self.value).name.clone();
        new.push(name, op, &map.all(&inputs))
    }
}

/// Whether a value is made, alone, by a product behind node `start`: that one,
/// the last of the two, takes the sum into its epilogue.
fn is_later_product(graph: &Graph, value: ValueId, start: usize) -> bool {
    graph
        .producer(value)
        .is_some_and(|(i, n)| i > start && epilogue_of(&n.op).is_some())
}

fn epilogue_of(op: &Op) -> Option<&Epilogue> {
    match op {
        Op::Conv(op) => Some(&op.epilogue),
        Op::ConvTranspose(op) => Some(&op.epilogue),
        Op::Gemm(op) => Some(&op.epilogue),
        _ => None,
    }
}

fn epilogue_mut(op: &mut Op) -> Option<&mut Epilogue> {
    match op {
        Op::Conv(op) => Some(&mut op.epilogue),
        Op::ConvTranspose(op) => Some(&mut op.epilogue),
        Op::Gemm(op) => Some(&mut op.epilogue),
        _ => None,
    }
}
