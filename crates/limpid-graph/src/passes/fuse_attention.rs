use super::{eliminate_dead_code, rewrite};
use crate::formula::Step;
use crate::ops::{Attention, MatMul};
use crate::{Expr, Fact, Formula, Graph, GraphError, Node, Op, ValueId};

/// Writes what attention was [lowered](super::lower) to as one operator again,
/// where nobody else reads its scores or weights and `supports` says that there
/// is a kernel. The gradient reads the weights, so this is for the way forward
/// alone.
///
/// # Errors
/// None on a graph that exists; inference runs again.
pub fn fuse_attention(
    graph: &Graph,
    supports: impl Fn(&Op, &[&Fact]) -> bool,
) -> Result<Graph, GraphError> {
    let uses = graph.uses();
    let fused = rewrite(graph, |new, map, _, node| {
        let found = Lowered::ending_in(graph, &uses, node).filter(|l| {
            let facts: Vec<&Fact> = l.inputs.iter().map(|v| graph.fact(*v)).collect();
            l.op.infer(&facts).is_ok() && supports(&l.op, &facts)
        });
        let (op, inputs) = match &found {
            Some(lowered) => (&lowered.op, &lowered.inputs),
            None => (&node.op, &node.inputs),
        };
        let outs = new.push(node.name.clone(), op.clone(), &map.all(inputs))?;
        Ok(outs.into_iter().map(Some).collect())
    })?;
    eliminate_dead_code(&fused)
}

/// An attention and its operands.
struct Lowered {
    op: Op,
    inputs: Vec<ValueId>,
}

impl Lowered {
    /// The attention whose last product is `node`.
    fn ending_in(graph: &Graph, uses: &[usize], node: &Node) -> Option<Self> {
        let only = |v: ValueId| match uses[v.index()] {
            1 => graph.producer(v).map(|(_, node)| node),
            _ => None,
        };
        let product = |node: &Node, trans_b| match node.op {
            Op::MatMul(op) => {
                op == MatMul {
                    trans_a: false,
                    trans_b,
                }
            }
            _ => false,
        };
        let &[weights, v] = &node.inputs[..] else {
            return None;
        };
        let softmax = only(weights).filter(|_| product(node, false))?;
        if !matches!(&softmax.op, Op::Softmax(op) if op.axis == 3) {
            return None;
        }
        let mut scores = only(softmax.inputs[0])?;
        let mut bias = None;
        let sum = Formula::new(&(Expr::input(0) + Expr::input(1)));
        if scores.op.formula(scores.inputs.len()) == Some(sum) {
            bias = Some(scores.inputs[1]);
            scores = only(scores.inputs[0])?;
        }
        let &[mut q, k] = &scores.inputs[..] else {
            return None;
        };
        if !product(scores, true) {
            return None;
        }
        let mut scale = 1.0;
        if let Some((factor, x)) = only(q).and_then(|node| Some((factor(node)?, node.inputs[0]))) {
            (scale, q) = (factor, x);
        }
        let scale = Some(scale as f32);
        Some(Self {
            op: Attention { scale }.into(),
            inputs: [q, k, v].into_iter().chain(bias).collect(),
        })
    }
}

/// The number with which a node multiplies its only input.
fn factor(node: &Node) -> Option<f64> {
    let formula = node.op.formula(1).filter(|_| node.inputs.len() == 1)?;
    let mut factors = formula.steps().iter().filter_map(|step| match step {
        Step::Constant(c) => Some(*c),
        _ => None,
    });
    // By one is the number itself.
    let factor = factors.next_back().unwrap_or(1.0);
    let product = Formula::new(&(Expr::input(0) * factor));
    (formula == product).then_some(factor)
}
