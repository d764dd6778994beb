//! Small networks in whole numbers, as they are run: differentiated, then
//! fused. Their arithmetic is exact in f32, so every output and gradient must
//! be equal to the reference of the graph before fusion.

use crate::problem::Problem;
use limpid_graph::ops::{Add, Clip, Conv, Flatten, Gemm, GlobalAveragePool, Padding};
use limpid_graph::passes::{Rule, eliminate_dead_code, fuse, vjp};
use limpid_graph::reference::RefTensor;
use limpid_graph::{Fact, Graph, GraphError, Op, ValueId};
use limpid_tensor::{Shape, Tensor, philox};
use std::sync::Arc;

/// Whole numbers from -`size` to `size`.
fn integers(shape: &Shape, seed: u32, size: u32) -> RefTensor {
    RefTensor::from_fn(shape, |i| {
        let word = philox::philox4x32([i as u32, seed, 0, 21], [9, 0])[0];
        f64::from(word % (2 * size + 1)) - f64::from(size)
    })
}

struct Builder {
    graph: Graph,
    seed: u32,
}

impl Builder {
    fn constant(&mut self, shape: &[usize]) -> Result<ValueId, GraphError> {
        self.seed += 1;
        let t = integers(&shape.into(), self.seed, 1);
        let data = t.data.iter().map(|v| *v as f32).collect();
        let t = Arc::new(Tensor::new(shape, data)?);
        Ok(self.graph.constant(format!("weight {}", self.seed), t))
    }

    fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
        let name = format!("node {}", self.graph.nodes().len());
        Ok(self.graph.push(name, op, inputs)?[0])
    }

    /// A convolution with bias, clipped where `clip` is given.
    fn conv(
        &mut self,
        x: ValueId,
        channels: usize,
        [kernel, stride]: [usize; 2],
        groups: usize,
        clip: Option<Clip>,
    ) -> Result<ValueId, GraphError> {
        let c = self.graph.fact(x).shape[1];
        let weight = self.constant(&[channels, c / groups, kernel, kernel])?;
        let bias = self.constant(&[channels])?;
        let op = Conv {
            strides: [stride; 2],
            groups,
            padding: Padding::SameUpper,
            ..Conv::default()
        };
        let y = self.push(op, &[x, weight, bias])?;
        match clip {
            Some(clip) => self.push(clip, &[y]),
            None => Ok(y),
        }
    }

    fn head(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        let y = self.push(GlobalAveragePool {}, &[x])?;
        let y = self.push(Flatten { axis: 1 }, &[y])?;
        let columns = self.graph.fact(y).shape[1];
        let (weight, bias) = (self.constant(&[10, columns])?, self.constant(&[10])?);
        let op = Gemm {
            trans_b: true,
            ..Gemm::default()
        };
        self.push(op, &[y, weight, bias])
    }
}

fn relu6() -> Option<Clip> {
    Some(Clip {
        min: Some(0.0),
        max: Some(6.0),
    })
}

/// Inverted bottlenecks, as in EfficientNet-Lite; `size` is a multiple of 4.
fn inverted_bottlenecks(b: &mut Builder, x: ValueId) -> Result<ValueId, GraphError> {
    let y = b.conv(x, 17, [3, 2], 1, relu6())?;
    let inner = b.conv(y, 33, [1, 1], 1, relu6())?;
    let inner = b.conv(inner, 33, [3, 1], 33, relu6())?;
    let inner = b.conv(inner, 17, [1, 1], 1, None)?;
    let y = b.push(Add {}, &[inner, y])?;
    let inner = b.conv(y, 40, [1, 1], 1, relu6())?;
    let inner = b.conv(inner, 40, [5, 2], 40, relu6())?;
    b.conv(inner, 24, [1, 1], 1, None)
}

/// A residual block with a strided shortcut, and groups, as in ResNeXt.
fn residual_block(b: &mut Builder, x: ValueId) -> Result<ValueId, GraphError> {
    let relu = Some(Clip::relu());
    let x = b.conv(x, 16, [3, 2], 1, relu6())?;
    let y = b.conv(x, 20, [1, 1], 1, relu)?;
    let y = b.conv(y, 20, [3, 2], 4, relu6())?;
    let y = b.conv(y, 31, [1, 1], 1, None)?;
    let short = b.conv(x, 31, [1, 2], 1, None)?;
    let y = b.push(Add {}, &[y, short])?;
    b.push(Clip::relu(), &[y])
}

type Body = fn(&mut Builder, ValueId) -> Result<ValueId, GraphError>;

/// Output and gradient of each network, by its input and by an inner layer.
pub(crate) fn problems() -> Result<Vec<Problem>, GraphError> {
    let bodies: [(&str, Body); 2] = [
        ("inverted bottlenecks", inverted_bottlenecks),
        ("a residual block", residual_block),
    ];
    let mut problems = Vec::new();
    for (name, body) in bodies {
        for batch in [1, 3] {
            let mut b = Builder {
                graph: Graph::new(),
                seed: 0,
            };
            let shape = Shape::from([batch, 3, 16, 16]);
            let x = b.graph.input("x", Fact::f32(&shape));
            let layer = body(&mut b, x)?;
            let logits = b.head(layer)?;
            b.graph.set_outputs(&[logits, layer]);
            let plain = vjp(&b.graph, logits, &[x, layer], Rule::Standard)?.graph;
            let inputs = vec![
                integers(&shape, 200, 2),
                integers(&b.graph.fact(logits).shape, 201, 1),
            ];
            let fused = eliminate_dead_code(&fuse(&plain)?)?;
            let name = format!("network of {name}, batch {batch}");
            problems.push(Problem::exact(name.clone(), plain, inputs.clone()));
            problems.push(Problem::exact(format!("{name}, fused"), fused, inputs));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use limpid_graph::reference;

    #[test]
    fn arithmetic_is_exact_and_fusion_changes_nothing() {
        let problems = problems().unwrap();
        for pair in problems.chunks(2) {
            let values = reference::run_all(&pair[0].graph, &pair[0].inputs).unwrap();
            // The multiples of 1/64 below 2^18 are all numbers of f32.
            let largest = values
                .iter()
                .flat_map(|t| &t.data)
                .fold(0.0, |m: f64, v| m.max(v.abs()));
            assert!(largest < 2f64.powi(14), "{largest}");
            for v in values.iter().flat_map(|t| &t.data) {
                assert_eq!((v * 1024.0).fract(), 0.0);
            }
            let run = |p: &Problem| reference::run(&p.graph, &p.inputs).unwrap();
            assert_eq!(run(&pair[0]), run(&pair[1]));
            let [plain, fused] = [0, 1].map(|i| pair[i].graph.nodes().len());
            assert!(fused * 3 < plain * 2, "{fused} of {plain} nodes");
            let gradient = &run(&pair[0])[2];
            let alive = gradient.data.iter().filter(|v| **v != 0.0).count();
            assert!(
                alive * 2 > gradient.data.len(),
                "the gradient is mostly zero"
            );
        }
    }
}
