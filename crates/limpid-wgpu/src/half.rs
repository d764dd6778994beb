//! Which values are f16 where that is asked for: the images between a network's
//! convolutions, on the way forward. Gradients stay f32, whose range they need,
//! and so do pictures, scores and whatever else is no image.

use crate::layout::Stored;
use limpid_graph::formula::{Binary, Formula, Step, Unary};
use limpid_graph::ops::Arrangement;
use limpid_graph::{Graph, Node, Op, Source, ValueId};
use limpid_tensor::DType;

/// Of what each value of a graph is made.
pub(crate) fn halves(graph: &Graph) -> Vec<Stored> {
    let mut half = vec![false; graph.values().len()];
    for node in graph.nodes() {
        let made = writes(graph, node, &half);
        half[node.outputs[0].index()] = made;
    }
    for node in graph.nodes() {
        for (i, v) in node.inputs.iter().enumerate() {
            half[v.index()] &= reads(node, i);
        }
    }
    for v in graph.outputs() {
        half[v.index()] = false;
    }
    let stored = |half| match half {
        true => Stored::F16,
        false => Stored::F32,
    };
    half.into_iter().map(stored).collect()
}

/// Whether a function of numbers of f16 stays among them, but for large ones.
fn is_tame(formula: &Formula) -> bool {
    let wild = |step: &Step| {
        matches!(
            step,
            Step::Unary(Unary::Exp, _) | Step::Binary(Binary::Pow | Binary::Div, ..)
        )
    };
    !formula.steps().iter().any(wild)
}

fn is_image(graph: &Graph, v: ValueId) -> bool {
    let fact = graph.fact(v);
    fact.dtype == DType::F32 && fact.shape.len() == 4
}

/// Whether a node's first output is made of f16, given what came before.
fn writes(graph: &Graph, node: &Node, half: &[bool]) -> bool {
    let y = node.outputs[0];
    if !is_image(graph, y) {
        return false;
    }
    match &node.op {
        Op::Conv(_) => true,
        Op::Relayout(op) => op.to == Arrangement::Half,
        Op::MaxPool(_) => half[node.inputs[0].index()],
        op if op.formula(node.inputs.len()).is_some_and(|f| is_tame(&f)) => {
            // What is broadcast, such as a gate, may be anything.
            let whole = |v: &&ValueId| {
                let constant = matches!(graph.value(**v).source, Source::Constant(_));
                !constant && graph.fact(**v).shape == graph.fact(y).shape
            };
            let mut images = node.inputs.iter().filter(whole).peekable();
            images.peek().is_some() && images.all(|v| half[v.index()])
        }
        _ => false,
    }
}

/// Whether a node's kernel reads f16 at this input.
fn reads(node: &Node, input: usize) -> bool {
    let epilogue =
        |e: &limpid_graph::ops::Epilogue| e.add && input + e.inputs() == node.inputs.len();
    match &node.op {
        Op::Conv(op) => input == 0 || epilogue(&op.epilogue),
        Op::ConvTranspose(op) => input == 0 || epilogue(&op.epilogue),
        Op::RangeMask(_) | Op::Relayout(_) => true,
        Op::MaxPool(_) | Op::MaxPoolArgmax(_) | Op::GlobalAveragePool(_) => true,
        op => op.formula(node.inputs.len()).is_some(),
    }
}
