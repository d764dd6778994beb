//! Every method on a graphics adapter against the same on the processor.

#![allow(
    clippy::print_stdout,
    reason = "the measured errors are shown with --no-capture"
)]

mod common;

use common::{adapter, fixture, numbers, relative_l2};
use limpid::{Device, Input, Model, ParamInfo, RunOptions, Session, Target, methods};
use safetensors::SafeTensors;

/// A network of 32 x 32; for methods that need it, one with rectifiers or one
/// that attends.
fn bundle(kind: &str) -> (&'static str, Input) {
    let (bundle, file, name, shape) = match kind {
        "rule" => ("cams/small", "cams/small.safetensors", "x", [3, 20, 28]),
        "attention" => (
            "cams/class-token",
            "cams/tokens.safetensors",
            "class-token/x",
            [3, 16, 24],
        ),
        _ => {
            let input = Input::from_npy(fixture("smooth-network/x.npy"));
            return ("smooth-network", input.unwrap());
        }
    };
    let file = std::fs::read(fixture(file)).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let data = numbers(&file.tensor(name).unwrap());
    let data: Vec<f32> = data.into_iter().map(|v| v as f32).collect();
    let bytes = limpid::render::encode_npy(&shape, &data).unwrap();
    (bundle, Input::from_npy_bytes(&bytes, "x").unwrap())
}

/// The parameter that makes a method cheap, if it has one: a smoothed path
/// takes evaluations, each other one steps.
fn fewer(params: &[ParamInfo], smooth: bool) -> Option<(&'static str, &'static str)> {
    let path = if smooth { "evaluations" } else { "steps" };
    let names = [path, "masks", "samples"].into_iter();
    let mut known = names.filter(|name| params.iter().any(|p| p.name == *name));
    known
        .next()
        .map(|name| (name, if name == "steps" { "8" } else { "512" }))
}

fn compare(smooth: Option<u64>) {
    let Some(adapter) = adapter() else { return };
    let cpu = Device::cpu(Some(2)).unwrap();
    let mut sessions: Vec<(&str, [Session; 2])> = Vec::new();
    let mut failures = Vec::new();
    for info in methods::list() {
        let smoothed = ["gradient", "path"].contains(&&*info.kind);
        if smooth.is_some() && !smoothed {
            continue;
        }
        let (name, input) = bundle(&info.kind);
        if !sessions.iter().any(|(n, _)| *n == name) {
            let model = Model::open(fixture(name)).unwrap();
            let session = |d: &Device| model.clone().session(d.clone()).unwrap();
            sessions.push((name, [&adapter, &cpu].map(session)));
        }
        let (_, pair) = sessions.iter().find(|(n, _)| *n == name).unwrap();
        // Sequences of steps are not smoothed.
        if smooth.is_some() && ["guided-ig", "sig"].contains(&&*info.id) {
            continue;
        }
        let params = fewer(&info.params, smooth.is_some());
        let method = methods::build(&info.id, params.as_slice(), smooth);
        let method = method.unwrap_or_else(|e| panic!("{}: {e}", info.id));
        let [found, expected] = pair.each_ref().map(|session| {
            let options = RunOptions::default();
            let maps = session.explain_input(&input, &*method, &Target::Class(2), &options);
            let map = maps
                .unwrap_or_else(|e| panic!("{}: {e}", info.id))
                .remove(0);
            map.attribution().map.data().to_vec()
        });
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        let error = relative_l2(&found, &expected);
        println!("{}: {error:.1e}", info.id);
        if error.is_nan() || error > 1e-4 {
            failures.push(format!("{}: {error}", info.id));
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn every_method_gives_the_processor_s_map() {
    compare(None);
}

/// Noise is the same numbers on every device, so that smoothed maps are, too.
#[test]
fn smoothed_methods_give_the_processor_s_map() {
    compare(Some(8));
}

#[test]
fn a_map_from_an_adapter_says_so() {
    let Some(device) = adapter() else { return };
    let session = Model::open(fixture("smooth-network"))
        .unwrap()
        .session(device)
        .unwrap();
    let (_, input) = bundle("gradient");
    let method = methods::build("gradient", &[], None).unwrap();
    let options = RunOptions::default();
    let maps = session.explain_input(&input, &*method, &Target::Top(1), &options);
    let maps = maps.unwrap();
    let manifest = maps[0].manifest();
    assert_eq!((&*manifest.device, &*manifest.precision), ("wgpu", "f32"));
    assert_eq!(manifest.isa, session.device().capabilities().isa);
}
