//! Built-in methods, run statically and through their plugins.

use limpid::methods::{self, MethodInfo};
use limpid::{Device, Error, Explanation, Image, Model, RunOptions, Session, Target};
use limpid_plugin_host::Plugin;
use limpid_plugin_suite::built;

const PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/photos/coffee.jpg");

fn explain(
    session: &Session,
    method: &MethodInfo,
    params: &[(&str, &str)],
    smooth: Option<u64>,
) -> Result<Vec<Explanation>, Error> {
    let image = Image::open(PHOTO)?;
    let input = session.input(&image)?;
    let options = RunOptions {
        seed: 7,
        ..RunOptions::default()
    };
    let explainer = method.build(params, smooth)?;
    session.explain_input(&input, &*explainer, &Target::Top(2), &options)
}

fn same(own: &[Explanation], plugin: &[Explanation], what: &str) {
    assert_eq!(own.len(), plugin.len(), "{what}");
    for (a, b) in own.iter().zip(plugin) {
        let (a, b) = (a.attribution(), b.attribution());
        assert_eq!(a.map.dims(), b.map.dims(), "{what}");
        let bits = |t: &limpid::Tensor| t.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(bits(&a.map) == bits(&b.map), "{what}: other maps");
        let errors = [a, b].map(|m| m.standard_error.as_ref().map(bits));
        assert!(errors[0] == errors[1], "{what}: other standard errors");
        assert_eq!(a.domain, b.domain, "{what}");
        assert_eq!(a.signed, b.signed, "{what}");
        assert_eq!(a.completeness, b.completeness, "{what}");
        assert_eq!(a.evaluations, b.evaluations, "{what}");
    }
    for (a, b) in own.iter().zip(plugin) {
        assert_eq!(a.manifest().parameters, b.manifest().parameters, "{what}");
    }
}

#[test]
fn gradient() {
    let plugin = Plugin::load(&built("limpid-plugin-gradient"), None).unwrap();
    let session = Model::embedded()
        .unwrap()
        .session(Device::auto().unwrap())
        .unwrap();
    for method in plugin.methods() {
        let own = methods::info(method.id.rsplit('/').next().unwrap()).unwrap();
        let a = explain(&session, &own, &[], Some(3)).unwrap();
        let b = explain(&session, &method, &[], Some(3)).unwrap();
        same(&a, &b, &method.id);
    }
}
