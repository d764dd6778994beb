//! What the rules must do by their definitions.

use super::{
    Builder, Network, SMALL, assert_close, bare, completeness, curved_network, one_hot,
    relu_network, sum,
};
use crate::support::normal;
use limpid_graph::ops::{BatchNormalization, Clip, Conv, Gemm, GlobalAveragePool, Mul, Sigmoid};
use limpid_graph::passes::{LayerRule, Lrp, Rule};
use limpid_graph::reference::{self, RefTensor};
use limpid_tensor::Tensor;
use std::sync::Arc;

#[test]
fn relevance_is_conserved_where_there_is_no_bias() {
    let network = relu_network(true);
    let x = normal(&[1, 3, 12, 12].into(), 3);
    let y = network.run(&x);
    let (target, score) = (0..3)
        .map(|i| (i, y.data[i]))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap();
    assert!(score > 0.1, "{score}");
    let mixed = Lrp {
        first: Some(LayerRule::Flat),
        ..bare(LayerRule::ZPlus)
    };
    let rules = [
        LayerRule::Epsilon(SMALL),
        LayerRule::Gamma(0.25),
        LayerRule::ZPlus,
    ];
    for lrp in rules.map(bare).into_iter().chain([mixed]) {
        let r = network.map(Rule::Relevance(lrp), &x, &one_hot(target));
        let error = (sum(&r) - score).abs();
        assert!(error <= 1e-6 * score, "{lrp:?}: {} of {score}", sum(&r));
        if lrp.convolution == LayerRule::ZPlus && lrp.first.is_some() {
            // Of a positive score, nothing negative; in each window all share.
            assert!(r.data.iter().all(|v| *v >= 0.0));
        }
    }
}

#[test]
fn a_normalisation_that_stands_alone_is_a_convolution() {
    let x = normal(&[1, 3, 12, 12].into(), 7);
    let build = |alone: bool| {
        let mut b = Builder::new(&[1, 3, 12, 12]);
        let x = b.conv(b.x, 4, 1);
        let x = b.push(Clip::relu(), &[x]);
        let numbers = [
            [0.75, -1.25, 0.5, 2.0],
            [0.25, 1.5, -0.125, -0.5],
            [0.5, -0.25, 0.125, 0.375],
            [0.75, 0.75, 3.75, 0.0],
        ];
        let op = BatchNormalization { epsilon: 0.25 };
        let affine = op.affine([&numbers[0], &numbers[1], &numbers[2], &numbers[3]]);
        let mut constant = |shape: &[usize], data: Vec<f64>| {
            let data = data.into_iter().map(|v| v as f32).collect();
            b.graph
                .constant("number", Arc::new(Tensor::new(shape, data).unwrap()))
        };
        let x = if alone {
            let numbers = numbers.map(|n| constant(&[4], n.to_vec()));
            b.push(op, &[&[x], &numbers[..]].concat())
        } else {
            let weight = constant(&[4, 1, 1, 1], affine.iter().map(|a| a.0).collect());
            let bias = constant(&[4], affine.iter().map(|a| a.1).collect());
            let conv = Conv {
                groups: 4,
                ..Conv::default()
            };
            b.push(conv, &[x, weight, bias])
        };
        let x = b.push(Clip::relu(), &[x]);
        let x = b.conv(x, 5, 1);
        b.head(x)
    };
    let (alone, convolution) = (build(true), build(false));
    for rule in [
        LayerRule::Epsilon(0.01),
        LayerRule::Gamma(0.25),
        LayerRule::ZPlus,
        LayerRule::Flat,
    ] {
        let [found, expected] = [&alone, &convolution]
            .map(|network| network.map(Rule::Relevance(Lrp::uniform(rule)), &x, &one_hot(0)));
        assert_close(&format!("{rule:?}"), &found, &expected, 1e-5);
    }
}

#[test]
fn rules_of_a_linear_network_are_its_gradient() {
    let network = relu_network(false);
    let [x, baseline] = [3, 4].map(|seed| normal(&[1, 3, 12, 12].into(), seed));
    let u = one_hot(1);
    let gradient = network.map(Rule::Standard, &x, &u);
    let epsilon = Rule::Relevance(bare(LayerRule::Epsilon(SMALL)));
    let product = gradient.zip(&x, |g, x| g * x);
    assert_close("LRP", &network.map(epsilon, &x, &u), &product, 1e-6);
    let difference = x.zip(&baseline, |a, b| a - b);
    let product = gradient.zip(&difference, |g, d| g * d);
    assert_close(
        "DeepLift",
        &network.rescaled(&x, &baseline, &u),
        &product,
        1e-12,
    );
}

#[test]
fn rectifiers_cut_what_their_rule_says() {
    // -relu(a) + 2 relu(b)
    let mut b = Builder::new(&[1, 2]);
    let y = b.push(Clip::relu(), &[b.x]);
    let weight = Tensor::new([1, 2], vec![-1.0, 2.0]).unwrap();
    let weight = b.graph.constant("weight", Arc::new(weight));
    let gemm = Gemm {
        trans_b: true,
        ..Gemm::default()
    };
    let y = b.push(gemm, &[y, weight]);
    let network = Network::of(b.graph, y);
    let one = RefTensor::new([1, 1], vec![1.0]);
    for (x, standard, guided, deconvnet) in [
        ([1.0, 1.0], [-1.0, 2.0], [0.0, 2.0], [0.0, 2.0]),
        ([1.0, -1.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 2.0]),
        ([-1.0, 1.0], [0.0, 2.0], [0.0, 2.0], [0.0, 2.0]),
    ] {
        let x = RefTensor::new([1, 2], x.to_vec());
        assert_eq!(network.map(Rule::Standard, &x, &one).data, standard);
        assert_eq!(
            network.map(Rule::GuidedBackpropagation, &x, &one).data,
            guided
        );
        assert_eq!(network.map(Rule::Deconvnet, &x, &one).data, deconvnet);
    }
}

#[test]
fn deeplift_sums_to_the_difference() {
    let network = curved_network();
    for size in [1.0, 0.1, 3.0] {
        let [x, baseline] = [5, 6].map(|seed| normal(&[2, 3, 8, 8].into(), seed).map(|v| v * size));
        for [found, expected] in completeness(&network, &x, &baseline) {
            let error = (found - expected).abs();
            assert!(
                error <= 1e-7 * expected.abs().max(1.0),
                "{found} is not {expected}"
            );
        }
    }
    // Where nothing differs, multipliers are the gradient.
    let x = normal(&[2, 3, 8, 8].into(), 5);
    let u = RefTensor::from_fn([2, 3], |i| i as f64 - 2.0);
    let moved = x.map(|v| v + 1e-6);
    let difference = RefTensor::from_fn(&x.shape, |_| -1e-6);
    let gradient = network.map(Rule::Standard, &x, &u);
    let expected = gradient.zip(&difference, |g, d| g * d);
    assert_close("near", &network.rescaled(&x, &moved, &u), &expected, 1e-4);
}

#[test]
fn a_gate_leaves_relevance_to_what_it_gates() {
    // x * sigmoid(w mean(x)), whose mean is the score: as if the gate stood still.
    for stretched in [true, false] {
        let mut b = Builder::new(&[1, 2, 3, 3]);
        let mut s = b.x;
        if stretched {
            s = b.push(GlobalAveragePool {}, &[s]);
        }
        let s = b.push(Sigmoid {}, &[s]);
        let y = b.push(Mul {}, &[s, b.x]);
        let network = b.head(y);
        let x = normal(&[1, 2, 3, 3].into(), 9);
        let values = reference::run_all(&network.graph, std::slice::from_ref(&x)).unwrap();
        let mut nodes = network.graph.nodes().iter();
        let product = nodes.find(|n| n.op.name() == "Mul").unwrap();
        let gated = &values[product.outputs[0].index()];
        let r = network.map(
            Rule::Relevance(bare(LayerRule::Epsilon(SMALL))),
            &x,
            &one_hot(1),
        );
        let score = network.run(&x).data[1];
        assert!(
            (sum(&r) - score).abs() < 1e-6 * score.abs(),
            "{} of {score}",
            sum(&r)
        );
        // In each channel in proportion to the gated values.
        for (r, gated) in r.data.chunks(9).zip(gated.data.chunks(9)) {
            let ratio = r[0] / gated[0];
            for (r, g) in r.iter().zip(gated) {
                assert!(
                    (r - ratio * g).abs() < 1e-6 * ratio.abs(),
                    "{r} is not {ratio} * {g}"
                );
            }
        }
    }
}
