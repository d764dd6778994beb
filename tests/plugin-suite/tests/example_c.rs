//! The example in C, built by the system's compiler.

mod common;

use common::{bits, explain, session_of};
use limpid::{
    Error, ExplainError, Gradient, Input, IntegratedGradients, RunOptions, Session, Target,
};
use limpid_plugin_host::Plugin;
use limpid_plugin_suite::{compiled, newest_header};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// The plugin; `None` where there is no compiler.
fn plugin() -> Option<Plugin> {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/example-c/example.c");
    let library = compiled(&source, &newest_header(), folder.path())?;
    Some(Plugin::load(&library, None).unwrap())
}

fn made(plugin: &Plugin, id: &str, params: &[(&str, &str)]) -> Box<dyn limpid::Explainer> {
    let methods = plugin.methods();
    let info = methods.iter().find(|m| m.id == format!("example-c/{id}"));
    info.unwrap().build(params, None).unwrap()
}

#[test]
fn integrated_gradients_are_the_built_in_ones() {
    let Some(plugin) = plugin() else { return };
    let (session, input) = session_of("small");
    for (steps, params) in [(64, &[][..]), (9, &[("steps", "9")])] {
        let own = IntegratedGradients::new().steps(steps);
        let own = explain(&session, &input, &own).unwrap();
        let c = made(&plugin, "c-integrated-gradients", params);
        let c = explain(&session, &input, &*c).unwrap();
        assert_eq!(bits(&own), bits(&c));
        for (own, c) in own.iter().zip(&c) {
            let (own, c) = (own.attribution(), c.attribution());
            assert_eq!(own.completeness, c.completeness);
            assert_eq!(own.evaluations, c.evaluations);
        }
        assert_eq!(c[0].manifest().parameters["steps"], steps);
        assert_eq!(c[0].manifest().method, "example-c/c-integrated-gradients");
    }
}

/// The mean over blurred pictures of their gradients, one by one.
fn mean_of_gradients(session: &Session, input: &Input, scales: u64, class: usize) -> Vec<f64> {
    let sigmas: Vec<f32> = (0..scales).map(|s| s as f32).collect();
    let mut pictures = Vec::new();
    let keep = |picture: &limpid::Tensor| pictures.push(picture.clone());
    session.blurred(input, &sigmas, keep).unwrap();
    let mut mean = vec![0.0; input.tensor().data().len()];
    for picture in &pictures {
        let bytes = limpid::render::encode_npy(input.tensor().dims(), picture.data()).unwrap();
        let picture = Input::from_npy_bytes(&bytes, "blurred").unwrap();
        let target = Target::Class(class);
        let found =
            session.explain_input(&picture, &Gradient::new(), &target, &RunOptions::default());
        let found = found.unwrap();
        for (m, g) in mean.iter_mut().zip(found[0].attribution().map.data()) {
            *m += f64::from(*g) / scales as f64;
        }
    }
    mean
}

#[test]
fn blurred_gradients_are_the_mean() {
    let Some(plugin) = plugin() else { return };
    let (session, input) = session_of("small");
    for (scales, params) in [(8, &[][..]), (3, &[("scales", "3")])] {
        let c = made(&plugin, "blurred-gradient", params);
        let found = explain(&session, &input, &*c).unwrap();
        for map in &found {
            let expected = mean_of_gradients(&session, &input, scales, map.manifest().target.index);
            let attribution = map.attribution();
            let data = attribution.map.data().iter();
            let error: f64 = data
                .zip(&expected)
                .map(|(a, b)| (f64::from(*a) - b).powi(2))
                .sum();
            let norm: f64 = expected.iter().map(|b| b * b).sum();
            assert!(
                norm > 0.0 && (error / norm).sqrt() < 1e-6,
                "{error} of {norm}"
            );
            assert_eq!(attribution.evaluations.gradients, 2 * scales);
            assert_eq!(map.manifest().parameters["scales"], scales);
        }
    }
}

#[test]
fn parameters_are_checked() {
    let Some(plugin) = plugin() else { return };
    let methods = plugin.methods();
    let blurred = methods.iter().find(|m| m.id.ends_with("blurred-gradient"));
    let error = blurred.unwrap().build(&[("scales", "65")], None).err();
    assert_eq!(
        error.unwrap().to_string(),
        "parameter `scales` of example-c/blurred-gradient must be a whole number from 1 to 64, not `65`"
    );
}

#[test]
fn it_stops_where_it_is_cancelled() {
    let Some(plugin) = plugin() else { return };
    let (session, input) = session_of("small");
    let cancel = AtomicBool::new(true);
    let options = RunOptions {
        cancel: Some(&cancel),
        ..RunOptions::default()
    };
    for id in ["blurred-gradient", "c-integrated-gradients"] {
        let c = made(&plugin, id, &[]);
        let found = session.explain_input(&input, &*c, &Target::Top(1), &options);
        let cancelled = matches!(found, Err(Error::Explain(ExplainError::Cancelled)));
        assert!(cancelled, "{id}");
    }
}
