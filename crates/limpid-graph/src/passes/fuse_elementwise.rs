use super::{eliminate_dead_code, rewrite};
use crate::ops::{Elementwise, Op};
use crate::{Expr, Formula, Graph, GraphError, Node, ValueId};
use limpid_tensor::Shape;

/// The most steps and operands of a formula that fusion makes: with its result
/// as many buffers as every graphics adapter can bind.
const MAX_STEPS: usize = 64;
const MAX_OPERANDS: usize = 7;

/// Merges trees of elementwise operators into one each: an operator takes in
/// those whose results it alone reads and which have its shape. What is
/// stretched by broadcasting is not computed again for every element. Operands
/// that are read several times are loaded once, and constants of one element
/// become numbers of the formula.
///
/// Runs behind [`fuse`](super::fuse), which finds better places for sums,
/// activations and masks.
///
/// # Errors
/// None on a graph that exists; inference runs again.
pub fn fuse_elementwise(graph: &Graph) -> Result<Graph, GraphError> {
    let readers = only_readers(graph);
    let mut trees: Vec<Option<Tree>> = Vec::with_capacity(graph.nodes().len());
    let mut taken = vec![false; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        let tree = Tree::of(graph, node, |v| {
            let (producer, _) = graph.producer(v)?;
            let tree = trees[producer].as_ref()?;
            let whole = graph.fact(v).shape == graph.fact(node.outputs[0]).shape;
            (readers[v.index()] == Some(i) && whole).then_some(tree)
        });
        if let Some(tree) = &tree {
            for (producer, _) in tree.members.iter().filter_map(|v| graph.producer(*v)) {
                taken[producer] = true;
            }
        }
        trees.push(tree);
    }
    let fused = rewrite(graph, |new, map, i, node| {
        if taken[i] {
            return Ok(vec![None]);
        }
        let (op, inputs) = match trees[i].as_ref().filter(|tree| tree.improves(node)) {
            Some(tree) => (tree.operator().into(), &tree.operands),
            None => (node.op.clone(), &node.inputs),
        };
        let outs = new.push(node.name.clone(), op, &map.all(inputs))?;
        Ok(outs.into_iter().map(Some).collect())
    })?;
    eliminate_dead_code(&fused)
}

/// For each value the node that reads it, if there is one and it is no output.
fn only_readers(graph: &Graph) -> Vec<Option<usize>> {
    let mut readers: Vec<Option<usize>> = vec![None; graph.values().len()];
    let mut shared = vec![false; graph.values().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        for v in &node.inputs {
            let reader = readers[v.index()].replace(i);
            shared[v.index()] |= reader.is_some_and(|r| r != i);
        }
    }
    for v in graph.outputs() {
        shared[v.index()] = true;
    }
    let own = readers.into_iter().zip(shared);
    own.map(|(reader, shared)| reader.filter(|_| !shared))
        .collect()
}

/// An elementwise operator with those that it takes in.
struct Tree {
    formula: Formula,
    /// The values that the formula reads, each once.
    operands: Vec<ValueId>,
    /// The node's inputs whose operators are taken in.
    members: Vec<ValueId>,
}

impl Tree {
    /// The tree of a node, if that is elementwise. `below` knows the trees
    /// that may be taken in.
    fn of<'a>(
        graph: &Graph,
        node: &Node,
        below: impl Fn(ValueId) -> Option<&'a Self>,
    ) -> Option<Self> {
        let outer = node.op.formula(node.inputs.len())?;
        let shape = &graph.fact(node.outputs[0]).shape;
        let build = |members: &[ValueId], numbers: bool| {
            let mut operands: Vec<ValueId> = Vec::new();
            let mut leaf = |v: ValueId| {
                if let Some(number) = number(graph, v).filter(|_| numbers) {
                    return Formula::new(&Expr::constant(number));
                }
                let known = operands.iter().position(|o| *o == v);
                let at = known.unwrap_or(operands.len());
                if known.is_none() {
                    operands.push(v);
                }
                Formula::new(&Expr::input(at))
            };
            let inner =
                node.inputs
                    .iter()
                    .map(|&v| match below(v).filter(|_| members.contains(&v)) {
                        Some(tree) => {
                            let own = tree.operands.iter().map(|v| leaf(*v));
                            tree.formula.compose(&own.collect::<Vec<_>>())
                        }
                        None => leaf(v),
                    });
            let formula = outer.compose(&inner.collect::<Vec<_>>());
            let tree = Self {
                formula,
                operands,
                members: members.to_vec(),
            };
            tree.of_shape(graph, shape)
        };
        // Without a number that stands for a constant the rank may be too low.
        let mut tree = build(&[], true).or_else(|| build(&[], false))?;
        for &v in &node.inputs {
            if below(v).is_none() || tree.members.contains(&v) {
                continue;
            }
            let members = [&tree.members[..], &[v]].concat();
            if let Some(larger) = build(&members, true).filter(Self::is_small) {
                tree = larger;
            }
        }
        Some(tree)
    }

    /// The tree without the operands that it does not read, which it keeps
    /// where the shape of its result depends on them.
    fn of_shape(mut self, graph: &Graph, shape: &Shape) -> Option<Self> {
        let fits = |operands: &[ValueId]| {
            let mut shapes = operands.iter().map(|v| &graph.fact(*v).shape);
            let all = shapes.try_fold(Shape::from([]), |all, s| all.broadcast(s));
            !operands.is_empty() && all.as_ref() == Some(shape)
        };
        let places = 0..self.operands.len();
        let read: Vec<usize> = places.filter(|k| self.formula.reads(*k)).collect();
        let operands: Vec<ValueId> = read.iter().map(|k| self.operands[*k]).collect();
        if fits(&operands) {
            self.formula = self.formula.with_operands(&read);
            self.operands = operands;
        }
        fits(&self.operands).then_some(self)
    }

    fn is_small(&self) -> bool {
        self.formula.steps().len() <= MAX_STEPS && self.operands.len() <= MAX_OPERANDS
    }

    /// Whether there is less to do than `node`, the root of the tree, does by
    /// itself. Common operators have kernels of their own.
    fn improves(&self, node: &Node) -> bool {
        use Op::{Add, Clip, Mul, Sigmoid, Softplus, Sub};
        let direct = matches!(
            node.op,
            Add(_) | Clip(_) | Mul(_) | Sigmoid(_) | Softplus(_) | Sub(_)
        );
        !self.members.is_empty() || !direct && self.operands != node.inputs
    }

    fn operator(&self) -> Elementwise {
        Elementwise {
            formula: self.formula.clone(),
            operands: self.operands.len(),
        }
    }
}

/// The number that a constant of one element is. A product with the number 0
/// would be 0 even of what is not finite.
fn number(graph: &Graph, v: ValueId) -> Option<f64> {
    let number = graph.constant_of(v)?.number();
    let fits = number.filter(|x| x.is_finite() && *x != 0.0);
    fits.map(f64::from)
}
