//! Trees of elementwise operators become one node, and nothing else changes.

use crate::support::{dyadic, normal};
use limpid_graph::ops::{
    Abs, Add, Clip, Cos, Div, Elementwise, Erf, GlobalAveragePool, LeakyRelu, Less, Max, Min, Mul,
    Neg, PRelu, Pow, RangeMask, Reshape, Sigmoid, Silu, Sin, Softplus, Softsign, Sub, Tanh, Where,
};
use limpid_graph::passes::{Rule, fuse_elementwise, vjp};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Expr, Fact, Formula, Graph, GraphError, Op, ValueId};
use limpid_tensor::Tensor;
use proptest::prelude::*;
use std::sync::Arc;

fn names(graph: &Graph) -> Vec<&'static str> {
    graph.nodes().iter().map(|n| n.op.name()).collect()
}

fn run(graph: &Graph) -> Vec<RefTensor> {
    let facts = graph.inputs().iter().map(|v| graph.fact(*v));
    let inputs = facts.enumerate().map(|(i, f)| normal(&f.shape, i as u32));
    reference::run(graph, &inputs.collect::<Vec<_>>()).unwrap()
}

fn push(graph: &mut Graph, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
    let name = format!("node {}", graph.nodes().len());
    graph.push(name, op, inputs).unwrap()[0]
}

fn scalar(graph: &mut Graph, value: f32) -> ValueId {
    let tensor = Tensor::new([], vec![value]).unwrap();
    graph.constant("number", Arc::new(tensor))
}

/// A graph of an input of 2 x 3 and what `build` makes of it.
fn graph_of(build: impl Fn(&mut Graph, ValueId) -> Vec<ValueId>) -> Graph {
    let mut graph = Graph::new();
    let x = graph.input("x", Fact::f32([2, 3]));
    let outputs = build(&mut graph, x);
    graph.set_outputs(&outputs);
    graph
}

/// The names of the nodes after fusion, which keeps the values.
fn fused(graph: &Graph) -> Graph {
    let fused = fuse_elementwise(graph).unwrap();
    let (a, b) = (run(&fused), run(graph));
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(a.shape, b.shape);
        for (a, b) in a.data.iter().zip(&b.data) {
            assert!((a - b).abs() <= 1e-15 * b.abs().max(1.0), "{a} {b}");
        }
    }
    fused
}

#[test]
fn a_repeated_operand_is_loaded_once() {
    let graph = graph_of(|g, x| {
        let s = push(g, Sigmoid {}, &[x]);
        vec![push(g, Mul {}, &[x, s])]
    });
    let fused = fused(&graph);
    assert_eq!(fused.nodes()[0].inputs, fused.inputs());
    let x = Expr::input(0);
    let silu = Elementwise::new(&(x.clone() * x.sigmoid()), 1);
    assert_eq!(fused.nodes()[0].op, silu.into());
    assert_eq!(fused.nodes().len(), 1);
}

#[test]
fn a_chain_and_its_gradient_are_a_node_each() {
    let graph = graph_of(|g, x| {
        let y = push(g, Tanh {}, &[x]);
        let y = push(g, Silu {}, &[y]);
        let half = scalar(g, 0.5);
        vec![push(g, Mul {}, &[y, half])]
    });
    assert_eq!(names(&fused(&graph)), ["Elementwise"]);
    let wrt = graph.inputs();
    let gradient = vjp(&graph, graph.outputs()[0], wrt, Rule::Standard).unwrap();
    let fused = fused(&gradient.graph);
    // tanh x is read by both: it is computed once.
    assert_eq!(names(&fused), ["Tanh", "Elementwise", "Elementwise"]);
}

#[test]
fn what_others_read_stays() {
    let graph = graph_of(|g, x| {
        let y = push(g, Tanh {}, &[x]);
        let z = push(g, Neg {}, &[y]);
        vec![y, z]
    });
    assert_eq!(names(&fused(&graph)), ["Tanh", "Neg"], "an output");
    let graph = graph_of(|g, x| {
        let y = push(g, Tanh {}, &[x]);
        let sine = push(g, Sin {}, &[y]);
        let cosine = push(g, Cos {}, &[y]);
        vec![sine, cosine]
    });
    assert_eq!(names(&fused(&graph)), ["Tanh", "Sin", "Cos"], "two readers");
    let graph = graph_of(|g, x| {
        let y = push(g, Tanh {}, &[x]);
        let mask = push(g, RangeMask::inside(Clip::relu()), &[y]);
        let y = push(g, Neg {}, &[y]);
        vec![y, mask]
    });
    let kept = ["Tanh", "RangeMask", "Neg"];
    assert_eq!(names(&fused(&graph)), kept, "a mask");
    let mut graph = Graph::new();
    let x = graph.input("x", Fact::f32([1, 2, 3, 3]));
    let y = push(&mut graph, Tanh {}, &[x]);
    let y = push(&mut graph, GlobalAveragePool {}, &[y]);
    let y = push(&mut graph, Neg {}, &[y]);
    graph.set_outputs(&[y]);
    let kept = ["Tanh", "GlobalAveragePool", "Neg"];
    assert_eq!(names(&fused(&graph)), kept, "another operator");
}

#[test]
fn what_is_stretched_stays() {
    let graph = graph_of(|g, x| {
        let row = g.input("row", Fact::f32([3]));
        let row = push(g, Tanh {}, &[row]);
        vec![push(g, Add {}, &[x, row])]
    });
    assert_eq!(names(&fused(&graph)), ["Tanh", "Add"]);
}

#[test]
fn a_node_by_itself_stays() {
    for op in [
        Op::from(Clip::relu()),
        Sigmoid {}.into(),
        Tanh {}.into(),
        Softplus {}.into(),
    ] {
        let graph = graph_of(|g, x| vec![push(g, op.clone(), &[x])]);
        assert_eq!(fused(&graph).nodes()[0].op, op);
    }
    for op in [Op::from(Add {}), Sub {}.into(), Mul {}.into()] {
        let graph = graph_of(|g, x| {
            let half = scalar(g, 0.5);
            vec![push(g, op.clone(), &[x, half])]
        });
        assert_eq!(fused(&graph).nodes()[0].op, op);
    }
}

#[test]
fn a_power_of_a_number_is_a_product() {
    let power = |number: f32| {
        let graph = graph_of(|g, x| {
            let x = push(g, Abs {}, &[x]);
            let number = scalar(g, number);
            let y = push(g, Pow {}, &[x, number]);
            vec![x, y]
        });
        let fused = fused(&graph);
        assert_eq!(names(&fused), ["Abs", "Elementwise"]);
        fused.nodes()[1].op.clone()
    };
    let x = || Expr::input(0);
    assert_eq!(power(2.0), Elementwise::new(&(x() * x()), 1).into());
    assert_eq!(power(3.0), Elementwise::new(&(x() * x() * x()), 1).into());
    assert_eq!(power(0.5), Elementwise::new(&x().sqrt(), 1).into());
    assert_eq!(power(1.5), Elementwise::new(&x().pow(1.5), 1).into());
}

#[test]
fn a_constant_that_raises_the_rank_stays() {
    let graph = graph_of(|g, x| {
        let half = Tensor::new([1, 1, 1], vec![0.5]).unwrap();
        let half = g.constant("half", Arc::new(half));
        vec![push(g, Div {}, &[x, half])]
    });
    assert_eq!(names(&fused(&graph)), ["Div"]);
    let graph = graph_of(|g, x| {
        let zero = scalar(g, 0.0);
        let y = push(g, Mul {}, &[x, zero]);
        vec![push(g, Neg {}, &[y])]
    });
    // A product with a 0 that is given is not one that cannot be otherwise.
    assert_eq!(fused(&graph).nodes()[0].inputs.len(), 2);
}

#[test]
fn formulas_are_bounded() {
    let graph = graph_of(|g, x| {
        let y = (0..100).fold(x, |y, i| {
            let op = [Op::from(Sin {}), Erf {}.into()][i % 2].clone();
            push(g, op, &[y])
        });
        vec![y]
    });
    let long = fused(&graph);
    assert_eq!(names(&long), ["Elementwise", "Elementwise"]);
    assert!(long.nodes().iter().all(|n| steps(&n.op) <= 64));
    let graph = graph_of(|g, x| {
        let y = (0..20).fold(x, |y, i| {
            let other = g.input(format!("{i}"), Fact::f32([2, 3]));
            push(g, Add {}, &[y, other])
        });
        vec![y]
    });
    let wide = fused(&graph);
    assert_eq!(names(&wide), ["Elementwise"; 4]);
    assert!(wide.nodes().iter().all(|n| n.inputs.len() <= 7));
}

fn steps(op: &Op) -> usize {
    match op {
        Op::Elementwise(e) => e.formula.steps().len(),
        _ => 1,
    }
}

/// A node of a random graph: what it does, which values it reads, whether
/// somebody asks for it.
type Draw = (usize, [usize; 3], bool);

const SHAPES: [&[usize]; 6] = [&[2, 3, 4], &[2, 3, 4], &[3, 1], &[2, 1, 1], &[4], &[]];

/// Operators whose references compute what their formulas do, to the last bit,
/// and under which values stay small.
fn node(graph: &mut Graph, kind: usize, [a, b, c]: [ValueId; 3]) -> ValueId {
    let both = Clip {
        min: Some(-0.5),
        max: Some(0.75),
    };
    let one: [Op; 12] = [
        Abs {}.into(),
        Neg {}.into(),
        Sigmoid {}.into(),
        Softplus {}.into(),
        Tanh {}.into(),
        Sin {}.into(),
        Cos {}.into(),
        Erf {}.into(),
        Softsign {}.into(),
        Clip::relu().into(),
        both.into(),
        LeakyRelu { alpha: 0.25 }.into(),
    ];
    let two: [Op; 5] = [
        Add {}.into(),
        Sub {}.into(),
        Max {}.into(),
        Min {}.into(),
        Less {}.into(),
    ];
    match kind {
        // What reads a value without being elementwise.
        12 => {
            let shape = graph.fact(a).shape.iter().map(|d| *d as i64).collect();
            push(graph, Reshape { shape }, &[a])
        }
        0..12 => push(graph, one[kind].clone(), &[a]),
        13..18 => push(graph, two[kind - 13].clone(), &[a, b]),
        18 => {
            let product = push(graph, Mul {}, &[a, b]);
            push(graph, Softsign {}, &[product])
        }
        19 => {
            let positive = push(graph, Softplus {}, &[b]);
            let quotient = push(graph, Div {}, &[a, positive]);
            push(graph, Tanh {}, &[quotient])
        }
        20 => {
            let slope = push(graph, Sigmoid {}, &[b]);
            push(graph, PRelu {}, &[a, slope])
        }
        _ => push(graph, Where {}, &[c, a, b]),
    }
}

/// The graph of some draws; the last output reads everything.
fn random_graph(draws: &[Draw]) -> Graph {
    let mut graph = Graph::new();
    let mut values: Vec<ValueId> = (0..SHAPES.len())
        .map(|i| graph.input(format!("x{i}"), Fact::f32(SHAPES[i])))
        .collect();
    for (seed, shape) in [&[4][..], &[], &[1, 1, 1]].into_iter().enumerate() {
        let data = dyadic(&shape.into(), seed as u32);
        let data = data.data.iter().map(|v| *v as f32).collect();
        let tensor = Tensor::new(shape, data).unwrap();
        values.push(graph.constant("constant", Arc::new(tensor)));
    }
    let mut outputs = Vec::new();
    for &(kind, read, asked) in draws {
        let read = read.map(|k| values[values.len() - 1 - k % values.len()]);
        let value = node(&mut graph, kind, read);
        values.push(value);
        outputs.extend(asked.then_some(value));
    }
    let uses = graph.uses();
    let unread = values
        .into_iter()
        .filter(|v| uses.get(v.index()) == Some(&0));
    let unread: Vec<ValueId> = unread.collect();
    let sum = unread[1..]
        .iter()
        .fold(unread[0], |sum, v| push(&mut graph, Add {}, &[sum, *v]));
    outputs.push(sum);
    graph.set_outputs(&outputs);
    graph
}

/// The inputs, by position, that reach the last output.
fn reaching(graph: &Graph) -> Vec<usize> {
    let output = graph.outputs()[graph.outputs().len() - 1];
    let reaches = |i: &usize| match vjp(graph, output, &[graph.inputs()[*i]], Rule::Standard) {
        Ok(_) => true,
        Err(GraphError::NoPath { .. }) => false,
        Err(e) => panic!("{e}"),
    };
    (0..graph.inputs().len()).filter(reaches).collect()
}

/// The gradients of the last output with respect to some inputs.
fn with_gradients(graph: &Graph, wrt: &[usize]) -> Graph {
    let output = graph.outputs()[graph.outputs().len() - 1];
    let wrt: Vec<ValueId> = wrt.iter().map(|i| graph.inputs()[*i]).collect();
    vjp(graph, output, &wrt, Rule::Standard).unwrap().graph
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn values_and_gradients_stay(
        draws in prop::collection::vec(
            (0..22usize, prop::array::uniform3(0..12usize), prop::bool::weighted(0.1)), 1..24),
    ) {
        let graph = random_graph(&draws);
        for graph in [with_gradients(&graph, &reaching(&graph)), graph.clone()] {
            let fused = fuse_elementwise(&graph).unwrap();
            prop_assert!(fused.nodes().len() <= graph.nodes().len());
            prop_assert_eq!(run(&fused), run(&graph));
            for node in fused.nodes() {
                if let Op::Elementwise(e) = &node.op {
                    let alone = graph.nodes().iter().any(|n| n.op == node.op);
                    prop_assert!(alone || e.formula.steps().len() <= 64 && e.operands <= 8);
                }
            }
        }
        // What is fused has the same gradient, where it still reads the input.
        let fused = fuse_elementwise(&graph).unwrap();
        let wrt = reaching(&fused);
        let found = run(&with_gradients(&fused, &wrt));
        let expected = run(&with_gradients(&graph, &wrt));
        for (a, b) in found.iter().zip(&expected) {
            let scale = b.data.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
            for (a, b) in a.data.iter().zip(&b.data) {
                prop_assert!((a - b).abs() <= 1e-12 * scale, "{} {}", a, b);
            }
        }
    }
}

/// Values that a formula does not read count where they give it its shape.
#[test]
fn an_unread_operand_that_gives_the_shape_stays() {
    let constant = Elementwise {
        formula: Formula::new(&Expr::constant(2.0)),
        operands: 1,
    };
    let graph = graph_of(|g, x| {
        let two = push(g, constant.clone(), &[x]);
        vec![push(g, Neg {}, &[two])]
    });
    let fused = fused(&graph);
    assert_eq!(names(&fused), ["Elementwise"]);
    assert_eq!(fused.nodes()[0].inputs.len(), 1);
}
