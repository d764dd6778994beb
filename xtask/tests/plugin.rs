//! A crate that `cargo xtask plugin new` makes, outside the workspace: it
//! passes its own tests, and its library explains a photograph.

use limpid::{Device, Image, Model, RunOptions, Target};
use limpid_plugin_host::{Plugin, Verified, pack};
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::Path;
use std::process::Command;

const PHOTO: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/fixtures/photos/coffee.jpg"
);

/// What it writes, where its status is as wanted.
fn output(command: &mut Command, success: bool) -> String {
    let output = command.output().unwrap();
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(output.status.success(), success, "{command:?}: {said}");
    said
}

fn new(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["plugin", "new", name, "--path"]).arg(folder);
    command
}

#[test]
fn a_new_crate_explains_a_photograph() {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("maps");
    let said = output(&mut new("acme-maps", &folder), true);
    assert!(said.contains("limpid plugins pack"), "{said}");

    // What it depends on stays built between runs.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-template");
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command.args(arguments).arg("--offline");
        command
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", &target);
        output(&mut command, true)
    };
    let said = cargo(&["test"]);
    assert!(said.contains("2 passed"), "{said}");
    cargo(&["build"]);
    let file = format!("{DLL_PREFIX}acme_maps{DLL_SUFFIX}");
    let installed = outside.path().join(&file);
    fs::copy(target.join("debug").join(&file), &installed).unwrap();
    cargo(&["clean", "--package", "acme-maps"]);

    let (_, manifest) = pack(&installed).unwrap();
    assert_eq!(
        (&*manifest.id, &manifest.methods[..]),
        ("acme-maps", &["strongest".into()][..])
    );
    let plugin = Plugin::open(&Verified::open(&installed).unwrap()).unwrap();
    let [method] = &plugin.methods()[..] else {
        panic!("{:?}", plugin.methods());
    };
    assert_eq!(method.id, "acme-maps/strongest");
    let explainer = method.build(&[("share", "0.01")], None).unwrap();
    let session = Model::embedded()
        .unwrap()
        .session(Device::auto().unwrap())
        .unwrap();
    let input = session.input(&Image::open(PHOTO).unwrap()).unwrap();
    let maps = session
        .explain_input(&input, &*explainer, &Target::Top(1), &RunOptions::default())
        .unwrap();
    let map = &maps[0].attribution().map;
    let left = map.data().iter().filter(|v| **v != 0.0).count();
    assert_eq!(left, map.data().len().div_ceil(100));
}

#[test]
fn a_folder_with_something_in_it_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes"), "mine").unwrap();
    let said = output(&mut new("acme", folder.path()), false);
    assert!(said.contains("is no empty folder"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let said = output(&mut new("Acme", &folder.path().join("a")), false);
    assert!(said.contains("`Acme` is no name of a plugin"), "{said}");
}
