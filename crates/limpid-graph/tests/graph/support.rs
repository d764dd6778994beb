//! Random tensors, and small random networks in dyadic numbers.
//!
//! Every weight is a multiple of a power of two, and every normalisation scales
//! by one, so that f64 arithmetic on a network is exact and two graphs that
//! compute the same thing agree to the last bit, on whichever side of a kink.

use limpid_graph::ops::{
    Add, BatchNormalization, Clip, Conv, Flatten, Gemm, GlobalAveragePool, Padding, Sigmoid,
};
use limpid_graph::reference::RefTensor;
use limpid_graph::{Fact, Graph, ValueId};
use limpid_tensor::{Shape, Tensor, philox};
use proptest::prelude::*;
use std::sync::Arc;

/// Standard normal numbers, a function of shape and seed.
pub(crate) fn normal(shape: &Shape, seed: u32) -> RefTensor {
    RefTensor::from_fn(shape, |i| {
        philox::normal4(philox::key(77), 9, [seed, 0], (i / 4) as u32)[i % 4]
    })
}

/// Multiples of 1/4 in [-2, 2].
pub(crate) fn dyadic(shape: &Shape, seed: u32) -> RefTensor {
    RefTensor::from_fn(shape, |i| {
        let word = philox::philox4x32([i as u32, seed, 0, 11], [5, 0])[0];
        (f64::from(word % 17) - 8.0) / 4.0
    })
}

pub(crate) fn dot(a: &RefTensor, b: &RefTensor) -> f64 {
    assert_eq!(a.shape, b.shape);
    a.data.iter().zip(&b.data).map(|(a, b)| a * b).sum()
}

pub(crate) fn norm(a: &RefTensor) -> f64 {
    dot(a, a).sqrt()
}

/// A layer of a random network.
#[derive(Debug, Clone)]
pub(crate) enum Block {
    Conv {
        channels: usize,
        kernel: usize,
        stride: usize,
        bias: bool,
        norm: bool,
        clip: u8,
    },
    Depthwise {
        kernel: usize,
        norm: bool,
        clip: u8,
    },
    /// Two convolutions beside each other whose sum is clipped.
    Split {
        channels: usize,
    },
    /// A residual branch: expand, depthwise, project, add.
    Residual {
        channels: usize,
        clip: u8,
    },
    Sigmoid,
}

pub(crate) fn block() -> impl Strategy<Value = Block> {
    prop_oneof![
        (
            1..4usize,
            0..2usize,
            1..3usize,
            any::<bool>(),
            any::<bool>(),
            0..4u8
        )
            .prop_map(|(channels, k, stride, bias, norm, clip)| Block::Conv {
                channels,
                kernel: 2 * k + 1,
                stride,
                bias,
                norm,
                clip,
            }),
        (0..2usize, any::<bool>(), 0..4u8).prop_map(|(k, norm, clip)| Block::Depthwise {
            kernel: 2 * k + 1,
            norm,
            clip,
        }),
        (1..4usize).prop_map(|channels| Block::Split { channels }),
        (1..4usize, 0..4u8).prop_map(|(channels, clip)| Block::Residual { channels, clip }),
        Just(Block::Sigmoid),
    ]
}

/// A random network and which of its inner values are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) input: [usize; 4],
    pub(crate) blocks: Vec<Block>,
    pub(crate) pins: Vec<bool>,
}

pub(crate) fn network() -> impl Strategy<Value = Network> {
    (
        (1..3usize, 1..4usize, 1..6usize, 1..6usize),
        prop::collection::vec(block(), 1..5),
        prop::collection::vec(prop::bool::weighted(0.15), 40),
    )
        .prop_map(|((n, c, h, w), blocks, pins)| Network {
            input: [n, c, h, w],
            blocks,
            pins,
        })
}

/// A network under construction.
pub(crate) struct Builder {
    pub(crate) graph: Graph,
    seed: u32,
    /// Every value that a layer put out.
    pub(crate) values: Vec<ValueId>,
}

impl Builder {
    pub(crate) fn new(input: &[usize]) -> (Self, ValueId) {
        let mut graph = Graph::new();
        let x = graph.input("x", Fact::f32(input));
        let values = Vec::new();
        (
            Self {
                graph,
                seed: 1,
                values,
            },
            x,
        )
    }

    pub(crate) fn constant(&mut self, shape: &[usize], f: impl Fn(f64) -> f64) -> ValueId {
        self.seed += 1;
        let t = dyadic(&shape.into(), self.seed);
        let data = t.data.iter().map(|v| f(*v) as f32).collect();
        let t = Tensor::new(shape, data).unwrap();
        self.graph.constant(format!("c{}", self.seed), Arc::new(t))
    }

    pub(crate) fn push(&mut self, op: impl Into<limpid_graph::Op>, inputs: &[ValueId]) -> ValueId {
        let name = format!("layer {}", self.values.len());
        let v = self.graph.push(name.clone(), op, inputs).unwrap()[0];
        self.graph.set_layer(name, v);
        self.values.push(v);
        v
    }

    pub(crate) fn conv(
        &mut self,
        x: ValueId,
        channels: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
        bias: bool,
    ) -> ValueId {
        let c = self.graph.fact(x).shape[1];
        let weight = self.constant(&[channels, c / groups, kernel, kernel], |v| v);
        let mut inputs = vec![x, weight];
        if bias {
            inputs.push(self.constant(&[channels], |v| v));
        }
        let op = Conv {
            strides: [stride; 2],
            groups,
            padding: Padding::SameUpper,
            ..Conv::default()
        };
        self.push(op, &inputs)
    }

    /// A normalisation whose factor is a power of two: the variance plus 0.25
    /// is 1/4, 1 or 4.
    pub(crate) fn batch_norm(&mut self, x: ValueId) -> ValueId {
        let c = [self.graph.fact(x).shape[1]];
        let sign = |v: f64| if v < 0.0 { -1.0 } else { 0.5 };
        let variance = |v: f64| [0.0, 0.75, 3.75][(v.abs() * 4.0) as usize % 3];
        let inputs = [
            x,
            self.constant(&c, sign),
            self.constant(&c, |v| v),
            self.constant(&c, |v| v),
            self.constant(&c, variance),
        ];
        self.push(BatchNormalization { epsilon: 0.25 }, &inputs)
    }

    pub(crate) fn clip(&mut self, x: ValueId, kind: u8) -> ValueId {
        let op = match kind {
            0 => return x,
            1 => Clip::relu(),
            2 => Clip {
                min: Some(0.0),
                max: Some(6.0),
            },
            _ => Clip {
                min: None,
                max: Some(1.5),
            },
        };
        self.push(op, &[x])
    }

    fn block(&mut self, x: ValueId, block: &Block) -> ValueId {
        let c = self.graph.fact(x).shape[1];
        let maybe_norm = |b: &mut Self, x, norm| if norm { b.batch_norm(x) } else { x };
        match *block {
            Block::Conv {
                channels,
                kernel,
                stride,
                bias,
                norm,
                clip,
            } => {
                let y = self.conv(x, channels, kernel, stride, 1, bias);
                let y = maybe_norm(self, y, norm);
                self.clip(y, clip)
            }
            Block::Depthwise { kernel, norm, clip } => {
                let y = self.conv(x, c, kernel, 1, c, false);
                let y = maybe_norm(self, y, norm);
                self.clip(y, clip)
            }
            Block::Split { channels } => {
                let a = self.conv(x, channels, 3, 2, 1, true);
                let b = self.conv(x, channels, 1, 2, 1, false);
                let sum = self.push(Add {}, &[a, b]);
                self.clip(sum, 1)
            }
            Block::Residual { channels, clip } => {
                let y = self.conv(x, channels, 1, 1, 1, false);
                let y = self.batch_norm(y);
                let y = self.clip(y, clip);
                let y = self.conv(y, channels, 3, 1, channels, false);
                let y = self.batch_norm(y);
                let y = self.clip(y, clip);
                let y = self.conv(y, c, 1, 1, 1, false);
                let y = self.batch_norm(y);
                self.push(Add {}, &[y, x])
            }
            Block::Sigmoid => self.push(Sigmoid {}, &[x]),
        }
    }
}

/// A built network.
pub(crate) struct Built {
    pub(crate) graph: Graph,
    pub(crate) x: ValueId,
    pub(crate) logits: ValueId,
    /// The pinned values: outputs of the graph, behind the logits.
    pub(crate) pinned: Vec<ValueId>,
}

impl Network {
    pub(crate) fn build(&self) -> Built {
        let (mut b, x) = Builder::new(&self.input);
        let mut y = x;
        for block in &self.blocks {
            y = b.block(y, block);
        }
        let y = b.push(GlobalAveragePool {}, &[y]);
        let y = b.push(Flatten { axis: 1 }, &[y]);
        let columns = b.graph.fact(y).shape[1];
        let weight = b.constant(&[3, columns], |v| v);
        let bias = b.constant(&[3], |v| v);
        let gemm = Gemm {
            trans_b: true,
            ..Gemm::default()
        };
        let logits = b.push(gemm, &[y, weight, bias]);
        let pinned: Vec<ValueId> = b
            .values
            .iter()
            .zip(&self.pins)
            .filter(|(v, pin)| **pin && **v != logits)
            .map(|(v, _)| *v)
            .collect();
        let outputs = [&[logits][..], &pinned].concat();
        b.graph.set_outputs(&outputs);
        let graph = b.graph;
        Built {
            graph,
            x,
            logits,
            pinned,
        }
    }
}
