//! Path methods add up: at the quadrature's order on a smooth network, and
//! better with more steps on one whose gradient jumps.

#![allow(clippy::print_stdout, reason = "the figures are worth reading")]

mod common;

use common::{PHOTOS, crop, embedded, fixture, median, relative_l2};
use limpid::{
    Baseline, BlurIntegratedGradients, Device, Explainer, Gradient, GradientMethod, Input,
    IntegratedGradients, Model, Reduce, Rule, RunOptions, Session, SmoothGrad, Target, Variable,
};

fn smooth_network() -> (Session, Input) {
    let model = Model::open(fixture("smooth-network")).unwrap();
    let input = Input::from_npy(fixture("smooth-network/x.npy")).unwrap();
    (model.session(Device::cpu(None).unwrap()).unwrap(), input)
}

fn gap(session: &Session, input: &Input, method: &dyn Explainer, target: &Target) -> f64 {
    let maps = session
        .explain_input(input, method, target, &RunOptions::default())
        .unwrap();
    maps[0].attribution().completeness.unwrap().gap.abs()
}

#[test]
fn the_smooth_networks_gradient_is_pytorchs() {
    let (session, input) = smooth_network();
    let bytes = std::fs::read(fixture("smooth-network/expected.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| -> Vec<f64> {
        let data = file.tensor(name).unwrap();
        data.data()
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect()
    };
    let logits = session.logits(&input).unwrap();
    assert!(relative_l2(&logits, &values("logits")) < 1e-6);
    let map = session
        .explain_input(
            &input,
            &Gradient::new(),
            &Target::Class(2),
            &RunOptions::default(),
        )
        .unwrap()
        .remove(0);
    assert!(relative_l2(map.attribution().map.data(), &values("gradient")) < 1e-6);
}

/// Halving the step divides the gap by 2 to the rule's order.
#[test]
fn integrated_gradients_converge_at_the_rules_order() {
    let (session, input) = smooth_network();
    let target = Target::Class(2);
    for (rule, order) in [
        (Rule::Left, 1.0),
        (Rule::Right, 1.0),
        (Rule::Midpoint, 2.0),
        (Rule::Trapezoid, 2.0),
    ] {
        let gap = |steps| {
            let method = IntegratedGradients::new().steps(steps).rule(rule);
            gap(&session, &input, &method, &target)
        };
        let (coarse, fine) = (gap(4), gap(8));
        // The trapezoid with n gradients has n - 1 intervals.
        let ratio: f64 = if rule == Rule::Trapezoid {
            7.0 / 3.0
        } else {
            2.0
        };
        let found = (coarse / fine).ln() / ratio.ln();
        println!(
            "{}: gap {coarse:.2e}, then {fine:.2e}: order {found:.2}",
            rule.name()
        );
        assert!((found - order).abs() < 0.25, "{}: {found}", rule.name());
    }
    let method = IntegratedGradients::new()
        .steps(8)
        .rule(Rule::GaussLegendre);
    let gap = gap(&session, &input, &method, &target);
    assert!(gap < 1e-5, "gauss-legendre: {gap}");
}

/// In every variable and under every rule, at least at the rule's order. (With
/// an end where the integrand vanishes some do better.)
#[test]
fn blur_integrated_gradients_converge_at_the_rules_order() {
    let (session, input) = smooth_network();
    for variable in Variable::NAMES {
        // Nodes uniform in the variance are far apart where the blur is small,
        // and that is where this noisy picture changes.
        let max_sigma = if variable == "variance" { 1.0 } else { 4.0 };
        for (rule, order) in [
            (Rule::Left, 1.0),
            (Rule::Right, 1.0),
            (Rule::Midpoint, 2.0),
            (Rule::Trapezoid, 2.0),
            (Rule::GaussLegendre, 4.0),
        ] {
            let gap = |steps| {
                let method = BlurIntegratedGradients::new()
                    .steps(steps)
                    .rule(rule)
                    .variable(Variable::from_name(variable).unwrap())
                    .max_sigma(max_sigma);
                gap(&session, &input, &method, &Target::Class(2))
            };
            let (coarse, fine) = (gap(16), gap(64));
            println!(
                "{variable} {}: gap {coarse:.2e}, then {fine:.2e}",
                rule.name()
            );
            // Rounding to f32 leaves a gap of some 1e-5.
            let bound = (coarse * 4f64.powf(0.3 - order)).max(2e-5);
            assert!(
                fine < bound,
                "{variable} {}: {coarse}, then {fine}",
                rule.name()
            );
        }
    }
}

/// The square root of sigma as variable makes the midpoint rule converge at
/// twice its order: the integrand's odd derivatives vanish at the picture.
#[test]
fn blur_integrated_gradients_converge() {
    let (session, input) = smooth_network();
    let gap = |steps| {
        let method = BlurIntegratedGradients::new().steps(steps).max_sigma(50.0);
        gap(&session, &input, &method, &Target::Class(2))
    };
    let (coarse, fine) = (gap(16), gap(64));
    println!("blur-ig: gap {coarse:.2e}, then {fine:.2e}");
    let order = (coarse / fine).ln() / 4f64.ln();
    assert!(order > 1.75, "gap {coarse}, then {fine}");
}

#[test]
fn more_steps_close_the_gap_on_a_network_with_kinks() {
    let session = embedded();
    let medians = |make: &dyn Fn(u64) -> Box<dyn Explainer>| {
        [16, 64].map(|steps| {
            let gaps =
                PHOTOS.map(|name| gap(&session, &crop(name), &*make(steps), &Target::Top(1)));
            median(gaps.to_vec())
        })
    };
    for (name, [coarse, fine]) in [
        (
            "integrated-gradients",
            medians(&|n| Box::new(IntegratedGradients::new().steps(n))),
        ),
        (
            "blur-ig",
            medians(&|n| Box::new(BlurIntegratedGradients::new().steps(n))),
        ),
    ] {
        println!("{name}: median gap {coarse:.3} at 16 steps, {fine:.3} at 64");
        assert!(fine < coarse, "{name}: {coarse}, then {fine}");
    }
}

/// The mean over draws adds up to the mean difference over the same draws.
#[test]
fn smoothed_maps_add_up_too() {
    let (session, input) = smooth_network();
    let method = IntegratedGradients::new()
        .steps(16)
        .smoothed(SmoothGrad::new().samples(7).nested());
    let maps = session
        .explain_input(&input, &method, &Target::Class(2), &RunOptions::default())
        .unwrap();
    let c = maps[0].attribution().completeness.unwrap();
    assert!(c.gap.abs() < 1e-3 * c.expected.abs(), "{c:?}");
    let e = maps[0].attribution().evaluations;
    assert_eq!((e.gradients, e.forwards), (7 * 16, 2 * 7));
}

#[test]
fn every_baseline_adds_up() {
    let (session, input) = smooth_network();
    for baseline in [
        Baseline::Black,
        Baseline::White,
        Baseline::Zero,
        Baseline::Mean,
        Baseline::Blur,
        Baseline::Noise,
        Baseline::File(fixture("photos/cat.jpg").display().to_string()),
    ] {
        let method = IntegratedGradients::new()
            .steps(32)
            .baseline(baseline.clone());
        let maps = session
            .explain_input(&input, &method, &Target::Class(2), &RunOptions::default())
            .unwrap();
        let c = maps[0].attribution().completeness.unwrap();
        assert!(
            c.gap.abs() < 1e-3 * c.expected.abs().max(0.05),
            "{baseline:?}: {c:?}"
        );
    }
}

#[test]
fn nothing_to_evaluate_is_refused() {
    let (session, input) = smooth_network();
    let methods: [Box<dyn Explainer>; 3] = [
        Box::new(Gradient::new().smoothed(SmoothGrad::new().samples(0))),
        Box::new(IntegratedGradients::new().steps(0)),
        Box::new(
            IntegratedGradients::new()
                .steps(4)
                .smoothed(SmoothGrad::new().samples(u64::MAX).nested()),
        ),
    ];
    for method in methods {
        let result =
            session.explain_input(&input, &*method, &Target::Top(1), &RunOptions::default());
        assert!(result.unwrap_err().is_usage());
    }
}

/// Squares and variances against the draws' own maps, which the means over n
/// and over n - 1 draws give away.
#[test]
fn reducers_are_moments_of_the_draws() {
    let (session, input) = smooth_network();
    let map = |steps: Option<u64>, draws: u64, reduce: Reduce| -> Vec<f64> {
        let smoothing = SmoothGrad::new().samples(draws).reduce(reduce).nested();
        let method: Box<dyn Explainer> = match steps {
            None => Box::new(Gradient::new().smoothed(smoothing)),
            Some(n) => Box::new(IntegratedGradients::new().steps(n).smoothed(smoothing)),
        };
        let maps = session
            .explain_input(&input, &*method, &Target::Class(2), &RunOptions::default())
            .unwrap();
        let map = &maps[0].attribution().map;
        map.data().iter().map(|v| f64::from(*v)).collect()
    };
    for steps in [None, Some(3)] {
        const DRAWS: u64 = 11;
        let means: Vec<Vec<f64>> = (1..=DRAWS).map(|n| map(steps, n, Reduce::Mean)).collect();
        let draw = |n: usize, i: usize| {
            let before = if n == 0 {
                0.0
            } else {
                means[n - 1][i] * n as f64
            };
            means[n][i] * (n + 1) as f64 - before
        };
        let n = DRAWS as usize;
        let mean = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        let size = means[0].len();
        let squares: Vec<f64> = (0..size).map(|i| mean(&|k| draw(k, i).powi(2))).collect();
        let variances: Vec<f64> = (0..size)
            .map(|i| mean(&|k| (draw(k, i) - means[n - 1][i]).powi(2)))
            .collect();
        let close = |found: Vec<f64>, expected: &[f64]| {
            let found: Vec<f32> = found.into_iter().map(|v| v as f32).collect();
            relative_l2(&found, expected)
        };
        let squared = close(map(steps, DRAWS, Reduce::Squared), &squares);
        let variance = close(map(steps, DRAWS, Reduce::Variance), &variances);
        assert!(
            squared < 1e-4 && variance < 1e-4,
            "{steps:?}: {squared}, {variance}"
        );
    }
}
