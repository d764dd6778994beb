//! What the tests share: small networks, a picture, and runs.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use limpid::{
    Device, Error, Explainer, Explanation, Image, Input, Model, RunOptions, Session,
    SessionOptions, Target,
};
use limpid_plugin_host::Plugin;
use std::path::PathBuf;

pub const PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/photos/coffee.jpg");

pub fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(path)
}

/// A network of a few units, of `tests/fixtures/cams`, with 256 MiB for runs, and
/// a picture.
pub fn session_of(bundle: &str) -> (Session, Input) {
    let model = Model::open(fixture(&format!("cams/{bundle}"))).unwrap();
    let options = SessionOptions {
        memory: Some(1 << 28),
        ..SessionOptions::default()
    };
    let session = Session::new(model, Device::cpu(Some(2)).unwrap(), options).unwrap();
    let input = session.input(&Image::open(PHOTO).unwrap()).unwrap();
    (session, input)
}

/// A plugin's method of this name, made without parameters.
pub fn method(plugin: &Plugin, id: &str) -> Result<Box<dyn Explainer>, limpid::ExplainError> {
    let methods = plugin.methods();
    let id = format!("{}/{id}", plugin.id());
    let info = methods.iter().find(|m| m.id == id);
    info.unwrap_or_else(|| panic!("there is no {id}"))
        .build(&[], None)
}

pub fn explain(
    session: &Session,
    input: &Input,
    method: &dyn Explainer,
) -> Result<Vec<Explanation>, Error> {
    let options = RunOptions {
        seed: 7,
        ..RunOptions::default()
    };
    session.explain_input(input, method, &Target::Top(2), &options)
}

/// The bits of all maps.
pub fn bits(found: &[Explanation]) -> Vec<Vec<u32>> {
    let maps = found.iter().map(|e| e.attribution().map.data());
    maps.map(|m| m.iter().map(|v| v.to_bits()).collect())
        .collect()
}
