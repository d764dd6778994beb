//! Fixtures and comparisons.

use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Graph, passes};
use limpid_model::Weights;
use limpid_model::onnx::{ImportOptions, Imported, import};
use std::path::PathBuf;

/// The folder of the fixtures.
pub(crate) fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/onnx")
}

/// An imported fixture.
pub(crate) fn imported(name: &str) -> Imported {
    let bytes = std::fs::read(fixtures().join(format!("{name}.onnx"))).unwrap();
    let options = ImportOptions {
        file: format!("{name}.onnx"),
        ..ImportOptions::default()
    };
    import(&bytes, &options).unwrap()
}

/// Input, logits and the gradient of the largest logit, as the framework has them.
pub(crate) struct Expected {
    pub(crate) input: RefTensor,
    pub(crate) logits: RefTensor,
    pub(crate) gradient: RefTensor,
}

pub(crate) fn expected(name: &str) -> Expected {
    let weights = Weights::open(fixtures().join(format!("{name}.safetensors"))).unwrap();
    let get = |tensor| RefTensor::from(&weights.tensor(tensor).unwrap());
    Expected {
        input: get("input"),
        logits: get("logits"),
        gradient: get("gradient"),
    }
}

/// The first output and the gradient of its largest element with respect to
/// the first input, in f64.
pub(crate) fn run(graph: &Graph, input: &RefTensor) -> (RefTensor, RefTensor) {
    let logits = reference::run(graph, std::slice::from_ref(input))
        .unwrap()
        .remove(0);
    let seed = one_hot(&logits);
    let lowered = passes::lower(graph).unwrap();
    let (output, pixels) = (lowered.outputs()[0], lowered.inputs()[0]);
    let gradient = passes::vjp(&lowered, output, &[pixels], passes::Rule::default()).unwrap();
    let inputs = [input.clone(), seed];
    let outputs = reference::run(&gradient.graph, &inputs).unwrap();
    (logits, outputs.into_iter().last().unwrap())
}

fn one_hot(logits: &RefTensor) -> RefTensor {
    let top = (0..logits.data.len()).max_by(|&a, &b| logits.data[a].total_cmp(&logits.data[b]));
    RefTensor::from_fn(&logits.shape, |i| f64::from(u8::from(Some(i) == top)))
}

/// |a - b| / |b|.
pub(crate) fn distance(a: &RefTensor, b: &RefTensor) -> f64 {
    assert_eq!(a.shape, b.shape);
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.data.iter().zip(&b.data).map(|(x, y)| x - y)) / norm(&mut b.data.iter().copied())
}
