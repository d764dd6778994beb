//! Which values of a graph are images and which lie in C order, and where one
//! is turned into the other.

use crate::chains::bottlenecks;
use crate::layout::{Class, Precision};
use limpid_graph::ops::{Epilogue, Relayout};
use limpid_graph::{Fact, Graph, GraphError, Node, Op, Source, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

/// What an operator asks of an operand or a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// This class.
    Fixed(Class),
    /// The class that all operands and results of this form have.
    Shared,
    /// As [`Shared`](Self::Shared), but images are of floats.
    Floats,
    /// As [`Shared`](Self::Shared), but images may be of either precision; a
    /// result is of the one that its readers want.
    Mixed,
    /// An image of either precision, rather of bf16; a result is of the one
    /// that its readers want.
    Either,
    /// As it is; a result is made in the class that its readers want.
    Free,
}

const IMAGE: Form = Form::Fixed(Class::Image);
const FLAT: Form = Form::Fixed(Class::Flat);

impl Form {
    /// The class that a reader of this form wants, if it has an opinion.
    /// `asked` is what is wanted of its result.
    fn wanted(self, asked: Option<Class>) -> Option<Class> {
        match self {
            Self::Fixed(class) => Some(class),
            Self::Shared | Self::Mixed => asked,
            Self::Floats => asked.map(Class::of_floats),
            Self::Either => Some(Class::Half),
            Self::Free => None,
        }
    }

    /// The class of an operand or a result. `shared` is what all of the
    /// node's have, `own` the operand's or what is wanted of the result.
    fn class(self, shared: Class, own: Class) -> Class {
        match self {
            Self::Fixed(class) => class,
            Self::Shared => shared,
            Self::Floats => shared.of_floats(),
            Self::Mixed if shared == Class::Flat => Class::Flat,
            Self::Mixed | Self::Either if own == Class::Half => Class::Half,
            Self::Mixed | Self::Either => Class::Image,
            Self::Free => own,
        }
    }
}

/// What an operator asks of its operands, and of its results. `image` is the
/// class of the images that a convolution reads and makes.
fn forms(op: &Op, inputs: &[&Fact], rank: usize, image: Class) -> (Vec<Form>, Form) {
    let count = inputs.len();
    // A value of another rank is read by its own strides.
    let stretched = |f: &&Fact| {
        if f.shape.len() == rank {
            Form::Mixed
        } else {
            FLAT
        }
    };
    // An image, and what an epilogue adds and multiplies. The rest are
    // parameters.
    let window = |epilogue: &Epilogue| {
        let mut forms = vec![IMAGE; count - epilogue.inputs()];
        forms[0] = Form::Fixed(image);
        forms.resize(count, Form::Either);
        (forms, Form::Fixed(image))
    };
    if op.formula(count).is_some() {
        return (inputs.iter().map(stretched).collect(), Form::Mixed);
    }
    match op {
        Op::Conv(conv) => window(&conv.epilogue),
        Op::ConvTranspose(conv) => window(&conv.epilogue),
        Op::MaxPool(_) | Op::MaxPoolArgmax(_) | Op::MaxPoolGradient(_) => {
            (vec![Form::Either; count], Form::Either)
        }
        Op::GlobalAveragePool(_) => (vec![Form::Either], IMAGE),
        Op::Expand(_) => (inputs.iter().map(stretched).collect(), Form::Mixed),
        Op::Clip(_) | Op::MaskMul(_) | Op::RangeMask(_) => (vec![Form::Mixed; count], Form::Mixed),
        Op::Concat(_) => {
            // Of one precision: parts with few channels or pixels are floats.
            let half = |f: &&Fact| Class::Half.precision(f) == Precision::Bf16;
            let form = if inputs.iter().all(half) {
                Form::Shared
            } else {
                Form::Floats
            };
            (vec![form; count], form)
        }
        Op::AxisFilter(_) | Op::ReduceMax(_) | Op::ReduceSum(_) => {
            (vec![Form::Floats; count], Form::Floats)
        }
        Op::Gemm(gemm) => {
            // Its own are the rows, the weights and the bias.
            let (rows, out) = if rank == 2 {
                (Form::Free, Form::Shared)
            } else {
                (FLAT, FLAT)
            };
            let mut forms = vec![FLAT; count - gemm.epilogue.inputs()];
            forms[0] = rows;
            forms.resize(count, out);
            (forms, out)
        }
        Op::MatMul(_)
        | Op::Normalize(_)
        | Op::NormalizeGradient(_)
        | Op::Softmax(_)
        | Op::SoftmaxGradient(_) => (vec![FLAT; count], FLAT),
        Op::Flatten(_) | Op::Reshape(_) | Op::Transpose(_) => (vec![Form::Free; count], Form::Free),
        Op::Relayout(relayout) => (
            vec![Form::Fixed(relayout.from.into())],
            Form::Fixed(relayout.to.into()),
        ),
        Op::WeightedSum(_) => {
            let mut forms = vec![IMAGE; count];
            forms[1] = FLAT;
            (forms, IMAGE)
        }
        _ => (vec![IMAGE; count], IMAGE),
    }
}

/// The classes of a graph's values, and those in which nodes read them.
pub(crate) struct Assignment {
    /// Of each value. A constant has that of each of its readers.
    values: Vec<Class>,
    /// Of each node's operands.
    operands: Vec<Vec<Class>>,
}

impl Assignment {
    /// Assigns a class to every value, for a device that multiplies such numbers.
    pub(crate) fn new(graph: &Graph, precision: Precision) -> Self {
        // Without bf16, an image is one of floats.
        let made = |class: Class| match precision {
            Precision::F32 => class.of_floats(),
            Precision::Bf16 => class,
        };
        let exact = bottlenecks(graph);
        let wanted = wanted(graph, &exact);
        let mut values = vec![Class::Image; graph.values().len()];
        let mut operands = Vec::with_capacity(graph.nodes().len());
        for (node, exact) in graph.nodes().iter().zip(&exact) {
            let (inputs, outputs) = node_forms(graph, node, *exact);
            let asked = node.outputs.iter().find_map(|v| wanted[v.index()]);
            let shared = shared(graph, node, &inputs, &values).or(asked);
            let shared = shared.unwrap_or(Class::Image);
            let read = node.inputs.iter().zip(&inputs);
            let read = read.map(|(v, form)| made(form.class(shared, values[v.index()])));
            operands.push(read.collect());
            for v in &node.outputs {
                let own = wanted[v.index()].unwrap_or(Class::Image);
                values[v.index()] = made(outputs.class(shared, own));
            }
        }
        Self { values, operands }
    }

    /// The class of a value that is no constant.
    pub(crate) fn value(&self, v: ValueId) -> Class {
        self.values[v.index()]
    }

    /// The classes in which a node reads its operands.
    pub(crate) fn operands(&self, node: usize) -> &[Class] {
        &self.operands[node]
    }

    /// Whether a value has another class than is wanted.
    fn differs(&self, graph: &Graph, v: ValueId, wanted: Class) -> bool {
        let computed = !graph.is_constant(v);
        computed && Class::differ(self.value(v), wanted, graph.fact(v))
    }

    /// Whether every node can read every value as it lies, and every output
    /// lies as its buffer does.
    pub(crate) fn is_consistent(&self, graph: &Graph) -> bool {
        let read = graph.nodes().iter().zip(&self.operands);
        let mut read = read.flat_map(|(node, classes)| node.inputs.iter().zip(classes));
        let outputs = graph.outputs();
        !read.any(|(v, class)| self.differs(graph, *v, *class))
            && !outputs
                .iter()
                .any(|v| self.differs(graph, *v, Class::Image))
    }
}

fn node_forms(graph: &Graph, node: &Node, exact: bool) -> (Vec<Form>, Form) {
    let facts: Vec<&Fact> = node.inputs.iter().map(|v| graph.fact(*v)).collect();
    let rank = graph.fact(node.outputs[0]).shape.len();
    let image = if exact { Class::Image } else { Class::Half };
    forms(&node.op, &facts, rank, image)
}

/// The class that the first reader with an opinion wants each value to have.
fn wanted(graph: &Graph, exact: &[bool]) -> Vec<Option<Class>> {
    let mut wanted = vec![None; graph.values().len()];
    for v in graph.outputs() {
        wanted[v.index()] = Some(Class::Image);
    }
    for (node, exact) in graph.nodes().iter().zip(exact).rev() {
        let asked = node.outputs.iter().find_map(|v| wanted[v.index()]);
        let (inputs, _) = node_forms(graph, node, *exact);
        for (v, form) in node.inputs.iter().zip(inputs) {
            wanted[v.index()] = form.wanted(asked).or(wanted[v.index()]);
        }
    }
    wanted
}

/// The class of the first operand that decides for all: one with the result's
/// images, or else any, whose class is known and matters.
fn shared(graph: &Graph, node: &Node, forms: &[Form], values: &[Class]) -> Option<Class> {
    let shape = &graph.fact(node.outputs[0]).shape;
    let decides = |v: &ValueId| {
        let computed = !graph.is_constant(*v);
        computed && Class::matters(&graph.fact(*v).shape)
    };
    let operands = || {
        let all = node.inputs.iter().zip(forms);
        let shared =
            all.filter(|(_, form)| matches!(form, Form::Shared | Form::Floats | Form::Mixed));
        shared.map(|(v, _)| *v).filter(decides)
    };
    // All axes but the batch's: the classes do not depend on it.
    let whole = operands().find(|v| graph.fact(*v).shape.get(1..) == shape.get(1..));
    whole.or(operands().next()).map(|v| values[v.index()])
}

/// Rounds of conversions; two are rare.
const CONVERSIONS: usize = 8;

/// The graph with a [`Relayout`] wherever a value is needed in another class
/// than it is made in. Readers share it. Where none is needed, nothing changes.
///
/// # Errors
/// None on a graph that exists; inference runs again.
pub(crate) fn convert(
    mut graph: Arc<Graph>,
    precision: Precision,
) -> Result<Arc<Graph>, GraphError> {
    // What is inserted is a reader with a wish of its own, which may move the
    // value before it: then that is converted in its turn.
    for _ in 0..CONVERSIONS {
        let assignment = Assignment::new(&graph, precision);
        if assignment.is_consistent(&graph) {
            break;
        }
        let mut rewriting = Rewriting {
            old: &graph,
            assignment: &assignment,
            new: Graph::new(),
            map: Vec::with_capacity(graph.values().len()),
            converted: HashMap::new(),
        };
        rewriting.run()?;
        graph = Arc::new(rewriting.new);
    }
    Ok(graph)
}

struct Rewriting<'a> {
    old: &'a Graph,
    assignment: &'a Assignment,
    new: Graph,
    /// Where the old values are.
    map: Vec<Option<ValueId>>,
    /// Old values in classes that they are not made in.
    converted: HashMap<(ValueId, Class), ValueId>,
}

impl Rewriting<'_> {
    fn run(&mut self) -> Result<(), GraphError> {
        let old = self.old;
        for v in old.values() {
            self.map.push(match &v.source {
                Source::Input(_) => Some(self.new.input(v.name.clone(), v.fact.clone())),
                Source::Constant(c) => Some(self.new.constant(v.name.clone(), c)),
                Source::Node { .. } => None,
            });
        }
        for (i, node) in old.nodes().iter().enumerate() {
            let classes = self.assignment.operands(i);
            let mut inputs = Vec::with_capacity(node.inputs.len());
            for (v, class) in node.inputs.iter().zip(classes) {
                inputs.push(self.read(*v, *class)?);
            }
            let outputs = self.new.push(node.name.clone(), node.op.clone(), &inputs)?;
            for (v, new) in node.outputs.iter().zip(outputs) {
                self.map[v.index()] = Some(new);
            }
        }
        let mut outputs = Vec::with_capacity(old.outputs().len());
        for v in old.outputs() {
            outputs.push(self.read(*v, Class::Image)?);
        }
        self.new.set_outputs(&outputs);
        for (name, v) in old.layers() {
            if let Some(new) = self.map[v.index()] {
                self.new.set_layer(name.clone(), new);
            }
        }
        Ok(())
    }

    /// An old value, to be read in this class.
    fn read(&mut self, v: ValueId, class: Class) -> Result<ValueId, GraphError> {
        let made = self.map[v.index()].expect("nodes stand in topological order");
        if !self.assignment.differs(self.old, v, class) {
            return Ok(made);
        }
        if let Some(converted) = self.converted.get(&(v, class)) {
            return Ok(*converted);
        }
        let relayout = Relayout {
            from: self.assignment.value(v).into(),
            to: class.into(),
        };
        let name = self.old.value(v).name.clone();
        let converted = self.new.push(name, relayout, &[made])?[0];
        self.converted.insert((v, class), converted);
        Ok(converted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limpid_graph::ops::{
        Add, Clip, Conv, Elementwise, GlobalAveragePool, MatMul, Reshape, Softmax, Transpose,
    };
    use limpid_graph::{Expr, GraphError};
    use limpid_tensor::{Tensor, philox};

    /// A graph of `count` nodes on images of 20 x 6 x 6, drawn by `seed`.
    fn draw(seed: u32, count: u32) -> Result<Graph, GraphError> {
        let mut graph = Graph::new();
        let shape = [2, 20, 6, 6];
        let mut values = vec![graph.input("x", Fact::f32(shape))];
        let weight = Tensor::new([20, 20, 1, 1], vec![0.1; 400]).unwrap();
        let weight = graph.constant("weight", Arc::new(weight));
        let image = Tensor::new(shape, vec![0.5; 2 * 20 * 36]).unwrap();
        values.push(graph.constant("image", Arc::new(image)));
        let mut outputs = Vec::new();
        for i in 0..count {
            let words = philox::philox4x32([i, 0, 0, 0], [seed, 0]);
            let pick = |word: u32| values[word as usize % values.len()];
            let (a, b) = (pick(words[1]), pick(words[2]));
            let perm = vec![0, 1, 3, 2];
            let (op, inputs): (Op, Vec<ValueId>) = match words[0] % 8 {
                0 => (Conv::default().into(), vec![a, weight]),
                1 => (Softmax { axis: 3 }.into(), vec![a]),
                2 => (MatMul::default().into(), vec![a, b]),
                3 => (Transpose { perm }.into(), vec![a]),
                4 => (
                    Reshape {
                        shape: vec![0, 20, 6, 6],
                    }
                    .into(),
                    vec![a],
                ),
                5 => (Clip::relu().into(), vec![a]),
                6 => (Add {}.into(), vec![a, b]),
                _ => {
                    let mean = graph.push("mean", GlobalAveragePool {}, &[a])?[0];
                    let [x, y] = [0, 1].map(Expr::input);
                    (Elementwise::new(&(x * y), 2).into(), vec![mean, b])
                }
            };
            let made = graph.push(format!("node {i}"), op, &inputs)?[0];
            values.push(made);
            if words[3].is_multiple_of(5) || i + 1 == count {
                outputs.push(made);
            }
        }
        graph.set_outputs(&outputs);
        Ok(graph)
    }

    #[test]
    fn a_converted_graph_is_consistent() {
        let mut conversions = 0;
        for seed in 0..4000 {
            let precision = [Precision::F32, Precision::Bf16][seed as usize % 2];
            let graph = Arc::new(draw(seed, 2 + seed % 15).unwrap());
            let converted = convert(Arc::clone(&graph), precision).unwrap();
            let again = Assignment::new(&converted, precision);
            assert!(again.is_consistent(&converted), "seed {seed}");
            assert!(Arc::ptr_eq(
                &convert(Arc::clone(&converted), precision).unwrap(),
                &converted
            ));
            conversions += converted.nodes().len() - graph.nodes().len();
            // A value is converted once to a class.
            let relayouts = converted.nodes().iter().filter_map(|n| match n.op {
                Op::Relayout(r) => Some((n.inputs[0], r.to)),
                _ => None,
            });
            let mut relayouts: Vec<_> = relayouts.collect();
            let count = relayouts.len();
            relayouts.sort();
            relayouts.dedup();
            assert_eq!(relayouts.len(), count, "seed {seed}");
        }
        assert!(conversions > 1000, "{conversions}");
    }

    #[test]
    fn tokens_and_plain_images_need_no_conversion() {
        let mut graph = Graph::new();
        let x = graph.input("x", Fact::f32([2, 7, 32]));
        let y = graph.push("softmax", Softmax { axis: 2 }, &[x]).unwrap()[0];
        let z = graph.push("add", Add {}, &[x, y]).unwrap()[0];
        let picture = graph.input("picture", Fact::f32([2, 3, 8, 8]));
        let line = graph.push("line", Softmax { axis: 3 }, &[picture]).unwrap()[0];
        let row = graph.input("row", Fact::f32([2, 48]));
        let row = graph.push("row", Softmax { axis: 1 }, &[row]).unwrap()[0];
        graph.set_outputs(&[z, line, row]);
        let graph = Arc::new(graph);
        assert!(Arc::ptr_eq(
            &convert(Arc::clone(&graph), Precision::Bf16).unwrap(),
            &graph
        ));
    }
}
