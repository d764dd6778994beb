//! A network that goes from images to tokens and back, so that its values lie
//! in every layout.

use crate::{Failure, weights};
use limpid_graph::ops::{
    Add, Attention, Clip, Concat, Conv, Flatten, Gelu, Gemm, GlobalAveragePool, GroupNormalization,
    LayerNormalization, MaxPool, Mul, Op, Padding, Reshape, Roll, Sigmoid, Slice, Transpose,
};
use limpid_graph::passes::{Rule, fuse, fuse_elementwise, keep_slopes, lower, vjp};
use limpid_graph::{Fact, Graph, ValueId};

struct Builder {
    graph: Graph,
    stream: u32,
}

impl Builder {
    fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId, Failure> {
        let name = format!("node {}", self.graph.nodes().len());
        Ok(self.graph.push(name, op, inputs)?[0])
    }

    fn constant(&mut self, shape: &[usize]) -> ValueId {
        self.stream += 1;
        self.graph.constant("weight", weights(shape, self.stream))
    }

    fn conv(&mut self, x: ValueId, shape: [usize; 4], stride: usize) -> Result<ValueId, Failure> {
        let inputs = self.graph.fact(x).shape[1];
        let op = Conv {
            strides: [stride; 2],
            groups: inputs / shape[1],
            padding: Padding::SameUpper,
            ..Conv::default()
        };
        let (w, b) = (self.constant(&shape), self.constant(&shape[..1]));
        self.push(op, &[x, w, b])
    }

    fn linear(&mut self, x: ValueId, columns: usize) -> Result<ValueId, Failure> {
        let rows = *self.graph.fact(x).shape.last().expect("a matrix");
        let (w, b) = (self.constant(&[columns, rows]), self.constant(&[columns]));
        let op = Gemm {
            trans_b: true,
            ..Gemm::default()
        };
        self.push(op, &[x, w, b])
    }

    fn normalize(&mut self, x: ValueId) -> Result<ValueId, Failure> {
        let shape = self.graph.fact(x).shape.to_vec();
        let (axis, last) = (shape.len() - 1, shape[shape.len() - 1]);
        let (scale, bias) = (self.constant(&[last]), self.constant(&[last]));
        let op = LayerNormalization {
            axis,
            epsilon: 1e-5,
        };
        self.push(op, &[x, scale, bias])
    }

    fn reshape(&mut self, x: ValueId, shape: &[i64]) -> Result<ValueId, Failure> {
        let shape = shape.to_vec();
        self.push(Reshape { shape }, &[x])
    }

    fn transpose(&mut self, x: ValueId, perm: &[usize]) -> Result<ValueId, Failure> {
        let perm = perm.to_vec();
        self.push(Transpose { perm }, &[x])
    }

    /// Six heads of four numbers a token.
    fn head(&mut self, tokens: ValueId) -> Result<ValueId, Failure> {
        let x = self.linear(tokens, 24)?;
        let x = self.reshape(x, &[0, -1, 6, 4])?;
        self.transpose(x, &[0, 2, 1, 3])
    }
}

/// The network with its gradient, fused. Its inputs are those of
/// [`network`](crate::network); it puts out the logits, the attention's
/// result, which lies in C order, and the gradient.
pub(crate) fn network(batch: usize) -> Result<Graph, Failure> {
    let mut b = Builder {
        graph: Graph::new(),
        stream: 300,
    };
    let x = b.graph.input("x", Fact::f32([batch, 3, 37, 29]));
    let stem = b.conv(x, [24, 3, 3, 3], 2)?;
    let pool = MaxPool {
        kernel: [3, 3],
        strides: [2, 2],
        padding: Padding::Explicit([1; 4]),
        ..MaxPool::default()
    };
    let image = b.push(pool, &[stem])?;
    let mean = b.push(GlobalAveragePool {}, &[image])?;
    let gate = b.conv(mean, [24, 24, 1, 1], 1)?;
    let gate = b.push(Sigmoid {}, &[gate])?;
    let image = b.push(Mul {}, &[image, gate])?;

    let tokens = b.reshape(image, &[0, 24, -1])?;
    let tokens = b.transpose(tokens, &[0, 2, 1])?;
    let class = b.constant(&[1, 1, 24]);
    let tokens = b.push(Concat { axis: 1 }, &[class, tokens])?;
    let normal = b.normalize(tokens)?;
    let heads = [b.head(normal)?, b.head(normal)?, b.head(normal)?];
    let attended = b.push(Attention { scale: None }, &heads)?;
    let a = b.transpose(attended, &[0, 2, 1, 3])?;
    let a = b.reshape(a, &[0, -1, 24])?;
    let a = b.linear(a, 96)?;
    let a = b.push(Gelu::default(), &[a])?;
    let a = b.linear(a, 24)?;
    let tokens = b.push(Add {}, &[tokens, a])?;

    let rest = Slice {
        axis: 1,
        start: 1,
        step: 1,
        count: -1,
    };
    let grid = b.push(rest, &[tokens])?;
    let grid = b.reshape(grid, &[0, 10, 8, 24])?;
    let grid = b.push(Roll { axis: 1, shift: -3 }, &[grid])?;
    let grid = b.normalize(grid)?;
    let grid = b.linear(grid, 41)?;
    let grid = b.push(Gelu::default(), &[grid])?;
    let grid = b.linear(grid, 24)?;
    let grid = b.transpose(grid, &[0, 3, 1, 2])?;
    let image = b.push(Add {}, &[image, grid])?;

    let image = b.push(Clip::relu(), &[image])?;
    let image = b.conv(image, [24, 1, 3, 3], 1)?;
    let (scale, bias) = (b.constant(&[24]), b.constant(&[24]));
    let groups = GroupNormalization {
        num_groups: 4,
        epsilon: 1e-5,
    };
    let image = b.push(groups, &[image, scale, bias])?;
    let image = b.push(GlobalAveragePool {}, &[image])?;
    let flat = b.push(Flatten { axis: 1 }, &[image])?;
    let y = b.linear(flat, 50)?;
    b.graph.set_outputs(&[y, attended]);
    let graph = lower(&b.graph)?;
    let (x, y) = (graph.inputs()[0], graph.outputs()[0]);
    let gradient = vjp(&graph, y, &[x], Rule::Standard)?.graph;
    Ok(keep_slopes(&fuse_elementwise(&fuse(&gradient)?)?)?)
}
