//! Networks as exporters write them, against the framework's own numbers.

use crate::support::{distance, expected, fixtures, imported, run};
use limpid_graph::reference::{self, RefTensor};
use limpid_model::Model;

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
            let file = format!("{name}-{exporter}");
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
            let file = format!("{name}-{exporter}");
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
