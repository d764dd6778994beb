//! What a session promises: the same bits for any batch and thread count, a
//! memory bound that holds, cancellation, and clear refusals.

mod common;

use common::{crop, embedded, photo, relative_l2, with};
use limpid::{
    BlurIntegratedGradients, Device, Error, ExplainError, Explainer, GradCam, Gradient,
    GradientMethod, Joint, Model, Progress, Reduce, RunOptions, SaveOptions, Session,
    SessionOptions, SmoothGrad, Target,
};
use limpid_device::DeviceError;
use limpid_graph::passes::{Rule, vjp};
use limpid_graph::reference::{self, RefTensor};
use limpid_tensor::TensorError;
use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

fn bits(session: &Session, method: &dyn Explainer) -> Vec<u32> {
    let options = RunOptions {
        seed: 7,
        ..RunOptions::default()
    };
    let maps = session
        .explain_input(&crop("coffee"), method, &Target::Top(1), &options)
        .unwrap();
    let map = &maps[0].attribution().map;
    map.data().iter().map(|v| v.to_bits()).collect()
}

#[test]
fn maps_do_not_depend_on_batch_or_threads() {
    let blur = || BlurIntegratedGradients::new().steps(5);
    let smooth = |reduce| SmoothGrad::new().samples(3).reduce(reduce);
    let joint = Joint {
        evaluations: 59,
        tolerance: Some(0.01),
    };
    let methods: [Box<dyn Explainer>; 6] = [
        Box::new(Gradient::new()),
        Box::new(GradCam::new()),
        Box::new(blur().smoothed(SmoothGrad::new().joint(joint))),
        Box::new(blur().smoothed(smooth(Reduce::Mean).nested())),
        Box::new(blur().smoothed(smooth(Reduce::Squared))),
        Box::new(Gradient::new().smoothed(smooth(Reduce::Variance))),
    ];
    let sessions = [
        with(None, None, 1),
        with(None, None, 2),
        with(Some(1), None, 2),
        with(Some(3), None, 2),
        with(None, Some(60 << 20), 2),
    ];
    for method in &methods {
        let expected = bits(&sessions[0], &**method);
        for (i, session) in sessions.iter().enumerate().skip(1) {
            assert!(
                expected == bits(session, &**method),
                "{} in session {i}",
                method.id()
            );
        }
    }
}

#[test]
fn the_seed_decides_the_noise() {
    let session = embedded();
    let method = Gradient::new().smoothed(SmoothGrad::new().samples(2));
    let map = |seed| {
        let options = RunOptions {
            seed,
            ..RunOptions::default()
        };
        let maps = session
            .explain_input(&crop("cat"), &method, &Target::Class(282), &options)
            .unwrap();
        maps[0].attribution().map.clone()
    };
    assert_eq!(map(1), map(1));
    assert_ne!(map(1), map(2));
}

#[test]
fn a_bound_that_one_picture_exceeds_is_an_error() {
    let session = with(None, Some(1 << 20), 1);
    let error = session.logits(&crop("cat")).unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
    let enough_for_scores = with(None, Some(3 << 20), 1);
    let error = enough_for_scores
        .explain_input(
            &crop("cat"),
            &BlurIntegratedGradients::new(),
            &Target::Class(282),
            &RunOptions::default(),
        )
        .unwrap_err();
    assert!(error.to_string().contains("--memory"), "{error}");
}

#[test]
fn a_run_reports_and_can_be_cancelled() {
    let session = with(Some(2), None, 2);
    let method = BlurIntegratedGradients::new().steps(8);
    let seen: Mutex<Vec<Progress>> = Mutex::default();
    let cancel = AtomicBool::new(false);
    let report = |p: Progress| {
        seen.lock().unwrap().push(p);
        if p.done >= 4 {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let options = RunOptions {
        progress: Some(&report),
        cancel: Some(&cancel),
        ..RunOptions::default()
    };
    let result = session.explain_input(&crop("cat"), &method, &Target::Top(1), &options);
    assert!(matches!(
        result,
        Err(Error::Explain(ExplainError::Cancelled))
    ));
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.iter().map(|p| p.done).collect::<Vec<_>>(), [2, 4]);
    assert!(seen.iter().all(|p| p.total == 8));
}

#[test]
fn layers_are_found_by_name_and_refused_by_name() {
    let session = embedded();
    let explain = |layer: &str| {
        let method = GradCam::new().layer(layer);
        session.explain_input(
            &crop("cat"),
            &method,
            &Target::Top(1),
            &RunOptions::default(),
        )
    };
    let shape = |layer: &str| {
        let map = explain(layer).unwrap().remove(0);
        map.attribution().map.dims().to_vec()
    };
    assert_eq!(shape("blocks.2"), [28, 28]);
    assert_eq!(shape("blocks.4.1.conv_dw"), [14, 14]);
    assert_eq!(shape("conv_stem"), [112, 112]);
    for (layer, part) in [
        ("block.2", "similar"),
        ("classifier", "no map"),
        ("global_pool", "no map"),
    ] {
        let error = explain(layer).unwrap_err().to_string();
        assert!(error.contains(layer) && error.contains(part), "{error}");
    }
}

/// A convolution's own output, which folding removes, has the activation and
/// gradient of the graph in which nothing was folded.
#[test]
fn a_layer_that_folding_removes_is_brought_back() {
    const LAYER: &str = "conv_head";
    let session = embedded();
    let input = crop("coffee");
    let method = GradCam::new().layer(LAYER).relu(false);
    let maps = session
        .explain_input(&input, &method, &Target::Class(967), &RunOptions::default())
        .unwrap();

    let mut graph = limpid_model::Model::embedded().unwrap().graph(1).unwrap();
    let (layer, logits) = (graph.layer(LAYER).unwrap(), graph.outputs()[0]);
    graph.set_outputs(&[layer]);
    let graph = vjp(&graph, logits, &[layer], Rule::Standard).unwrap().graph;
    let image = RefTensor::from(&input.tensor().clone().reshape([1, 3, 224, 224]).unwrap());
    let cotangent = RefTensor::from_fn([1, 1000], |i| f64::from(u8::from(i == 967)));
    let outputs = reference::run(&graph, &[image, cotangent]).unwrap();
    let [activation, gradient] = &outputs[..] else {
        panic!("a layer and its gradient");
    };
    let mut expected = vec![0.0; 49];
    for (a, g) in activation.data.chunks(49).zip(gradient.data.chunks(49)) {
        let weight = g.iter().sum::<f64>() / 49.0;
        for (sum, a) in expected.iter_mut().zip(a) {
            *sum += weight * a;
        }
    }
    let error = relative_l2(maps[0].attribution().map.data(), &expected);
    assert!(error < 1e-4, "{error}");
}

#[test]
fn targets_are_resolved() {
    let session = embedded();
    let input = session.input(&photo("coffee")).unwrap();
    let logits = session.logits(&input).unwrap();
    let index = |text: &str| {
        let found = session.resolve(&Target::parse(text), &logits);
        found.map(|p| p.iter().map(|p| p.class.index).collect::<Vec<_>>())
    };
    assert_eq!(index("top1").unwrap(), [967]);
    assert_eq!(index("top:3").unwrap().len(), 3);
    assert_eq!(index("Espresso").unwrap(), [967]);
    assert_eq!(index("5").unwrap(), [5]);
    for bad in [
        "top:0",
        "top:1001",
        "top5",
        "1000",
        "no such label",
        "crane",
    ] {
        assert!(index(bad).is_err(), "{bad}");
    }
}

#[test]
fn one_session_serves_many_threads() {
    let session = embedded();
    let expected = bits(&session, &Gradient::new());
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| bits(&session, &Gradient::new())))
            .collect();
        for run in runs {
            assert!(run.join().unwrap() == expected);
        }
    });
}

#[test]
fn weights_are_read_again_for_each_plan() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("lite0");
    let embedded = Model::embedded().unwrap();
    let written = embedded.save_bundle(&bundle, &SaveOptions::default());
    written.unwrap();
    let model = Model::open(&bundle).unwrap();
    let open = |batch| {
        let options = SessionOptions {
            batch: Some(batch),
            ..SessionOptions::default()
        };
        Session::new(model.clone(), Device::cpu(None).unwrap(), options).unwrap()
    };
    let method = Gradient::new().smoothed(SmoothGrad::new().samples(3).nested());
    let expected = bits(&with(Some(1), None, 2), &method);
    // Of two, a plan for the third as well.
    let session = open(2);
    assert!(bits(&session, &method) == expected);
    assert!(bits(&open(1), &method) == expected);

    let path = bundle.join("model.safetensors");
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    assert!(bits(&session, &method) == expected, "what is packed stays");
    let error = open(1).logits(&crop("coffee")).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(
            error,
            Error::Device(DeviceError::Tensor(TensorError::Unreadable { file, .. }))
                if file == path.display().to_string()
        ),
        "{text}"
    );
    assert!(text.contains("has changed since it was opened"), "{text}");
}

#[test]
fn the_manifest_has_every_key() {
    let session = embedded();
    let maps = session
        .explain(&photo("coffee"), &GradCam::new(), Target::Top(1))
        .unwrap();
    let manifest = serde_json::to_value(maps[0].manifest()).unwrap();
    let keys = [
        "image",
        "sha256",
        "model",
        "model_sha256",
        "method",
        "parameters",
        "target",
        "score",
        "probability",
        "completeness",
        "standard_error",
        "evaluations",
        "seed",
        "device",
        "precision",
        "isa",
        "seconds",
        "crop",
        "files",
        "version",
    ];
    let object = manifest.as_object().unwrap();
    assert_eq!(object.len(), keys.len());
    for key in keys {
        assert!(object.contains_key(key), "{key}");
    }
    assert_eq!(manifest["parameters"]["layer"], "bn2");
    assert_eq!(manifest["target"]["label"], "espresso");
}
