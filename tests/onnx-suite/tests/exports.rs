//! Networks that other frameworks exported, opened as a user opens them
//! (tests/fixtures/onnx-models): the same scores and maps as the framework's
//! own in f64, and as the checkpoint's.

#![allow(clippy::print_stdout, reason = "the figures are worth reading")]

use limpid::{
    Device, Explainer, GradCam, Gradient, Input, Model, RunOptions, Session, Target, Tensor,
};
use safetensors::SafeTensors;
use std::path::PathBuf;

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures/onnx-models")
        .join(path)
}

fn open(path: &str) -> Session {
    let model = Model::open(fixture(path)).unwrap();
    model.session(Device::cpu(None).unwrap()).unwrap()
}

fn input(folder: &str) -> Input {
    let path = fixture(folder).join("x.npy");
    Input::from_npy_bytes(&std::fs::read(path).unwrap(), "x.npy").unwrap()
}

fn expected(folder: &str, name: &str) -> Vec<f64> {
    let bytes = std::fs::read(fixture(folder).join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    let (words, _) = tensor.data().as_chunks::<4>();
    words
        .iter()
        .map(|b| f64::from(f32::from_le_bytes(*b)))
        .collect()
}

fn map(session: &Session, folder: &str, method: &dyn Explainer) -> Tensor {
    let (top, options) = (Target::Top(1), RunOptions::default());
    let maps = session
        .explain_input(&input(folder), method, &top, &options)
        .unwrap();
    maps[0].attribution().map.clone()
}

/// The largest difference, relative to the largest element.
fn difference(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let worst = |m: f64, (a, b): (&f32, &f64)| m.max((f64::from(*a) - b).abs());
    found.iter().zip(expected).fold(0.0, worst) / largest
}

fn relative_l2(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let error: f64 = pairs.map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    let norm: f64 = expected.iter().map(|b| b * b).sum();
    (error / norm).sqrt()
}

#[test]
fn a_resnet50_is_the_same_from_its_checkpoint_and_from_either_exporter() {
    let folder = "resnet50";
    for (path, layer) in [
        ("resnet50", Some("layer4")),
        (
            "resnet50/script.onnx",
            Some("/layer4/layer4.2/act3/Relu_output_0"),
        ),
        ("resnet50/dynamo.onnx", Some("relu_48")),
        ("resnet50", None),
        ("resnet50/script.onnx", None),
        ("resnet50/dynamo.onnx", None),
    ] {
        let session = open(path);
        let logits = session.logits(&input(folder)).unwrap();
        let error = difference(&logits, &expected(folder, "logits"));
        println!("{path}: logits differ by {error:.1e}");
        assert!(error <= 1e-5, "{path}: logits differ by {error:.1e}");

        let method = layer.map_or_else(GradCam::new, |l| GradCam::new().layer(l));
        let cam = map(&session, folder, &method);
        assert_eq!(cam.dims(), [3, 3], "{path}");
        let error = difference(cam.data(), &expected(folder, "gradcam"));
        println!("{path}: Grad-CAM differs by {error:.1e}");
        assert!(error <= 1e-4, "{path}: Grad-CAM differs by {error:.1e}");

        let gradient = map(&session, folder, &Gradient::new());
        assert_eq!(gradient.dims(), [3, 96, 96], "{path}");
        let error = relative_l2(gradient.data(), &expected(folder, "gradient"));
        println!("{path}: the gradient differs by {error:.1e}");
        assert!(error <= 1e-4, "{path}: the gradient differs by {error:.1e}");
    }
}

#[test]
fn a_keras_network_has_kerass_scores_and_tensorflows_gradient() {
    let (folder, path) = ("keras", "keras/model.onnx");
    let session = open(path);
    let input = input(folder);
    let logits = session.logits(&input).unwrap();
    let error = difference(&logits, &expected(folder, "logits"));
    println!("{path}: logits differ by {error:.1e}");
    assert!(error <= 1e-5, "logits differ by {error:.1e}");

    let predictions = session.predict(&input, 10).unwrap();
    let mut probabilities = [0.0; 10];
    for p in predictions {
        probabilities[p.index] = p.probability as f32;
    }
    let error = difference(&probabilities, &expected(folder, "probabilities"));
    assert!(error <= 1e-5, "probabilities differ by {error:.1e}");

    // Channels first, as of every model.
    let gradient = map(&session, folder, &Gradient::new());
    assert_eq!(gradient.dims(), [3, 64, 64]);
    let error = relative_l2(gradient.data(), &expected(folder, "gradient"));
    println!("{path}: the gradient differs by {error:.1e}");
    assert!(error <= 1e-4, "the gradient differs by {error:.1e}");

    // The last grid is found behind the transposes of a channels-last export.
    assert_eq!(map(&session, folder, &GradCam::new()).dims(), [8, 8]);
}
