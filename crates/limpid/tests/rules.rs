//! Methods that replace operators' derivatives, on the embedded model:
//! against the f64 reference, and against what they add up to.

#![allow(clippy::print_stdout, reason = "the figures are worth reading")]

mod common;

use common::{PHOTOS, crop, embedded, relative_l2, with};
use limpid::methods::{
    self, Baseline, Composite, Deconvnet, DeepLift, Gradient, GuidedBackprop, LayerwiseRelevance,
};
use limpid::{Error, Explainer, GradientMethod, RunOptions, Session, SmoothGrad, Target};
use limpid_graph::Fact;
use limpid_graph::passes::{Lrp, Rule, fold_batch_norm, lower, vjp_with_baseline};
use limpid_graph::reference::{self, RefTensor};
use limpid_tensor::Tensor;

const CLASS: usize = 967;

fn map(session: &Session, method: &dyn Explainer) -> Tensor {
    let options = RunOptions::default();
    let target = Target::Class(CLASS);
    let maps = session.explain_input(&crop("coffee"), method, &target, &options);
    maps.unwrap()[0].attribution().map.clone()
}

/// The same map by the f64 reference.
fn expected(rule: Rule) -> Vec<f64> {
    let model = limpid_model::Model::embedded().unwrap();
    let mut graph = fold_batch_norm(&lower(&model.graph(1).unwrap()).unwrap()).unwrap();
    let (x, logits) = (graph.inputs()[0], graph.outputs()[0]);
    let baseline = graph.input("baseline", Fact::f32([1]));
    graph.set_outputs(&[]);
    let made = vjp_with_baseline(&graph, logits, &[x], rule, Some(baseline)).unwrap();
    let image = RefTensor::from(
        &crop("coffee")
            .tensor()
            .clone()
            .reshape([1, 3, 224, 224])
            .unwrap(),
    );
    let cotangent = RefTensor::from_fn([1, 1000], |i| f64::from(u8::from(i == CLASS)));
    // Black, for a mean and a deviation of a half.
    let black = RefTensor::new([1], vec![-1.0]);
    let map = reference::run(&made.graph, &[image.clone(), black, cotangent]);
    let map = map.unwrap().remove(0);
    match rule {
        Rule::DeepLift => map.zip(&image, |m, x| m * (x + 1.0)).data,
        _ => map.data,
    }
}

#[test]
fn maps_agree_with_the_f64_reference() {
    let session = embedded();
    let cases: [(Box<dyn Explainer>, Rule); 4] = [
        (Box::new(GuidedBackprop::new()), Rule::GuidedBackpropagation),
        (Box::new(Deconvnet::new()), Rule::Deconvnet),
        (
            Box::new(LayerwiseRelevance::new()),
            Rule::Relevance(Lrp::epsilon_plus_flat()),
        ),
        (Box::new(DeepLift::new()), Rule::DeepLift),
    ];
    for (method, rule) in cases {
        let error = relative_l2(map(&session, &*method).data(), &expected(rule));
        println!("{} {rule:?}: {error:.1e}", method.id());
        assert!(error < 1e-3, "{rule:?}: {error}");
    }
}

#[test]
fn deeplift_adds_up() {
    let session = embedded();
    for name in PHOTOS {
        for baseline in [Baseline::Black, Baseline::Blur, Baseline::Noise] {
            let method = DeepLift::new().baseline(baseline.clone());
            let options = RunOptions::default();
            let maps = session.explain_input(&crop(name), &method, &Target::Top(1), &options);
            let completeness = maps.unwrap()[0].attribution().completeness.unwrap();
            println!("{name} {baseline:?}: {completeness:?}");
            let error = completeness.gap.abs() / completeness.expected.abs().max(1.0);
            assert!(error < 1e-5, "{name} {baseline:?}: {completeness:?}");
        }
    }
}

#[test]
fn maps_do_not_depend_on_batch_or_threads() {
    let smooth = || SmoothGrad::new().samples(3);
    let methods: [Box<dyn Explainer>; 3] = [
        Box::new(GuidedBackprop::new().smoothed(smooth())),
        Box::new(LayerwiseRelevance::new().smoothed(smooth())),
        Box::new(DeepLift::new().smoothed(smooth())),
    ];
    let sessions = [
        with(None, None, 1),
        with(Some(1), None, 2),
        with(Some(2), None, 2),
    ];
    for method in &methods {
        let maps = sessions.each_ref().map(|s| map(s, &**method));
        assert!(maps[0].data() == maps[1].data(), "{}", method.id());
        assert!(maps[0].data() == maps[2].data(), "{}", method.id());
        assert_ne!(maps[0].data(), map(&sessions[0], &Gradient::new()).data());
    }
}

#[test]
fn a_network_without_rectifiers_is_refused_in_words() {
    let model = limpid::Model::open(common::fixture("smooth-network")).unwrap();
    let session = model.session(limpid::Device::cpu(None).unwrap()).unwrap();
    let input = limpid::Input::from_npy(common::fixture("smooth-network/x.npy")).unwrap();
    let explain = |method: &dyn Explainer| {
        session.explain_input(&input, method, &Target::Class(2), &RunOptions::default())
    };
    let Err(Error::Explain(error)) = explain(&GuidedBackprop::new()) else {
        panic!("softplus is no rectifier");
    };
    assert!(
        error.to_string().contains("no rectifier (ReLU, ReLU6)"),
        "{error}"
    );
    for composite in Composite::NAMES {
        let method = methods::build("lrp", &[("composite", composite)], None).unwrap();
        assert!(
            explain(&*method).unwrap()[0].attribution().map.is_finite(),
            "{composite}"
        );
    }
    let maps = explain(&DeepLift::new().baseline(Baseline::White)).unwrap();
    let completeness = maps[0].attribution().completeness.unwrap();
    assert!(completeness.gap.abs() < 1e-5, "{completeness:?}");
}

#[test]
fn parameters_that_a_composite_does_not_read_are_refused() {
    for (composite, name) in [
        ("gamma", "epsilon"),
        ("z-plus", "epsilon"),
        ("epsilon", "gamma"),
    ] {
        let given = [("composite", composite), (name, "0.5")];
        let Err(error) = methods::build("lrp", &given, None) else {
            panic!("{composite} does not read {name}");
        };
        assert!(
            error.to_string().contains(&format!("has no `{name}`")),
            "{error}"
        );
    }
}
