//! Refusals in words, every operator, random networks, fusion.

use super::{Network, completeness, curved_network};
use crate::support::{network, norm, normal};
use limpid_graph::case::cotangent;
use limpid_graph::passes::{
    LayerRule, Lrp, Rule, eliminate_dead_code, fold_batch_norm, fuse, fuse_elementwise, lower, vjp,
    vjp_with_baseline,
};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, GraphError, Op, OpError};
use limpid_tensor::DType;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn rules_say_what_they_lack() {
    let network = curved_network();
    let say = |rule| {
        vjp(&network.graph, network.y, &[network.x], rule)
            .unwrap_err()
            .to_string()
    };
    for rule in [Rule::GuidedBackpropagation, Rule::Deconvnet] {
        let said = say(rule);
        assert!(
            said.contains("no rectifier (ReLU, ReLU6)") && said.contains("GELU"),
            "{said}"
        );
    }
    assert_eq!(
        vjp(&network.graph, network.y, &[network.x], Rule::DeepLift).unwrap_err(),
        GraphError::NoBaseline
    );
    let mut graph = network.graph.clone();
    let other = graph.input("other", Fact::f32([1, 3, 8, 7]));
    let misfit = vjp_with_baseline(&graph, network.y, &[network.x], Rule::DeepLift, Some(other));
    assert!(matches!(
        misfit,
        Err(GraphError::Op {
            source: OpError::Shape { .. },
            ..
        })
    ));
    for (lrp, name) in [
        (
            Lrp {
                stabilizer: 0.0,
                ..Lrp::gamma()
            },
            "stabilizer",
        ),
        (
            Lrp {
                stabilizer: f32::NAN,
                ..Lrp::gamma()
            },
            "stabilizer",
        ),
        (Lrp::uniform(LayerRule::Gamma(-1.0)), "gamma"),
        (Lrp::uniform(LayerRule::Epsilon(f32::INFINITY)), "epsilon"),
        (
            Lrp {
                first: Some(LayerRule::Epsilon(0.0)),
                ..Lrp::epsilon()
            },
            "epsilon",
        ),
    ] {
        let said = say(Rule::Relevance(lrp));
        assert!(said.contains(&format!("`{name}`")), "{said}");
    }
}

/// Every rule.
fn rules() -> Vec<Rule> {
    let flat = Lrp::uniform(LayerRule::Flat);
    let composites = [
        Lrp::epsilon(),
        Lrp::gamma(),
        Lrp::z_plus(),
        Lrp::epsilon_plus_flat(),
        flat,
    ];
    let mut rules: Vec<Rule> = composites.map(Rule::Relevance).to_vec();
    rules.extend([Rule::GuidedBackpropagation, Rule::Deconvnet, Rule::DeepLift]);
    rules
}

#[test]
fn rules_of_every_operator_never_panic() {
    let mut refused = BTreeSet::new();
    for case in Op::cases() {
        let built = case.build().unwrap();
        let mut graph = lower(&built.graph).unwrap();
        let inputs = graph.inputs().to_vec();
        let outputs = graph.outputs().to_vec();
        let floats: Vec<usize> = (0..inputs.len())
            .filter(|i| graph.fact(inputs[*i]).dtype == DType::F32)
            .collect();
        for (&variable, &output) in floats
            .iter()
            .flat_map(|v| outputs.iter().map(move |o| (v, o)))
        {
            let Some(u) = cotangent(&graph.fact(output).shape, graph.fact(output).dtype) else {
                continue;
            };
            let fact = graph.fact(inputs[variable]).clone();
            let before = graph.clone();
            let baseline = graph.input("baseline", fact.clone());
            let shift = built.inputs[variable].map(|v| 0.5 * v + 0.125);
            let values = [&built.inputs[..], &[shift, u]].concat();
            for rule in rules() {
                let wrt = [inputs[variable]];
                match vjp_with_baseline(&graph, output, &wrt, rule, Some(baseline)) {
                    Ok(made) => {
                        assert_eq!(*made.graph.fact(made.gradients[0]), fact, "{}", case.name);
                        let small = values.iter().all(|v| v.data.len() < 1500);
                        if small {
                            reference::run(&made.graph, &values).unwrap();
                        }
                    }
                    Err(GraphError::Op {
                        source: OpError::NoRule { .. },
                        ..
                    }) => {
                        refused.insert(case.op.name());
                    }
                    Err(GraphError::Op {
                        source: OpError::NoGradient { .. },
                        ..
                    })
                    | Err(GraphError::NoRectifier { .. } | GraphError::NoPath { .. }) => {}
                    Err(e) => panic!("{}: {e}", case.name),
                }
            }
            graph = before;
        }
    }
    let expected = [
        // Fused operators: fusion comes after differentiation.
        "Conv",
        "ConvTranspose",
        "Gemm",
        // What makes a path's points, before any model.
        "GaussianNoise",
        "HeatKernel",
        "SeparableFilter",
        // Gradients and accumulators are not differentiated again.
        "MaskMul",
        "MaxPoolGradient",
        "NormalizeGradient",
        "RunningMoments",
        "SoftmaxGradient",
        "WeightedSum",
    ];
    assert_eq!(refused, expected.into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rules_of_random_networks_are_finite_and_survive_fusion(plan in network(), seed in 0..1000u32) {
        let built = plan.build();
        let graph = fold_batch_norm(&lower(&built.graph).unwrap()).unwrap();
        let network = Network::lowered(&graph);
        let x = normal(&graph.fact(network.x).shape, seed);
        let baseline = normal(&graph.fact(network.x).shape, seed + 1);
        for [found, expected] in completeness(&network, &x, &baseline) {
            let error = (found - expected).abs();
            prop_assert!(error <= 1e-6 * expected.abs().max(1.0), "{} is not {}", found, expected);
        }
        let u = RefTensor::from_fn(&graph.fact(network.y).shape, |i| i as f64 - 1.0);
        let mut with_baseline = graph.clone();
        let reference = with_baseline.input("baseline", Fact::f32(&x.shape));
        for rule in rules() {
            let made = vjp_with_baseline(&with_baseline, network.y, &[network.x], rule, Some(reference));
            let made = match made {
                Err(GraphError::NoRectifier { .. }) => continue,
                made => made.unwrap(),
            };
            let inputs = [x.clone(), baseline.clone(), u.clone()];
            let plain = reference::run(&made.graph, &inputs).unwrap().pop().unwrap();
            prop_assert!(plain.data.iter().all(|v| v.is_finite()), "{:?}", rule);
            let fused = eliminate_dead_code(&made.graph).unwrap();
            let fused = fuse_elementwise(&fuse(&fused).unwrap()).unwrap();
            let fused = reference::run(&fused, &inputs).unwrap().pop().unwrap();
            let error = norm(&fused.zip(&plain, |a, b| a - b));
            prop_assert!(error <= 1e-9 * norm(&plain), "{:?}: {}", rule, error);
        }
    }
}
