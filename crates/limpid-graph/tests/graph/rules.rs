//! The rules of backpropagation other than the derivative.

mod fixtures;
mod laws;
mod robust;

use crate::support::{norm, normal};
use limpid_graph::ops::{
    Add, Attention, AveragePool, Clip, Conv, Flatten, Gelu, Gemm, GlobalAveragePool,
    LayerNormalization, MaxPool, Mul, Padding, ReduceMean, Reshape, Sigmoid, Silu, Transpose,
};
use limpid_graph::passes::{LayerRule, Lrp, Rule, fold_batch_norm, lower, vjp, vjp_with_baseline};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph, Op, ValueId};
use limpid_tensor::Tensor;
use std::sync::Arc;

/// A network, its input and its output.
struct Network {
    graph: Graph,
    x: ValueId,
    y: ValueId,
}

impl Network {
    /// The network as the rules see it.
    fn of(mut graph: Graph, y: ValueId) -> Self {
        graph.set_outputs(&[y]);
        Self::lowered(&fold_batch_norm(&lower(&graph).unwrap()).unwrap())
    }

    fn lowered(graph: &Graph) -> Self {
        Self {
            graph: graph.clone(),
            x: graph.inputs()[0],
            y: graph.outputs()[0],
        }
    }

    fn run(&self, x: &RefTensor) -> RefTensor {
        reference::run(&self.graph, std::slice::from_ref(x))
            .unwrap()
            .remove(0)
    }

    fn map(&self, rule: Rule, x: &RefTensor, cotangent: &RefTensor) -> RefTensor {
        let made = vjp(&self.graph, self.y, &[self.x], rule).unwrap();
        let inputs = [x.clone(), cotangent.clone()];
        reference::run(&made.graph, &inputs).unwrap().pop().unwrap()
    }

    /// DeepLift's multipliers times the difference.
    fn rescaled(&self, x: &RefTensor, baseline: &RefTensor, cotangent: &RefTensor) -> RefTensor {
        let mut graph = self.graph.clone();
        let reference = graph.input("baseline", Fact::f32(&baseline.shape));
        let made = vjp_with_baseline(&graph, self.y, &[self.x], Rule::DeepLift, Some(reference));
        let inputs = [x.clone(), baseline.clone(), cotangent.clone()];
        let m = reference::run(&made.unwrap().graph, &inputs)
            .unwrap()
            .pop()
            .unwrap();
        m.zip(&x.zip(baseline, |a, b| a - b), |m, d| m * d)
    }
}

fn assert_close(what: &str, found: &RefTensor, expected: &RefTensor, within: f64) {
    assert_eq!(found.shape, expected.shape, "{what}");
    let error = norm(&found.zip(expected, |a, b| a - b)) / norm(expected).max(1e-9);
    assert!(error <= within, "{what}: the relative error is {error:e}");
}

fn sum(t: &RefTensor) -> f64 {
    t.data.iter().sum()
}

/// Hardly any stabilizer.
const SMALL: f32 = 1e-10;

/// One rule for every layer, with hardly any stabilizer.
fn bare(rule: LayerRule) -> Lrp {
    Lrp {
        stabilizer: SMALL,
        ..Lrp::uniform(rule)
    }
}

/// A network under construction, of normal weights of the size that keeps
/// activations.
struct Builder {
    graph: Graph,
    x: ValueId,
    seed: u32,
}

impl Builder {
    fn new(input: &[usize]) -> Self {
        let mut graph = Graph::new();
        let x = graph.input("x", Fact::f32(input));
        Self { graph, x, seed: 40 }
    }

    fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        self.graph.push("layer", op, inputs).unwrap()[0]
    }

    fn weight(&mut self, shape: &[usize]) -> ValueId {
        self.seed += 1;
        let fan: usize = shape[1..].iter().product();
        let size = (2.0 / fan as f64).sqrt();
        let data = normal(&shape.into(), self.seed).data;
        let data = data.into_iter().map(|v| (v * size) as f32).collect();
        let tensor = Tensor::new(shape, data).unwrap();
        self.graph.constant("weight", Arc::new(tensor))
    }

    fn conv(&mut self, x: ValueId, channels: usize, groups: usize) -> ValueId {
        let c = self.graph.fact(x).shape[1];
        let weight = self.weight(&[channels, c / groups, 3, 3]);
        let op = Conv {
            groups,
            padding: Padding::Explicit([1; 4]),
            ..Conv::default()
        };
        self.push(op, &[x, weight])
    }

    fn gemm(&mut self, x: ValueId, columns: usize) -> ValueId {
        let k = *self.graph.fact(x).shape.last().unwrap();
        let weight = self.weight(&[columns, k]);
        let op = Gemm {
            trans_b: true,
            ..Gemm::default()
        };
        self.push(op, &[x, weight])
    }

    /// The mean over the picture and a fully connected layer.
    fn head(mut self, x: ValueId) -> Network {
        let x = self.push(GlobalAveragePool {}, &[x]);
        let x = self.push(Flatten { axis: 1 }, &[x]);
        let y = self.gemm(x, 3);
        Network::of(self.graph, y)
    }

    fn max_pool(&mut self, x: ValueId) -> ValueId {
        let pool = MaxPool {
            kernel: [3; 2],
            strides: [2; 2],
            padding: Padding::Explicit([1; 4]),
            ..MaxPool::default()
        };
        self.push(pool, &[x])
    }

    fn average_pool(&mut self, x: ValueId) -> ValueId {
        let pool = AveragePool {
            kernel: [2; 2],
            strides: [2; 2],
            ..AveragePool::default()
        };
        self.push(pool, &[x])
    }
}

/// Convolutions, a residual branch, both poolings and ReLUs, without a bias.
fn relu_network(rectify: bool) -> Network {
    let mut b = Builder::new(&[1, 3, 12, 12]);
    let relu = |b: &mut Builder, x| match rectify {
        true => b.push(Clip::relu(), &[x]),
        false => x,
    };
    let x = b.conv(b.x, 6, 1);
    let mut x = relu(&mut b, x);
    if rectify {
        x = b.max_pool(x);
    }
    let y = b.conv(x, 6, 2);
    let y = relu(&mut b, y);
    let y = b.conv(y, 6, 1);
    // A term of a sum may be negative without a positive part, and z+ then has
    // nobody to give its share to.
    let y = relu(&mut b, y);
    let x = b.push(Add {}, &[x, y]);
    let x = relu(&mut b, x);
    let x = b.average_pool(x);
    b.head(x)
}

fn one_hot(target: usize) -> RefTensor {
    RefTensor::from_fn([1, 3], |i| f64::from(u8::from(i == target)))
}

/// Squeeze and excitation, GELU, SiLU, overlapping windows, attention over the
/// pixels, layer normalisation.
fn curved_network() -> Network {
    let mut b = Builder::new(&[2, 3, 8, 8]);
    let x = b.conv(b.x, 8, 1);
    let x = b.push(Silu {}, &[x]);
    let x = b.max_pool(x);
    let s = b.push(ReduceMean { axes: vec![2, 3] }, &[x]);
    let s = b.push(Reshape { shape: vec![0, 8] }, &[s]);
    let s = b.gemm(s, 8);
    let s = b.push(Sigmoid {}, &[s]);
    let s = b.push(
        Reshape {
            shape: vec![0, 8, 1, 1],
        },
        &[s],
    );
    let x = b.push(Mul {}, &[x, s]);
    let t = b.push(
        Reshape {
            shape: vec![0, 8, 16],
        },
        &[x],
    );
    let t = b.push(
        Transpose {
            perm: vec![0, 2, 1],
        },
        &[t],
    );
    let norm = LayerNormalization {
        axis: 2,
        epsilon: 1e-5,
    };
    let n = b.push(norm, &[t]);
    let heads = [0, 1, 2].map(|_| {
        let v = b.gemm(n, 8);
        let v = b.push(
            Reshape {
                shape: vec![0, 16, 2, 4],
            },
            &[v],
        );
        b.push(
            Transpose {
                perm: vec![0, 2, 1, 3],
            },
            &[v],
        )
    });
    let a = b.push(Attention { scale: Some(1.5) }, &heads);
    let a = b.push(
        Transpose {
            perm: vec![0, 2, 1, 3],
        },
        &[a],
    );
    let a = b.push(
        Reshape {
            shape: vec![0, 16, 8],
        },
        &[a],
    );
    let t = b.push(Add {}, &[t, a]);
    let n = b.push(norm, &[t]);
    let n = b.gemm(n, 16);
    let n = b.push(Gelu::default(), &[n]);
    let n = b.gemm(n, 8);
    let t = b.push(Add {}, &[t, n]);
    let t = b.push(ReduceMean { axes: vec![1] }, &[t]);
    let t = b.push(Reshape { shape: vec![0, 8] }, &[t]);
    let y = b.gemm(t, 3);
    Network::of(b.graph, y)
}

/// Each picture's sum of DeepLift's contributions and its difference of scores.
fn completeness(network: &Network, x: &RefTensor, baseline: &RefTensor) -> Vec<[f64; 2]> {
    let [y, there] = [x, baseline].map(|x| network.run(x));
    let u = RefTensor::from_fn(&y.shape, |i| [1.0, -0.5, 0.25][i % 3]);
    let parts = network.rescaled(x, baseline, &u);
    let n = y.shape[0];
    let per_picture = |t: &RefTensor, picture: usize| -> f64 {
        let size = t.data.len() / n;
        t.data[picture * size..][..size].iter().sum()
    };
    let scores = y.zip(&there, |a, b| a - b).zip(&u, |d, u| d * u);
    (0..n)
        .map(|i| [per_picture(&parts, i), per_picture(&scores, i)])
        .collect()
}
