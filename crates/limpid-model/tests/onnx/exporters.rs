//! Networks as exporters write them, against the framework's own numbers.

use crate::support::{distance, expected, fixtures, imported, run};
use limpid_graph::reference::{self, RefTensor};
use limpid_model::{Model, SaveOptions};

/// Every fixture with the framework's numbers for it.
const NETWORKS: &[(&str, &[&str])] = &[
    (
        "cnn",
        &["script", "script-dynamic", "dynamo", "dynamo-dynamic"],
    ),
    (
        "vit",
        &["script", "script-dynamic", "dynamo", "dynamo-dynamic"],
    ),
    (
        "mha",
        &["script", "script-dynamic", "dynamo", "dynamo-dynamic"],
    ),
];

/// The file of a network as an exporter wrote it.
fn file(name: &str, exporter: &str) -> String {
    let dash = if exporter.is_empty() { "" } else { "-" };
    format!("{name}{dash}{exporter}")
}

#[test]
fn imported_graphs_have_the_frameworks_logits_and_gradients() {
    for (name, exporters) in &NETWORKS[..2] {
        let expected = expected(name);
        for exporter in *exporters {
            let imported = imported(&format!("{name}-{exporter}"));
            let (logits, gradient) = run(&imported.graph, &expected.input);
            let a = distance(&logits, &expected.logits);
            let b = distance(&gradient, &expected.gradient);
            assert!(a < 1e-6 && b < 1e-5, "{name}-{exporter}: {a:e} {b:e}");
        }
    }
}

#[test]
fn models_have_the_frameworks_logits_and_gradients() {
    for (name, exporters) in NETWORKS {
        let expected = expected(name);
        for exporter in *exporters {
            let file = file(name, exporter);
            let model = Model::open(fixtures().join(format!("{file}.onnx"))).unwrap();
            assert_eq!(model.max_batch(), None, "{file}");
            let (logits, gradient) = run(&model.graph(1).unwrap(), &expected.input);
            let a = distance(&logits, &expected.logits);
            let b = distance(&gradient, &expected.gradient);
            assert!(a < 1e-6 && b < 1e-5, "{file}: {a:e} {b:e}");
        }
    }
}

/// A picture's logits do not depend on those beside it.
#[test]
fn a_batch_fixed_at_export_is_lifted() {
    for (name, exporters) in NETWORKS {
        let expected = expected(name);
        for exporter in *exporters {
            let file = file(name, exporter);
            let model = Model::open(fixtures().join(format!("{file}.onnx"))).unwrap();
            let other = expected.input.map(|v| 1.0 - v);
            let shape = [&[2], &expected.input.shape[1..]].concat();
            let both = [other.data, expected.input.data.clone()].concat();
            let both = RefTensor::new(shape, both);
            let logits = reference::run(&model.graph(2).unwrap(), &[both])
                .unwrap()
                .remove(0);
            let classes = logits.shape[1];
            let second = RefTensor::new([1, classes], logits.data[classes..].to_vec());
            let a = distance(&second, &expected.logits);
            assert!(a < 1e-6, "{file}: {a:e}");
        }
    }
}

#[test]
fn notes_say_what_was_assumed() {
    let model = Model::open(fixtures().join("keras.onnx")).unwrap();
    let notes = model.notes().join("\n");
    assert!(
        notes.contains("ends in Softmax; the logits are its input"),
        "{notes}"
    );
    assert!(notes.contains("no config.json"), "{notes}");
    assert_eq!(model.preprocess().input_size(), [3, 20, 20]);
    assert_eq!(model.labels().len(), 7);
    assert_eq!(model.sha256().len(), 64);
}

#[test]
fn layers_have_the_names_of_values_and_nodes() {
    let model = Model::open(fixtures().join("cnn-script.onnx")).unwrap();
    let graph = model.graph(1).unwrap();
    let value = graph.layer("/depthwise/Conv_output_0").unwrap();
    assert_eq!(graph.layer("/depthwise/Conv").unwrap(), value);
    assert_eq!(graph.fact(value).shape.dims(), [1, 8, 8, 8]);
    let near = graph.layer("/depthwise/Con").unwrap_err().to_string();
    assert!(near.contains("/depthwise/Conv"), "{near}");
}

#[test]
fn what_exporters_take_apart_is_recognised() {
    let count = |file: &str, op: &str| {
        let model = Model::open(fixtures().join(format!("{file}.onnx"))).unwrap();
        let graph = model.graph(1).unwrap();
        graph.nodes().iter().filter(|n| n.op.name() == op).count()
    };
    for exporter in ["script", "script-dynamic", "dynamo", "dynamo-dynamic"] {
        let vit = format!("vit-{exporter}");
        assert_eq!(count(&vit, "Attention"), 2, "{vit}");
        assert_eq!(count(&vit, "Gelu"), 2, "{vit}");
        assert_eq!(count(&vit, "LayerNormalization"), 5, "{vit}");
        assert_eq!(count(&vit, "Softmax") + count(&vit, "MatMul"), 0, "{vit}");
        assert_eq!(count(&format!("mha-{exporter}"), "Attention"), 1);
        assert_eq!(count(&format!("cnn-{exporter}"), "Silu"), 1);
        assert_eq!(count(&format!("cnn-{exporter}"), "HardSwish"), 1);
    }
    assert_eq!(count("keras", "HardSwish") + count("keras", "Silu"), 2);
    assert_eq!(count("keras-tokens", "Gelu"), 1);
}

/// What `model import` writes is the same network.
#[test]
fn a_saved_bundle_computes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["keras", "mha-dynamo", "cnn-script"] {
        let model = Model::open(fixtures().join(format!("{name}.onnx"))).unwrap();
        let to = folder.path().join(name);
        let labels: Vec<String> = (0..model.labels().len())
            .map(|i| format!("class {i}"))
            .collect();
        let options = SaveOptions {
            labels: Some(labels),
            mean: Some(vec![127.5]),
            std: Some(vec![63.75]),
            scale: Some(255.0),
            ..SaveOptions::default()
        };
        model.save_bundle(&to, &options).unwrap();
        let saved = Model::open(&to).unwrap();
        assert_eq!(saved.preprocess().mean(), [0.5; 3]);
        assert_eq!(saved.preprocess().std(), [0.25; 3]);
        assert_eq!(saved.labels().name(3), Some("class 3"));
        assert!(saved.notes().is_empty(), "{:?}", saved.notes());
        let expected = expected(name.split("-d").next().unwrap().split("-s").next().unwrap());
        let (logits, gradient) = run(&saved.graph(1).unwrap(), &expected.input);
        assert!(distance(&logits, &expected.logits) < 1e-6);
        assert!(distance(&gradient, &expected.gradient) < 1e-5);
        let again = model.save_bundle(&to, &options).unwrap_err().to_string();
        assert!(again.contains("exists already"), "{again}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn channels_are_turned_around() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::open(fixtures().join("keras.onnx")).unwrap();
    let options = SaveOptions {
        bgr: true,
        ..SaveOptions::default()
    };
    let to = folder.path().join("bgr");
    model.save_bundle(&to, &options).unwrap();
    let saved = Model::open(&to).unwrap();
    let expected = expected("keras");
    let turn = |t: &RefTensor| {
        let channel = t.data.len() / 3;
        let parts = t.data.chunks(channel).rev();
        RefTensor::new(&t.shape, parts.flatten().copied().collect())
    };
    let (logits, gradient) = run(&saved.graph(1).unwrap(), &turn(&expected.input));
    assert!(distance(&logits, &expected.logits) < 1e-6);
    assert!(distance(&gradient, &turn(&expected.gradient)) < 1e-5);
}
