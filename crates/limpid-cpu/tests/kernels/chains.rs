//! Inverted bottlenecks, which are computed a few rows at a time.

use super::{Failure, PRECISIONS, device_in, inputs, run, weights};
use limpid_cpu::Isa;
use limpid_graph::ops::{Add, Clip, Conv, Flatten, Gemm, GlobalAveragePool, Padding};
use limpid_graph::passes::{Rule, fuse, vjp};
use limpid_graph::{Fact, Graph, ValueId};

/// The picture, the logits, and what is inside the blocks: a stem before a
/// depthwise convolution, blocks of several strips with and without a residual
/// and a stride, one without an expansion.
fn forward(batch: usize) -> Result<(Graph, ValueId, Vec<ValueId>), Failure> {
    let mut g = Graph::new();
    let x = g.input("x", Fact::f32([batch, 3, 37, 29]));
    let relu6 = Clip {
        min: Some(0.0),
        max: Some(6.0),
    };
    let mut inner = Vec::new();
    let mut conv = |g: &mut Graph, x, shape: [usize; 4], stride: usize, groups: usize| {
        let stream = 200 + g.nodes().len() as u32;
        let w = g.constant("weight", weights(&shape, stream));
        let b = g.constant("bias", weights(&shape[..1], 100 + stream));
        let op = Conv {
            strides: [stride; 2],
            groups,
            padding: Padding::SameUpper,
            ..Conv::default()
        };
        let y = g.push("conv", op, &[x, w, b])?[0];
        // A block ends without an activation.
        if shape[1] > 32 {
            return Ok::<_, Failure>(y);
        }
        let y = g.push("relu6", relu6, &[y])?[0];
        inner.push(y);
        Ok(y)
    };
    let a = conv(&mut g, x, [40, 3, 3, 3], 1, 1)?;
    let a = conv(&mut g, a, [40, 1, 3, 3], 1, 40)?;
    let stem = conv(&mut g, a, [24, 40, 1, 1], 1, 1)?;
    let a = conv(&mut g, stem, [144, 24, 1, 1], 1, 1)?;
    let a = conv(&mut g, a, [144, 1, 5, 5], 1, 144)?;
    let a = conv(&mut g, a, [24, 144, 1, 1], 1, 1)?;
    let a = g.push("add", Add {}, &[a, stem])?[0];
    let a = conv(&mut g, a, [168, 24, 1, 1], 1, 1)?;
    let a = conv(&mut g, a, [168, 1, 3, 3], 2, 168)?;
    let a = conv(&mut g, a, [40, 168, 1, 1], 1, 1)?;
    let a = conv(&mut g, a, [40, 1, 3, 3], 1, 40)?;
    let a = conv(&mut g, a, [64, 40, 1, 1], 1, 1)?;
    let a = g.push("pool", GlobalAveragePool {}, &[a])?[0];
    let a = g.push("flatten", Flatten { axis: 1 }, &[a])?[0];
    let (w, b) = (weights(&[50, 64], 50), weights(&[50], 51));
    let (w, b) = (g.constant("weight", w), g.constant("bias", b));
    let gemm = Gemm {
        trans_b: true,
        ..Gemm::default()
    };
    let y = g.push("logits", gemm, &[a, w, b])?[0];
    g.set_outputs(&[y]);
    Ok((g, x, inner))
}

/// The network with its gradient, fused.
pub(super) fn network(batch: usize) -> Result<Graph, Failure> {
    let (g, x, _) = forward(batch)?;
    let y = g.outputs()[0];
    Ok(fuse(&vjp(&g, y, &[x], Rule::Standard)?.graph)?)
}

#[test]
fn chains_change_no_bit_and_hold_floats_in_bf16_too() -> Result<(), Failure> {
    let bits = |v: &Vec<f32>| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for isa in Isa::available() {
        let mut insides = Vec::new();
        for precision in PRECISIONS {
            let (mut g, x, inner) = forward(2)?;
            let chained = fuse(&vjp(&g, g.outputs()[0], &[x], Rule::Standard)?.graph)?;
            // What is asked for has to be there, whole.
            let outputs: Vec<ValueId> = g.outputs().iter().chain(&inner).copied().collect();
            g.set_outputs(&outputs);
            let whole = fuse(&vjp(&g, outputs[0], &[x], Rule::Standard)?.graph)?;
            let images = &inputs(&[1, 2]);
            let device = device_in(precision, isa, 2);
            let chained = run(&device, &chained, images, 0.0)?;
            let whole = run(&device, &whole, images, 0.0)?;
            assert_eq!(whole.len(), chained.len() + inner.len());
            let name = format!("{isa}, {}", precision.name());
            let both = chained.first().zip(whole.first());
            let both = both.into_iter().chain(chained.last().zip(whole.last()));
            for (chained, whole) in both {
                assert_eq!(bits(chained), bits(whole), "{name}");
            }
            insides.push(whole[1..=inner.len()].iter().map(bits).collect::<Vec<_>>());
        }
        assert_eq!(insides[0], insides[1], "{isa}");
    }
    Ok(())
}
