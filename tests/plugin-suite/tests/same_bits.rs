//! Every built-in method, run statically and through its family's plugin: the
//! same maps, standard errors, costs, parameters and errors, to the bit.

mod common;

use common::{PHOTO, fixture, session_of};
use limpid::methods::{self, MethodInfo};
use limpid::{
    Device, Error, Explanation, Image, Input, Model, RunOptions, Session, SessionOptions, Target,
};
use limpid_plugin_host::Plugin;
use limpid_plugin_suite::built;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Methods and parameters, as the command line has them, that keep them cheap,
/// and the draws of `--smooth`.
const CASES: &[(&str, &str, Option<u64>)] = &[
    ("gradient", "", None),
    ("gradient", "reduce=variance", Some(3)),
    ("gradient", "reduce=squared spread=0.3", Some(4)),
    ("smoothgrad", "", Some(5)),
    ("gradient-x-input", "", None),
    ("gradient-x-input", "", Some(3)),
    ("integrated-gradients", "steps=6", None),
    (
        "integrated-gradients",
        "steps=3 rule=gauss-legendre baseline=blur",
        Some(3),
    ),
    (
        "integrated-gradients",
        "baseline=noise evaluations=48",
        Some(2),
    ),
    (
        "integrated-gradients",
        "baseline=file:PHOTO steps=4 reduce=variance",
        Some(3),
    ),
    ("integrated-gradients", "tolerance=0.05", None),
    ("integrated-gradients", "weighting=idgi steps=8", None),
    ("expected-gradients", "evaluations=32", None),
    (
        "expected-gradients",
        "baselines=folder:FOLDER evaluations=40",
        None,
    ),
    ("blur-ig", "steps=5", None),
    ("blur-ig", "steps=4 mode=pair", None),
    ("blur-ig", "variable=sigma steps=3", Some(2)),
    ("blur-ig", "sampling=joint evaluations=64", Some(25)),
    ("blur-ig", "sampling=joint tolerance=0.5", Some(25)),
    ("blur-ig", "tolerance=0.05", None),
    ("blur-ig", "weighting=idgi steps=5", None),
    ("guided-ig", "steps=6", None),
    ("guided-ig", "steps=4 max_distance=0.02", None),
    ("sig", "steps=4", None),
    ("guided-backprop", "", None),
    ("guided-backprop", "", Some(3)),
    ("deconvnet", "", None),
    ("deconvnet", "reduce=squared", Some(3)),
    ("lrp", "", None),
    ("lrp", "composite=epsilon epsilon=0.01", None),
    ("lrp", "", Some(2)),
    ("deeplift", "", None),
    ("deeplift", "baseline=blur", Some(2)),
    ("grad-cam", "", None),
    ("grad-cam", "layer=act1 relu=false", None),
    ("grad-cam", "layer=act1,act2", None),
    ("grad-cam++", "", None),
    ("hires-cam", "", None),
    ("element-wise-cam", "", None),
    ("layer-cam", "layer=act1", None),
    ("xgrad-cam", "", None),
    ("eigen-cam", "", None),
    ("eigen-grad-cam", "centre=false", None),
    ("score-cam", "", None),
    ("score-cam", "channels=3", None),
    ("ablation-cam", "", None),
    ("recipro-cam", "", None),
    ("xrai", "steps=4", None),
    ("xrai", "algorithm=fast base=integrated-gradients", None),
    ("occlusion", "window=8 stride=6", None),
    ("rise", "masks=24", None),
    ("lime", "samples=24 segments=grid cells=3", None),
    ("kernel-shap", "samples=24 segments=grid cells=3", None),
];

/// Methods that read attentions, for networks of tokens.
const TOKENS: &[(&str, &str, Option<u64>)] = &[
    ("attention-rollout", "", None),
    ("attention-rollout", "heads=max discard=0.9", None),
    ("transformer-relevance", "", None),
    ("gradient-x-attention", "", None),
    ("grad-cam", "", None),
    ("layer-cam", "layer=last:2", None),
    ("recipro-cam", "", None),
    ("lrp", "", None),
    ("blur-ig", "steps=3", Some(2)),
];

/// Methods, parameters and what is wrong: with the parameters, the model or
/// files.
const ERRORS: &[(&str, &str, &str)] = &[
    ("grad-cam", "layer=no.such.layer", "no.such.layer"),
    ("score-cam", "layer=fc", "`fc`"),
    ("ablation-cam", "layer=no.such.layer", "no.such.layer"),
    (
        "integrated-gradients",
        "baseline=file:/nowhere.png",
        "/nowhere.png",
    ),
    ("integrated-gradients", "steps=0", "a whole number from 1"),
    (
        "integrated-gradients",
        "steps=1 rule=trapezoid",
        "at least 2",
    ),
    (
        "integrated-gradients",
        "tolerance=0.1 rule=left",
        "leave `rule` out",
    ),
    (
        "expected-gradients",
        "baselines=folder:/nowhere",
        "/nowhere",
    ),
    ("blur-ig", "colour=blue", "has no parameter `colour`"),
    ("lime", "samples=many", "a whole number from 2"),
    ("attention-rollout", "", "attention"),
];

fn plugins() -> Vec<Plugin> {
    let kinds = [
        "gradient",
        "path",
        "rule",
        "cam",
        "attention",
        "region",
        "perturbation",
    ];
    let load = |kind: &str| Plugin::load(&built(&format!("limpid-plugin-{kind}")), None).unwrap();
    kinds.into_iter().map(load).collect()
}

/// The same method of the program and of a plugin.
fn both(plugins: &[Plugin], id: &str) -> [MethodInfo; 2] {
    let own = methods::info(id).unwrap();
    let name = format!("limpid-{}/{id}", own.kind);
    let other = plugins.iter().flat_map(Plugin::methods);
    let other = other.into_iter().find(|m| m.id == name);
    [own, other.unwrap_or_else(|| panic!("there is no {name}"))]
}

fn run(
    session: &Session,
    input: &Input,
    method: &MethodInfo,
    params: &[(&str, &str)],
    smooth: Option<u64>,
) -> Result<Vec<Explanation>, Error> {
    let options = RunOptions {
        seed: 7,
        ..RunOptions::default()
    };
    let explainer = method.build(params, smooth)?;
    session.explain_input(input, &*explainer, &Target::Top(2), &options)
}

fn same(own: &[Explanation], plugin: &[Explanation], what: &str) {
    assert_eq!(own.len(), plugin.len(), "{what}");
    for (own, plugin) in own.iter().zip(plugin) {
        let (a, b) = (own.attribution(), plugin.attribution());
        assert_eq!(a.map.dims(), b.map.dims(), "{what}");
        let bits = |t: &limpid::Tensor| t.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(bits(&a.map) == bits(&b.map), "{what}: other maps");
        let errors = [a, b].map(|m| m.standard_error.as_ref().map(bits));
        assert!(errors[0] == errors[1], "{what}: other standard errors");
        assert_eq!(a.domain, b.domain, "{what}");
        assert_eq!(a.signed, b.signed, "{what}");
        assert_eq!(a.completeness, b.completeness, "{what}");
        assert_eq!(a.evaluations, b.evaluations, "{what}");
        let [a, b] = [own, plugin].map(Explanation::manifest);
        assert_eq!(a.parameters, b.parameters, "{what}");
        assert_eq!(a.target.index, b.target.index, "{what}");
        assert!(b.method.ends_with(&a.method), "{what}");
    }
}

/// A folder of two pictures.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cat.jpg", "rocket.jpg"] {
        let photo = fixture("photos").join(name);
        fs::copy(photo, folder.path().join(name)).unwrap();
    }
    folder
}

/// `key=value key=value`, with files in their places.
fn params(text: &str, folder: &Path) -> Vec<(String, String)> {
    let text = text.replace("PHOTO", PHOTO);
    let text = text.replace("FOLDER", &folder.display().to_string());
    let pairs = text.split_whitespace().filter_map(|p| p.split_once('='));
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn borrowed(params: &[(String, String)]) -> Vec<(&str, &str)> {
    params.iter().map(|(k, v)| (&**k, &**v)).collect()
}

fn compare(session: &Session, input: &Input, cases: &[(&str, &str, Option<u64>)]) {
    let (plugins, folder) = (plugins(), folder());
    for (id, text, smooth) in cases {
        let params = params(text, folder.path());
        let what = format!("{id} {text} {smooth:?}");
        let [own, plugin] = both(&plugins, id).map(|method| {
            let found = run(session, input, &method, &borrowed(&params), *smooth);
            found.unwrap_or_else(|e| panic!("{what}: {}: {e}", method.id))
        });
        same(&own, &plugin, &what);
    }
}

#[test]
fn every_method_is_compared() {
    let all: BTreeSet<String> = methods::list().iter().map(|m| m.id.to_string()).collect();
    let cases = CASES.iter().chain(TOKENS);
    let compared: BTreeSet<String> = cases.map(|(id, ..)| (*id).to_owned()).collect();
    assert_eq!(compared, all);
    let smooth: BTreeSet<String> = methods::list()
        .iter()
        .filter(|m| m.can_smooth())
        .map(|m| m.id.to_string())
        .collect();
    let smoothed = CASES.iter().filter(|(_, _, smooth)| smooth.is_some());
    let smoothed: BTreeSet<String> = smoothed.map(|(id, ..)| (*id).to_owned()).collect();
    assert_eq!(smoothed, smooth);
}

/// What is known of a method is the same on both sides.
#[test]
fn descriptions() {
    let plugins = plugins();
    for own in methods::list() {
        let [own, plugin] = both(&plugins, &own.id);
        assert_eq!(own.kind, plugin.kind);
        assert_eq!(own.output, plugin.output);
        assert_eq!(own.summary, plugin.summary);
        assert_eq!(own.params, plugin.params);
        assert_eq!(own.smooth, plugin.smooth);
    }
}

#[test]
fn convolutions() {
    let (session, input) = session_of("small");
    compare(&session, &input, CASES);
}

/// A network that is run in several batches.
#[test]
fn photographs() {
    let cases = [
        ("gradient", "", Some(20)),
        ("blur-ig", "steps=3", None),
        ("grad-cam", "", None),
        ("occlusion", "window=64 stride=64", None),
    ];
    let device = Device::cpu(Some(2)).unwrap();
    let options = SessionOptions {
        batch: Some(8),
        ..SessionOptions::default()
    };
    let session = Session::new(Model::embedded().unwrap(), device, options).unwrap();
    let input = session.input(&Image::open(PHOTO).unwrap()).unwrap();
    compare(&session, &input, &cases);
}

#[test]
fn tokens() {
    for network in ["class-token", "pooled"] {
        let (session, input) = session_of(network);
        compare(&session, &input, TOKENS);
    }
}

#[test]
fn errors() {
    let (session, input) = session_of("small");
    let plugins = plugins();
    for (id, text, words) in ERRORS {
        let params = params(text, Path::new("/nowhere"));
        let [own, plugin] = both(&plugins, id).map(|method| {
            let found = run(&session, &input, &method, &borrowed(&params), None);
            let error = found.err().unwrap_or_else(|| panic!("{id} {text}"));
            error.to_string()
        });
        assert!(own.contains(words), "{id} {text}: {own}");
        // What the host says of parameters names the method as it was asked for.
        let kind = methods::info(id).unwrap().kind;
        let plugin = plugin.replace(&format!("limpid-{kind}/"), "");
        assert_eq!(plugin, own, "{id} {text}");
    }
}
