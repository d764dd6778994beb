//! An activation's slope is computed beside it, and nothing else changes.

use crate::support::normal;
use limpid_graph::ops::{Abs, Add, Gelu, GeluApproximation, Gemm, Op, Silu, Sqrt};
use limpid_graph::passes::{Rule, fuse_elementwise, keep_slopes, vjp};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph, ValueId};
use limpid_tensor::Tensor;
use std::sync::Arc;

fn product(graph: &mut Graph, x: ValueId, columns: usize) -> ValueId {
    let rows = graph.fact(x).shape[2];
    let weight = normal(&[rows, columns].into(), columns as u32).data;
    let weight = weight.into_iter().map(|v| v as f32).collect();
    let weight = Tensor::new([rows, columns], weight).unwrap();
    let weight = graph.constant("weight", Arc::new(weight));
    let name = format!("product {columns}");
    graph.push(name, Gemm::default(), &[x, weight]).unwrap()[0]
}

/// Two products with an activation between them, and their gradient; the first
/// is an output, too, where it is `kept`, and has a third reader where it is `read`.
fn mlp(activation: Op, [kept, read]: [bool; 2]) -> Graph {
    let mut graph = Graph::new();
    let x = graph.input("x", Fact::f32([2, 3, 5]));
    let wide = product(&mut graph, x, 8);
    let y = graph.push("activation", activation, &[wide]).unwrap()[0];
    let y = match read {
        true => {
            let s = graph.push("other", Silu {}, &[wide]).unwrap()[0];
            graph.push("sum", Add {}, &[y, s]).unwrap()[0]
        }
        false => y,
    };
    let y = product(&mut graph, y, 4);
    graph.set_outputs(&[y]);
    if kept {
        graph.set_outputs(&[y, wide]);
    }
    let gradient = vjp(&graph, y, &[x], Rule::Standard).unwrap().graph;
    fuse_elementwise(&gradient).unwrap()
}

fn run(graph: &Graph) -> Vec<RefTensor> {
    let facts = graph.inputs().iter().map(|v| graph.fact(*v));
    let inputs = facts.enumerate().map(|(i, f)| normal(&f.shape, i as u32));
    reference::run(graph, &inputs.collect::<Vec<_>>()).unwrap()
}

#[test]
fn a_slope_is_kept_instead_of_its_argument() {
    let tanh = Gelu {
        approximate: GeluApproximation::Tanh,
    };
    for activation in [Gelu::default().into(), tanh.into(), Silu {}.into()] {
        let graph = mlp(activation, [false; 2]);
        let kept = keep_slopes(&graph).unwrap();
        let names: Vec<&str> = kept.nodes().iter().map(|n| n.name.as_str()).collect();
        let expected = [
            "product 8",
            "activation",
            "slope of activation",
            "product 4",
            "grad of product 4",
            "grad of activation",
            "grad of product 8",
        ];
        assert_eq!(names, expected);
        let nodes = kept.nodes();
        assert_eq!(nodes[2].inputs, nodes[0].outputs);
        assert!(nodes[5].inputs.contains(&nodes[2].outputs[0]));
        assert!(!nodes[5].inputs.contains(&nodes[0].outputs[0]));
        for (a, b) in run(&kept).iter().zip(&run(&graph)) {
            for (a, b) in a.data.iter().zip(&b.data) {
                assert!((a - b).abs() <= 1e-14 * b.abs().max(1.0), "{a} {b}");
            }
        }
    }
}

#[test]
fn an_argument_that_others_read_stays() {
    for graph in [
        mlp(Gelu::default().into(), [true, false]),
        mlp(Gelu::default().into(), [false, true]),
        // They share no function.
        mlp(Abs {}.into(), [false; 2]),
        mlp(Sqrt {}.into(), [false; 2]),
    ] {
        let kept = keep_slopes(&graph).unwrap();
        let ops = |g: &Graph| g.nodes().iter().map(|n| n.op.clone()).collect::<Vec<_>>();
        assert_eq!(ops(&kept), ops(&graph));
    }
}
