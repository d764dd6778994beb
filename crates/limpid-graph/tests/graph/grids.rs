//! Rows and columns of the picture, followed through tokens and windows.

use limpid_graph::grid::Maps;
use limpid_graph::ops::{
    Add, Clip, Concat, Conv, Gemm, GlobalAveragePool, MatMul, Normalize, ReduceSum, Reshape,
    Softmax, Transpose,
};
use limpid_graph::passes::lower;
use limpid_graph::{Fact, Graph, Op, ValueId};
use limpid_tensor::Tensor;
use std::sync::Arc;

struct Net(Graph, ValueId);

impl Net {
    /// A picture of 8 x 12 pixels cut into patches of 2 x 2 with 5 channels.
    fn patches() -> Self {
        let mut g = Graph::new();
        let x = g.input("x", Fact::f32([1, 3, 8, 12]));
        let mut net = Self(g, x);
        let weight = net.constant(&[5, 3, 2, 2]);
        let strides = [2, 2];
        net.push(
            "patches",
            Conv {
                strides,
                ..Conv::default()
            },
            &[weight],
        );
        net
    }

    fn constant(&mut self, shape: &[usize]) -> ValueId {
        self.0
            .constant("c", Arc::new(Tensor::zeros(shape).unwrap()))
    }

    /// Puts a layer behind the last value.
    fn push(&mut self, name: &str, op: impl Into<Op>, more: &[ValueId]) -> ValueId {
        let inputs = [&[self.1], more].concat();
        self.1 = self.0.push(name, op, &inputs).unwrap()[0];
        self.0.set_layer(name, self.1);
        self.1
    }

    fn reshape(&mut self, name: &str, shape: &[i64]) -> ValueId {
        self.push(
            name,
            Reshape {
                shape: shape.to_vec(),
            },
            &[],
        )
    }

    fn transpose(&mut self, name: &str, perm: &[usize]) -> ValueId {
        self.push(
            name,
            Transpose {
                perm: perm.to_vec(),
            },
            &[],
        )
    }

    /// Rows, columns and the cells of a value whose elements count up from 0.
    fn cells(&self, layer: &str) -> Option<(usize, usize, Vec<f32>)> {
        let graph = lower(&self.0).unwrap();
        let v = graph.layer(layer).unwrap();
        let grid = Maps::of(&graph).grid(v)?;
        let n = graph.fact(v).shape.elements().unwrap();
        let data: Vec<f32> = (0..n).map(|i| i as f32).collect();
        Some((grid.rows, grid.columns, grid.cells(&data)))
    }
}

#[test]
fn tokens_behind_a_class_token_are_a_grid() {
    let mut net = Net::patches();
    assert_eq!(net.cells("patches").unwrap().0, 4);
    net.reshape("flat", &[0, 5, -1]);
    let tokens = net.transpose("tokens", &[0, 2, 1]);
    let (rows, columns, cells) = net.cells("tokens").unwrap();
    assert_eq!((rows, columns), (4, 6));
    // Channel 1 of cell (0, 0), then of (0, 1).
    assert_eq!(cells[24..26], [1.0, 6.0]);
    let class = net.constant(&[1, 1, 5]);
    net.1 = class;
    net.push("all", Concat { axis: 1 }, &[tokens]);
    let position = net.constant(&[1, 25, 5]);
    net.push("embedded", Add {}, &[position]);
    let (rows, columns, cells) = net.cells("embedded").unwrap();
    assert_eq!((rows, columns), (4, 6));
    assert_eq!(cells[..2], [5.0, 10.0]);
    let block = net.1;
    let scale = net.constant(&[5]);
    net.1 = net
        .0
        .push("norm1", Normalize { epsilon: 1e-6 }, &[block])
        .unwrap()[0];
    let norm = net.push("norm1", limpid_graph::ops::Mul {}, &[scale]);
    let key = net.constant(&[5, 5]);
    let k = net.push("k", Gemm::default(), &[key]);
    net.1 = norm;
    let q = net.push("q", Gemm::default(), &[key]);
    net.1 = q;
    let product = MatMul {
        trans_b: true,
        ..MatMul::default()
    };
    net.push("scores", product, &[k]);
    net.push("weights", Softmax { axis: 2 }, &[]);
    net.push("mixed", MatMul::default(), &[k]);
    assert_eq!(net.cells("mixed").unwrap().0, 4);
    net.push("block", Add {}, &[block]);
    net.0.set_outputs(&[net.1]);
    let graph = lower(&net.0).unwrap();
    assert_eq!(Maps::of(&graph).default_layer().as_deref(), Some("norm1"));
}

#[test]
fn windows_come_back_through_the_residual() {
    let mut net = Net::patches();
    let x = net.transpose("nhwc", &[0, 2, 3, 1]);
    assert_eq!(net.cells("nhwc").unwrap().2[..2], [0.0, 5.0]);
    net.reshape("split", &[-1, 2, 2, 3, 2, 5]);
    assert!(net.cells("split").is_none());
    net.transpose("windows", &[0, 1, 3, 2, 4, 5]);
    net.reshape("tokens", &[-1, 4, 5]);
    assert!(net.cells("tokens").is_none());
    net.reshape("back", &[-1, 2, 3, 2, 2, 5]);
    net.transpose("order", &[0, 1, 3, 2, 4, 5]);
    net.reshape("whole", &[-1, 4, 6, 5]);
    net.push("block", Add {}, &[x]);
    let (rows, columns, cells) = net.cells("block").unwrap();
    assert_eq!((rows, columns, cells[1]), (4, 6, 5.0));
    // Merging 2 x 2 patches.
    net.reshape("pairs", &[-1, 2, 2, 3, 2, 5]);
    net.transpose("near", &[0, 1, 3, 4, 2, 5]);
    net.reshape("merged", &[-1, 2, 3, 20]);
    let (rows, columns, _) = net.cells("merged").unwrap();
    assert_eq!((rows, columns), (2, 3));
    net.push("pooled", ReduceSum { axes: vec![1, 2] }, &[]);
    let graph = lower(&net.0).unwrap();
    assert_eq!(Maps::of(&graph).default_layer().as_deref(), Some("merged"));
}

#[test]
fn a_pooling_of_one_cell_is_no_map() {
    let mut net = Net::patches();
    net.push("relu", Clip::relu(), &[]);
    let weight = net.constant(&[7, 5, 4, 6]);
    net.push("fc1", Conv::default(), &[weight]);
    net.push("pool", GlobalAveragePool {}, &[]);
    let graph = lower(&net.0).unwrap();
    assert_eq!(Maps::of(&graph).default_layer().as_deref(), Some("relu"));
}

#[test]
fn a_window_over_channels_is_no_map() {
    let mut net = Net::patches();
    let x = net.1;
    net.push("pooled", GlobalAveragePool {}, &[]);
    net.reshape("line", &[-1, 1, 1, 5]);
    let weight = net.constant(&[1, 1, 1, 3]);
    let padding = limpid_graph::ops::Padding::SameUpper;
    net.push(
        "over channels",
        Conv {
            padding,
            ..Conv::default()
        },
        &[weight],
    );
    assert!(net.cells("over channels").is_none());
    let gate = net.reshape("gate", &[-1, 5, 1, 1]);
    net.1 = x;
    net.push("gated", limpid_graph::ops::Mul {}, &[gate]);
    assert_eq!(net.cells("gated").unwrap().0, 4);
}
