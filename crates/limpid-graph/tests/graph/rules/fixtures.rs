//! Against Zennit, captum and lxt.

use super::{Network, SMALL, assert_close, bare};
use limpid_graph::passes::{LayerRule, Lrp, Rule, lower};
use limpid_graph::reference::RefTensor;
use limpid_graph::{Fact, Graph, Op, ValueId};
use limpid_tensor::Tensor;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Deserialize)]
struct Numbers {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Numbers {
    fn tensor(&self) -> RefTensor {
        RefTensor::new(&self.shape[..], self.data.clone())
    }
}

#[derive(Deserialize)]
struct Step {
    name: String,
    op: Op,
    inputs: Vec<String>,
}

#[derive(Deserialize)]
struct Recorded {
    target: usize,
    input: Numbers,
    baseline: Numbers,
    logits: Numbers,
    baseline_logits: Numbers,
    weights: HashMap<String, Numbers>,
    nodes: Vec<Step>,
    maps: HashMap<String, Numbers>,
}

impl Recorded {
    fn graph(&self) -> (Graph, ValueId) {
        let mut graph = Graph::new();
        let x = graph.input("x", Fact::f32(&self.input.shape[..]));
        let mut values = HashMap::from([("x", x)]);
        for (name, weight) in &self.weights {
            let data = weight.data.iter().map(|v| *v as f32).collect();
            let tensor = Tensor::new(&weight.shape[..], data).unwrap();
            values.insert(name, graph.constant(name.clone(), Arc::new(tensor)));
        }
        let mut y = x;
        for step in &self.nodes {
            let inputs: Vec<ValueId> = step.inputs.iter().map(|n| values[&n[..]]).collect();
            y = graph
                .push(step.name.clone(), step.op.clone(), &inputs)
                .unwrap()[0];
            values.insert(&step.name, y);
        }
        (graph, y)
    }

    fn network(&self) -> Network {
        let (graph, y) = self.graph();
        Network::of(graph, y)
    }

    fn cotangent(&self) -> RefTensor {
        RefTensor::from_fn(&self.logits.shape[..], |i| {
            f64::from(u8::from(i == self.target))
        })
    }
}

fn cnn() -> Recorded {
    let text = include_str!("../../../../../tests/fixtures/rules/cnn.json");
    serde_json::from_str(text).unwrap()
}

fn transformer() -> Recorded {
    let text = include_str!("../../../../../tests/fixtures/rules/transformer.json");
    serde_json::from_str(text).unwrap()
}

#[test]
fn rules_agree_with_zennit_and_captum() {
    let recorded = cnn();
    let network = recorded.network();
    let (x, u) = (recorded.input.tensor(), recorded.cotangent());
    assert_close("logits", &network.run(&x), &recorded.logits.tensor(), 1e-6);
    let baseline = recorded.baseline.tensor();
    let expected = recorded.baseline_logits.tensor();
    assert_close("logits", &network.run(&baseline), &expected, 1e-6);
    let mut found: HashMap<&str, RefTensor> = HashMap::new();
    let small = |rule| Rule::Relevance(bare(rule));
    let mixed = Lrp {
        dense: LayerRule::Epsilon(SMALL),
        stabilizer: SMALL,
        ..Lrp::epsilon_plus_flat()
    };
    for (name, rule) in [
        ("epsilon", small(LayerRule::Epsilon(SMALL))),
        ("epsilon 0.25", small(LayerRule::Epsilon(0.25))),
        ("gamma", small(LayerRule::Gamma(0.25))),
        ("z-plus", small(LayerRule::ZPlus)),
        ("flat", small(LayerRule::Flat)),
        ("epsilon-plus-flat", Rule::Relevance(mixed)),
        ("guided-backprop", Rule::GuidedBackpropagation),
        ("captum guided-backprop", Rule::GuidedBackpropagation),
        ("deconvnet", Rule::Deconvnet),
        ("captum deconvnet", Rule::Deconvnet),
    ] {
        found.insert(name, network.map(rule, &x, &u));
    }
    found.insert("deeplift", network.rescaled(&x, &baseline, &u));
    assert_eq!(found.len(), recorded.maps.len());
    for (name, expected) in &recorded.maps {
        // Folded normalisations are f32.
        assert_close(name, &found[&name[..]], &expected.tensor(), 2e-6);
    }
}

#[test]
fn attention_agrees_with_lxt() {
    let recorded = transformer();
    let network = recorded.network();
    let (x, u) = (recorded.input.tensor(), recorded.cotangent());
    assert_close("logits", &network.run(&x), &recorded.logits.tensor(), 1e-6);
    let rule = Rule::Relevance(bare(LayerRule::Epsilon(SMALL)));
    let found = network.map(rule, &x, &u);
    assert_close(
        "relevance",
        &found,
        &recorded.maps["attention"].tensor(),
        1e-6,
    );
}

#[test]
fn epsilon_near_zero_is_gradient_times_input() {
    let recorded = cnn();
    let (x, u) = (recorded.input.tensor(), recorded.cotangent());
    let (mut graph, y) = recorded.graph();
    graph.set_outputs(&[y]);
    // With and without normalisations of their own.
    for network in [
        recorded.network(),
        Network::lowered(&lower(&graph).unwrap()),
    ] {
        let gradient = network.map(Rule::Standard, &x, &u);
        let product = gradient.zip(&x, |g, x| g * x);
        let rule = Rule::Relevance(bare(LayerRule::Epsilon(SMALL)));
        assert_close("relevance", &network.map(rule, &x, &u), &product, 1e-6);
    }
}
