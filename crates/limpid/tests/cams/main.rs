//! Class activation maps and methods that read attention, against closed forms and
//! against PyTorch in f64 (tests/fixtures/cams).

#![allow(clippy::print_stdout, reason = "the figures are worth reading")]

#[path = "../common/mod.rs"]
mod common;
mod layers;
mod running;
mod tokens;
mod values;

use common::{correlation, fixture, numbers, relative_l2};
use limpid::{
    Device, Error, Explainer, Explanation, Input, Model, ResolvedTarget, RunOptions, Session,
    SessionOptions, Target, methods,
};
use safetensors::SafeTensors;

/// The classes that the fixtures of small networks have maps for.
const TARGETS: [usize; 2] = [1, 3];

/// The tensors of a file.
struct Numbers(Vec<u8>);

impl Numbers {
    fn of(file: &str) -> Self {
        Self(std::fs::read(fixture(&format!("cams/{file}"))).unwrap())
    }

    fn get(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        numbers(&file.tensor(name).unwrap())
    }

    fn input(&self, name: &str, shape: [usize; 3]) -> Input {
        let data: Vec<f32> = self.get(name).into_iter().map(|v| v as f32).collect();
        let bytes = limpid::render::encode_npy(&shape, &data).unwrap();
        Input::from_npy_bytes(&bytes, name).unwrap()
    }
}

fn session_of(bundle: &str, options: SessionOptions, threads: Option<usize>) -> Session {
    let model = Model::open(fixture(&format!("cams/{bundle}"))).unwrap();
    Session::new(model, Device::cpu(threads).unwrap(), options).unwrap()
}

fn small() -> (Session, Input, Numbers) {
    let numbers = Numbers::of("small.safetensors");
    let input = numbers.input("x", [3, 20, 28]);
    (
        session_of("small", SessionOptions::default(), None),
        input,
        numbers,
    )
}

fn classes(session: &Session, input: &Input, classes: &[usize]) -> Vec<ResolvedTarget> {
    let logits = session.logits(input).unwrap();
    let targets = classes
        .iter()
        .flat_map(|c| session.resolve(&Target::Class(*c), &logits));
    targets.flatten().collect()
}

fn explain(
    session: &Session,
    input: &Input,
    method: &dyn Explainer,
    targets: &[usize],
) -> Result<Vec<Explanation>, Error> {
    let targets = classes(session, input, targets);
    session.explain_targets(input, method, &targets, &RunOptions::default())
}

fn maps(
    session: &Session,
    input: &Input,
    method: &dyn Explainer,
    targets: &[usize],
) -> Vec<Vec<f32>> {
    let found = explain(session, input, method, targets).unwrap();
    found
        .iter()
        .map(|e| e.attribution().map.data().to_vec())
        .collect()
}

fn map(session: &Session, input: &Input, method: &dyn Explainer, target: usize) -> Vec<f32> {
    maps(session, input, method, &[target]).remove(0)
}

fn close(what: &str, found: &[f32], expected: &[f64], bar: f64) {
    let (l2, r) = (relative_l2(found, expected), correlation(found, expected));
    println!(
        "{what}: relative L2 {l2:.1e}, 1 - correlation {:.1e}",
        1.0 - r
    );
    assert!(l2 <= bar, "{what}: relative L2 {l2}");
    assert!(r >= 0.9999, "{what}: correlation {r}");
}

/// All of the family as the command line makes it.
fn listed(layer: &str) -> Vec<Box<dyn Explainer>> {
    let cams = methods::list().into_iter().filter(|m| m.kind == "cam");
    let made = cams.map(|m| m.build(&[("layer", layer)], None).unwrap());
    let made: Vec<_> = made.collect();
    assert_eq!(made.len(), 11);
    made
}
