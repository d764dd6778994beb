//! Plugins and hosts of different minor versions of the interface.

mod common;

use common::{bits, explain, method, session_of};
use limpid::{Explainer, GradCam, Gradient, IntegratedGradients};
use limpid_plugin_abi as abi;
use limpid_plugin_host::{Plugin, host};
use limpid_plugin_suite::{built, compiled, newest_header};
use std::path::{Path, PathBuf};
use std::{fs, mem};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The plugin of version 1.0, built with the header of that version; `None`
/// where there is no compiler.
fn frozen(host: Option<&'static abi::limpid_host>) -> Option<Plugin> {
    let out = tempfile::tempdir().unwrap();
    let source = folder("abi-1.0/plugin.c");
    let library = compiled(&source, &folder("abi-1.0"), out.path())?;
    Some(Plugin::load(&library, host).unwrap())
}

#[test]
fn plugins_of_the_first_version_make_the_same_maps() {
    let Some(plugin) = frozen(None) else { return };
    assert_eq!((plugin.abi(), plugin.refused()), ("1.0", &[][..]));
    let (session, input) = session_of("small");
    let pairs: [(&str, Box<dyn Explainer>); 5] = [
        ("gradient", Box::new(Gradient::new())),
        ("visited-gradient", Box::new(Gradient::new())),
        (
            "integrated-gradients",
            Box::new(IntegratedGradients::new().steps(10)),
        ),
        ("grad-cam", Box::new(GradCam::new())),
        ("needy-grad-cam", Box::new(GradCam::new())),
    ];
    for (id, own) in pairs {
        let own = explain(&session, &input, &*own).unwrap();
        let found = method(&plugin, id).unwrap();
        let found = explain(&session, &input, &*found).unwrap();
        assert_eq!(bits(&own), bits(&found), "{id}");
        for (own, found) in own.iter().zip(&found) {
            let (own, found) = (own.attribution(), found.attribution());
            assert_eq!(own.domain, found.domain, "{id}");
            assert_eq!(own.signed, found.signed, "{id}");
            assert_eq!(own.completeness, found.completeness, "{id}");
        }
    }
}

/// No field of version 1.0 has moved; structs with a head may have grown.
#[test]
fn structs_have_only_grown() {
    let first = fs::read_to_string(folder("abi-1.0/layout.txt")).unwrap();
    let newest = newest_header().join("../tests/layout.txt");
    let newest = fs::read_to_string(newest).unwrap();
    // A struct's lines begin with its name.
    let structs = |text: &str| {
        let mut all: Vec<Vec<String>> = Vec::new();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            match (line.starts_with(' '), all.last_mut()) {
                (true, Some(last)) => last.push(line.to_owned()),
                _ => all.push(vec![line.to_owned()]),
            }
        }
        all
    };
    let newest = structs(&newest);
    for old in structs(&first) {
        let name = old[0].split(' ').next();
        let new = newest.iter().find(|s| s[0].split(' ').next() == name);
        let new = new.unwrap_or_else(|| panic!("{name:?} is gone"));
        assert!(new[1..].starts_with(&old[1..]), "{name:?} has changed");
        let grows = old[1].trim_start().starts_with("head ");
        assert!(grows || *new == old, "{name:?} has no head and has grown");
    }
}

const LAYERS: u64 = abi::LIMPID_CAN_READ_LAYERS;

/// A host whose table ends before the services of layers.
static SHORT: abi::limpid_host = host(
    abi::LIMPID_CAN_ALL & !LAYERS,
    mem::offset_of!(abi::limpid_host, layer_gradients),
);

/// A host whose device does not read layers.
static WITHOUT: abi::limpid_host =
    host(abi::LIMPID_CAN_ALL & !LAYERS, size_of::<abi::limpid_host>());

#[test]
fn older_hosts_refuse_what_they_lack() {
    let (session, input) = session_of("small");
    let cases = [
        (&SHORT, "this host does not read layers"),
        (
            &WITHOUT,
            "this version of Limpid does not offer plugins layers",
        ),
    ];
    for (host, words) in cases {
        let Some(plugin) = frozen(Some(host)) else {
            return;
        };
        // What cannot do without layers is refused, with the reason.
        let [refused] = plugin.refused() else {
            panic!("{:?}", plugin.refused());
        };
        assert_eq!(refused.method, "needy-grad-cam");
        assert_eq!(refused.reason, "it needs layers of a newer Limpid");
        // What may use them says so when it would.
        let cam = method(&plugin, "grad-cam").unwrap();
        let error = explain(&session, &input, &*cam).unwrap_err().to_string();
        assert_eq!(error, format!("plugin abi-1-0: grad-cam: {words}"));
        // The rest works.
        let own = explain(&session, &input, &Gradient::new()).unwrap();
        let found = method(&plugin, "gradient").unwrap();
        let found = explain(&session, &input, &*found).unwrap();
        assert_eq!(bits(&own), bits(&found));
    }
}

/// The same for plugins that are written with the SDK.
#[test]
fn older_hosts_run_plugins_of_the_sdk() {
    let (session, input) = session_of("small");
    let library = built("limpid-plugin-cam");
    let cases = [
        (
            &SHORT,
            "this version of Limpid has no service `layer_gradients` for plugins",
        ),
        (
            &WITHOUT,
            "this version of Limpid does not offer plugins layers",
        ),
    ];
    for (host, words) in cases {
        let plugin = Plugin::load(&library, Some(host)).unwrap();
        let cam = method(&plugin, "grad-cam").unwrap();
        let error = explain(&session, &input, &*cam).unwrap_err().to_string();
        assert_eq!(error, format!("plugin limpid-cam: grad-cam: {words}"));
    }
    let plugin = Plugin::load(&built("limpid-plugin-gradient"), Some(&SHORT)).unwrap();
    let own = explain(&session, &input, &Gradient::new()).unwrap();
    let found = method(&plugin, "gradient").unwrap();
    assert_eq!(
        bits(&own),
        bits(&explain(&session, &input, &*found).unwrap())
    );
}

#[test]
fn newer_plugins_run_where_they_need_nothing_new() {
    let out = tempfile::tempdir().unwrap();
    let source = folder("newer/newer.c");
    let Some(library) = compiled(&source, &newest_header(), out.path()) else {
        return;
    };
    let plugin = Plugin::load(&library, None).unwrap();
    assert_eq!(plugin.abi(), "1.9");
    let [refused] = plugin.refused() else {
        panic!("{:?}", plugin.refused());
    };
    assert_eq!(refused.method, "dream");
    let expected = "it needs services 0x10000000000 of a newer Limpid";
    assert_eq!(refused.reason, expected);
    let (session, input) = session_of("small");
    let own = explain(&session, &input, &Gradient::new()).unwrap();
    let found = method(&plugin, "gradient").unwrap();
    assert_eq!(
        bits(&own),
        bits(&explain(&session, &input, &*found).unwrap())
    );
}
