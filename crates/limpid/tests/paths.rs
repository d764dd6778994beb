//! Paths and their sampling: against independent computations on a smooth
//! network, and against what must hold of an estimate.

#![allow(clippy::print_stdout, reason = "the figures are worth reading")]

mod common;

use common::{PHOTOS, crop, embedded, fixture, relative_l2};
use limpid::{
    Attribution, Baseline, BlurIntegratedGradients, Context, Device, Domain, ExpectedGradients,
    ExplainError, Explainer, Gradient, GradientMethod, GradientXInput, GuidedIntegratedGradients,
    Input, IntegratedGradients, Joint, Mode, Model, Request, Rule, RunOptions, Session, SmoothGrad,
    SpectralIntegratedGradients, Target, Weighting,
};
use limpid_explain::paths::Constant;
use limpid_explain::{Gradients, Integration, Node, Points, Reduce, Sample, Schedule, Subject};
use safetensors::SafeTensors;

fn smooth_network() -> (Session, Input) {
    let model = Model::open(fixture("smooth-network")).unwrap();
    let input = Input::from_npy(fixture("smooth-network/x.npy")).unwrap();
    (model.session(Device::cpu(None).unwrap()).unwrap(), input)
}

fn expected(name: &str) -> Vec<f64> {
    let bytes = std::fs::read(fixture("paths/maps.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let data = file.tensor(name).unwrap().data();
    let words = data.chunks_exact(8);
    words
        .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

fn explain(
    (session, input): &(Session, Input),
    method: &dyn Explainer,
    target: &Target,
    seed: u64,
) -> Attribution {
    let options = RunOptions {
        seed,
        ..RunOptions::default()
    };
    let maps = session.explain_input(input, method, target, &options);
    maps.unwrap()[0].attribution().clone()
}

fn joint(evaluations: u64) -> SmoothGrad {
    SmoothGrad::new().joint(Joint {
        evaluations,
        tolerance: None,
    })
}

#[test]
fn maps_are_those_of_independent_code() {
    let network = smooth_network();
    let line = || IntegratedGradients::new().steps(20);
    let methods: [(&str, Box<dyn Explainer>, f64); 3] = [
        (
            "guided-ig",
            // Which features move first hangs on rounding where gradients are alike.
            Box::new(GuidedIntegratedGradients::new().steps(20).max_distance(0.1)),
            2e-3,
        ),
        (
            "sig",
            Box::new(SpectralIntegratedGradients::new().steps(20)),
            1e-4,
        ),
        (
            "idgi",
            Box::new(line().weighting(Weighting::Idgi).rule(Rule::Left)),
            1e-5,
        ),
    ];
    for (name, method, bound) in methods {
        let map = explain(&network, &*method, &Target::Class(2), 0).map;
        let l2 = relative_l2(map.data(), &expected(name));
        println!("{name}: relative L2 {l2:.1e}");
        assert!(l2 < bound, "{name}: {l2}");
    }
}

#[test]
fn targets_are_read_as_they_say() {
    let network = smooth_network();
    for (target, name) in [
        ("probability:2", "probability"),
        ("2 vs 3", "difference"),
        ("triangle vs star", "difference"),
    ] {
        let found = explain(&network, &Gradient::new(), &Target::parse(target), 0);
        let l2 = relative_l2(found.map.data(), &expected(name));
        assert!(l2 < 1e-5, "{target}: {l2}");
    }
    let product = explain(&network, &GradientXInput::new(), &Target::Class(2), 0);
    let gradient = explain(&network, &Gradient::new(), &Target::Class(2), 0);
    let pairs = gradient.map.data().iter().zip(network.1.tensor().data());
    let wanted: Vec<f64> = pairs.map(|(g, x)| f64::from(g * x)).collect();
    assert!(relative_l2(product.map.data(), &wanted) < 1e-6);
}

#[test]
fn targets_that_mean_nothing_are_refused() {
    let (session, input) = smooth_network();
    for (target, part) in [
        ("2 vs 2", "itself"),
        ("2 vs top:2", "one other"),
        ("tags", "exclude each other"),
        ("probability:nothing", "nothing"),
    ] {
        let run = session.explain_input(
            &input,
            &Gradient::new(),
            &Target::parse(target),
            &RunOptions::default(),
        );
        let error = run.unwrap_err().to_string();
        assert!(error.contains(part), "{target}: {error}");
    }
}

/// IDGI adds up exactly on any path, with any number of steps.
#[test]
fn idgi_adds_up_exactly() {
    let network = smooth_network();
    let weigh = Weighting::Idgi;
    let methods: [Box<dyn Explainer>; 4] = [
        Box::new(IntegratedGradients::new().steps(3).weighting(weigh)),
        Box::new(BlurIntegratedGradients::new().steps(3).weighting(weigh)),
        Box::new(SpectralIntegratedGradients::new().steps(3).weighting(weigh)),
        Box::new(
            BlurIntegratedGradients::new()
                .steps(4)
                .rule(Rule::GaussLegendre)
                .weighting(weigh)
                .smoothed(SmoothGrad::new().samples(3).nested()),
        ),
    ];
    for method in methods {
        let c = explain(&network, &*method, &Target::Class(2), 0);
        let c = c.completeness.unwrap();
        assert!(c.gap.abs() < 1e-5, "{}: {c:?}", method.id());
    }
}

#[test]
fn adaptive_nodes_keep_the_tolerance() {
    let network = (embedded(), crop("coffee"));
    for tolerance in [0.05, 0.01] {
        let method = BlurIntegratedGradients::new()
            .steps(400)
            .tolerance(tolerance);
        let found = explain(&network, &method, &Target::Top(1), 0);
        let c = found.completeness.unwrap();
        println!("{tolerance}: {c:?}, {:?}", found.evaluations);
        assert!(c.gap.abs() <= tolerance * c.expected.abs(), "{c:?}");
        assert!(found.evaluations.gradients <= 400);
    }
    let tight = BlurIntegratedGradients::new().steps(12).tolerance(0.0);
    let found = explain(&network, &tight, &Target::Top(1), 0);
    assert_eq!(found.evaluations.gradients, 12);
}

/// Joint sampling estimates what nested sampling does, knows its error, and
/// stops at a tolerance.
#[test]
fn joint_sampling_agrees_and_knows_its_error() {
    let network = smooth_network();
    let target = Target::Class(2);
    type Make = fn(SmoothGrad) -> Box<dyn Explainer>;
    let cases: [(&str, Make); 2] = [
        ("blur-ig", |s| {
            Box::new(BlurIntegratedGradients::new().smoothed(s))
        }),
        ("integrated-gradients", |s| {
            Box::new(IntegratedGradients::new().smoothed(s))
        }),
    ];
    for (name, method) in cases {
        let nested = SmoothGrad::new().samples(200).nested();
        let nested = explain(&network, &*method(nested), &target, 99).map;
        let reference = explain(&network, &*method(joint(20_480)), &target, 98).map;
        let wanted: Vec<f64> = reference.data().iter().map(|v| f64::from(*v)).collect();
        // 200 draws leave an error of their own.
        let apart = relative_l2(nested.data(), &wanted);
        let (mut error, mut claimed, mut held) = (0.0, 0.0, 0.0);
        const SEEDS: u64 = 8;
        for seed in 0..SEEDS {
            let found = explain(&network, &*method(joint(200)), &target, seed);
            error += relative_l2(found.map.data(), &wanted) / SEEDS as f64;
            claimed += found.relative_standard_error().unwrap() / SEEDS as f64;
            let errors = found.standard_error.unwrap();
            let values = found.map.data().iter().zip(errors.data()).zip(&wanted);
            let within =
                values.filter(|((v, e), w)| (f64::from(**v) - **w).abs() <= 2.365 * f64::from(**e));
            held += within.count() as f64 / wanted.len() as f64 / SEEDS as f64;
            assert_eq!(found.evaluations.gradients, 200);
            assert_eq!(found.evaluations.forwards, 32);
        }
        println!(
            "{name}: error {error:.3}, claimed {claimed:.3}, {held:.3} covered; nested 200 draws {apart:.3}"
        );
        assert!(apart < 0.1, "{name}: {apart}");
        assert!(
            (claimed / error - 1.0).abs() < 0.15,
            "{name}: {claimed}, {error}"
        );
        assert!(held > 0.92, "{name}: {held}");

        let until = SmoothGrad::new().joint(Joint {
            evaluations: 100_000,
            tolerance: Some(0.05),
        });
        let found = explain(&network, &*method(until), &target, 5);
        assert!(found.relative_standard_error().unwrap() <= 0.05);
        let gradients = found.evaluations.gradients;
        assert!(
            gradients < 100_000 && (gradients - 24).is_multiple_of(32),
            "{gradients}"
        );
    }
}

#[test]
fn expected_gradients_average_over_baselines() {
    let network = smooth_network();
    let target = Target::Class(2);
    let photos = fixture("photos");
    let folder = ExpectedGradients::new().folder(photos.display().to_string());
    let found = explain(&network, &folder.clone().evaluations(4096), &target, 3);
    // The mean of Integrated Gradients from each of the folder's pictures.
    let files = ["astronaut", "cat", "coffee", "rocket"];
    let mut wanted = vec![0.0; found.map.data().len()];
    for name in files {
        let path = fixture(&format!("photos/{name}.jpg")).display().to_string();
        let method = IntegratedGradients::new()
            .steps(64)
            .baseline(Baseline::File(path));
        let map = explain(&network, &method, &target, 0).map;
        for (w, v) in wanted.iter_mut().zip(map.data()) {
            *w += f64::from(*v) / files.len() as f64;
        }
    }
    let l2 = relative_l2(found.map.data(), &wanted);
    let claimed = found.relative_standard_error().unwrap();
    println!(
        "folder: relative L2 {l2:.1e}, claimed {claimed:.1e}, {:?}",
        found.completeness
    );
    assert!(l2 < 0.02 && l2 < 2.0 * claimed, "{l2}, {claimed}");

    let noise = explain(
        &network,
        &ExpectedGradients::new().evaluations(2048),
        &target,
        3,
    );
    let c = noise.completeness.unwrap();
    println!("noise: {c:?}");
    // What is expected is itself the mean of sixteen draws.
    assert!(c.gap.abs() < 0.2, "{c:?}");

    let (session, input) = &network;
    let none = ExpectedGradients::new().folder("no/such/folder");
    let error = session.explain_input(input, &none, &target, &RunOptions::default());
    assert!(error.unwrap_err().to_string().contains("no/such/folder"));
}

/// The gap of 32 gradients at most, placed where they are needed, is no larger
/// than that of PAIR's 100 on any photograph.
#[test]
fn few_gradients_leave_no_larger_a_gap_than_pairs_hundred() {
    for name in PHOTOS {
        let network = (embedded(), crop(name));
        let gap = |method: &dyn Explainer| {
            let found = explain(&network, method, &Target::Top(1), 0);
            let c = found.completeness.unwrap();
            ((c.gap / c.expected).abs(), found.evaluations)
        };
        let (pair, _) = gap(&BlurIntegratedGradients::new().mode(Mode::Pair).steps(100));
        let method = BlurIntegratedGradients::new().steps(32).tolerance(0.01);
        let (found, evaluations) = gap(&method);
        println!("{name}: gap {found:.3} with {evaluations:?}, PAIR's {pair:.3}");
        assert!(found <= pair, "{name}: {found}, PAIR's {pair}");
    }
}

/// Asks for several points of no path: the same picture, as often.
struct Repeated;

impl Explainer for Repeated {
    fn id(&self) -> &str {
        "repeated"
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let subject = Subject::new(request.image, &Constant);
        let objective = &request.objectives[0];
        let points = &[Sample::default(); 3];
        let mut shown: Vec<Vec<f32>> = Vec::new();
        let gradients = Gradients {
            subject,
            objective,
            points,
            times_velocity: false,
        };
        cx.gradients(&gradients, &mut |i, gradient| {
            assert_eq!(i, shown.len());
            shown.push(gradient.to_vec());
            Ok(())
        })?;
        assert_eq!(shown.len(), 3);
        assert!(shown[0] == shown[1] && shown[0] == shown[2]);
        let scores = cx.scores(&Points {
            subject,
            objectives: request.objectives,
            points,
        })?;
        assert_eq!(scores, [scores[0]; 3]);
        let third = Node {
            position: 0.0,
            weight: 1.0 / 3.0,
        };
        let map = cx.integrate(&Integration {
            subject,
            objective,
            schedule: &Schedule::nested(1, vec![third; 3]),
            reduce: Reduce::Mean,
        })?;
        let first: Vec<f64> = shown[0].iter().map(|v| f64::from(*v)).collect();
        assert!(relative_l2(map.data(), &first) < 1e-6);
        let map = Attribution::new(map, Domain::Input, cx.evaluations());
        Ok(vec![map])
    }
}

#[test]
fn points_that_are_the_same_are_as_many() {
    let map = explain(&smooth_network(), &Repeated, &Target::Top(1), 0);
    assert_eq!(
        (map.evaluations.gradients, map.evaluations.forwards),
        (6, 3)
    );
}
