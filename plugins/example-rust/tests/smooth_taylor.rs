//! The plugin as a host loads it, against its formula written out.

use limpid::methods::MethodInfo;
use limpid::{Device, Error, Explanation, Image, Model, RunOptions, Target};
use limpid_plugin::explain::{
    Attribution, Context, Domain, ExplainError, Explainer, Noise, Passes, Request,
};
use limpid_plugin_host::Plugin;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};

const PHOTO: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/fixtures/photos/coffee.jpg"
);
const SAMPLES: u64 = 10;
const NOISE: f64 = 0.2;

/// Each noisy copy by itself, summed in f64.
struct WrittenOut;

impl Explainer for WrittenOut {
    fn id(&self) -> &str {
        "written-out"
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let x = request.image;
        let lowest = x.data().iter().copied().fold(f32::MAX, f32::min);
        let highest = x.data().iter().copied().fold(f32::MIN, f32::max);
        let noise = Noise {
            scale: (NOISE * f64::from(highest - lowest)) as f32,
            seed: request.seed,
        };
        let picture = cx.upload(&x.clone().reshape([&[1], x.dims()].concat())?)?;
        let mut maps = Vec::new();
        for objective in request.objectives {
            let mut sum = vec![0.0; x.data().len()];
            for draw in 0..SAMPLES {
                let z = cx.noise(&picture, noise, draw..draw + 1)?;
                let passed = cx.pass(&Passes {
                    objective: Some(objective),
                    layers: &[String::new()],
                    ..Passes::of(&z)
                })?;
                let (z, gradient) = (cx.download(&z)?, cx.download(&passed.gradients[0])?);
                let values = x.data().iter().zip(z.data()).zip(gradient.data());
                for (sum, ((x, z), g)) in sum.iter_mut().zip(values) {
                    *sum += (f64::from(*x) - f64::from(*z)) * f64::from(*g);
                }
            }
            let mut map = x.clone();
            for (v, sum) in map.data_mut().iter_mut().zip(sum) {
                *v = (sum / SAMPLES as f64) as f32;
            }
            maps.push(Attribution::new(map, Domain::Input, cx.evaluations()));
        }
        Ok(maps)
    }
}

/// The method of the library that cargo has built beside this test.
fn method() -> MethodInfo {
    let test = std::env::current_exe().unwrap();
    let file = format!("{DLL_PREFIX}limpid_plugin_example{DLL_SUFFIX}");
    let plugin = Plugin::load(&test.with_file_name(file), None).unwrap();
    let [method] = &plugin.methods()[..] else {
        panic!("{} methods", plugin.methods().len());
    };
    method.clone()
}

fn explain(explainer: &dyn Explainer, target: &Target) -> Result<Vec<Explanation>, Error> {
    let session = Model::embedded()?.session(Device::auto()?)?;
    let input = session.input(&Image::open(PHOTO)?)?;
    let options = RunOptions {
        seed: 3,
        ..RunOptions::default()
    };
    session.explain_input(&input, explainer, target, &options)
}

#[test]
fn it_is_its_formula() {
    let params = [("samples", "10"), ("noise", "0.2")];
    let method = method().build(&params, None).unwrap();
    let found = explain(&*method, &Target::Top(2)).unwrap();
    let expected = explain(&WrittenOut, &Target::Top(2)).unwrap();
    assert_eq!(found.len(), 2);
    for (found, expected) in found.iter().zip(&expected) {
        let (found, expected) = (found.attribution(), expected.attribution());
        let square = |v: f64| v * v;
        let pairs = found.map.data().iter().zip(expected.map.data());
        let difference: f64 = pairs.map(|(a, b)| square(f64::from(a - b))).sum();
        let norm: f64 = expected
            .map
            .data()
            .iter()
            .map(|v| square(f64::from(*v)))
            .sum();
        let distance = (difference / norm).sqrt();
        assert!(
            norm > 0.0 && distance < 1e-5,
            "a relative distance of {distance}"
        );
        assert_eq!(found.evaluations.gradients, SAMPLES);
        assert_eq!(found.completeness, None);
    }
}

#[test]
fn without_noise_nothing_is_far_from_the_picture() {
    let params = [("samples", "1"), ("noise", "0")];
    let method = method().build(&params, None).unwrap();
    let maps = explain(&*method, &Target::Top(1)).unwrap();
    assert!(maps[0].attribution().map.data().iter().all(|v| *v == 0.0));
    let parameters = &maps[0].manifest().parameters;
    assert_eq!(
        (&parameters["samples"], &parameters["noise"]),
        (&1.into(), &0.0.into())
    );
}

#[test]
fn its_parameters_are_checked() {
    let wrong = method().build(&[("samples", "0")], None).err().unwrap();
    let words = "parameter `samples` of example/smooth-taylor must be a whole number from 1 to 1000000, not `0`";
    assert_eq!(wrong.to_string(), words);
}
