//! Scores and maps against an independent computation in PyTorch f64
//! (tests/fixtures/explanations), and against PAIR's `saliency` package.

#![allow(clippy::print_stdout, reason = "the figures are worth reading")]

mod common;

use common::{Expected, PHOTOS, correlation, crop, embedded, photo, relative_l2};
use limpid::{
    BlurIntegratedGradients, Explainer, GradCam, Gradient, IntegratedGradients, Mode, Rule,
    RunOptions, Session, Target, Variable,
};

fn check(session: &Session, name: &str, map: &str, method: &dyn Explainer) {
    let expected = Expected::of(name);
    let target = Target::Class(expected.class());
    let found = session
        .explain_input(&crop(name), method, &target, &RunOptions::default())
        .unwrap()
        .remove(0);
    let attribution = found.attribution();
    let wanted = expected.map(map);
    let reduced = attribution.channel_sum();
    let data = if wanted.len() == reduced.len() {
        &reduced[..]
    } else {
        attribution.map.data()
    };
    let (l2, r) = (relative_l2(data, &wanted), correlation(data, &wanted));
    println!(
        "{name} {map}: relative L2 {l2:.2e}, 1 - correlation {:.1e}",
        1.0 - r
    );
    assert!(l2 <= 1e-2, "{name} {map}: relative L2 {l2}");
    assert!(r >= 0.9999, "{name} {map}: correlation {r}");
    if let Some(c) = attribution.completeness {
        let (a, e) = (
            expected.number(map, "attributed"),
            expected.number(map, "expected"),
        );
        let size = e.abs().max(a.abs());
        assert!(
            (c.expected - e).abs() < 1e-4 * size,
            "{name} {map}: {c:?}, {e}"
        );
        assert!(
            (c.attributed - a).abs() < 1e-2 * size,
            "{name} {map}: {c:?}, {a}"
        );
    }
}

#[test]
fn logits_are_timms() {
    let session = embedded();
    for name in PHOTOS {
        let expected = Expected::of(name).map("logits");
        let largest = expected.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let worst = |found: &[f32]| {
            let pairs = found.iter().zip(&expected);
            let worst = pairs.fold(0.0, |m: f64, (a, b)| m.max((f64::from(*a) - b).abs()));
            worst / largest
        };
        let same_pixels = worst(&session.logits(&crop(name)).unwrap());
        let from_file = session.input(&photo(name)).unwrap();
        let from_file = worst(&session.logits(&from_file).unwrap());
        println!("{name}: {same_pixels:.1e} from the same pixels, {from_file:.1e} from the JPEG");
        assert!(same_pixels <= 1e-4, "{name}: {same_pixels}");
        assert!(from_file <= 2e-2, "{name}: {from_file}");
    }
}

#[test]
fn coffee_is_espresso() {
    let session = embedded();
    let input = session.input(&photo("coffee")).unwrap();
    let top = session.predict(&input, 5).unwrap();
    assert_eq!((top[0].index, &top[0].label[..]), (967, "espresso"));
    assert!((top[0].probability - 0.95).abs() < 0.02, "{top:?}");
    assert!(top.is_sorted_by(|a, b| a.score >= b.score));
}

#[test]
fn gradients_agree() {
    let session = embedded();
    for name in PHOTOS {
        check(&session, name, "gradient", &Gradient::new());
    }
}

#[test]
fn grad_cams_agree() {
    let session = embedded();
    for name in PHOTOS {
        check(&session, name, "grad-cam", &GradCam::new());
        check(
            &session,
            name,
            "grad-cam.signed",
            &GradCam::new().relu(false),
        );
    }
}

#[test]
fn integrated_gradients_agree() {
    let session = embedded();
    for name in PHOTOS {
        let method = IntegratedGradients::new().steps(64);
        check(&session, name, "integrated-gradients", &method);
    }
}

#[test]
fn quadratures_agree() {
    let session = embedded();
    for rule in [
        Rule::Left,
        Rule::Right,
        Rule::Trapezoid,
        Rule::GaussLegendre,
    ] {
        let map = format!("integrated-gradients.{}", rule.name());
        let method = IntegratedGradients::new().steps(8).rule(rule);
        check(&session, "cat", &map, &method);
    }
}

#[test]
fn blur_integrated_gradients_agree() {
    let session = embedded();
    for name in PHOTOS {
        let method = BlurIntegratedGradients::new().steps(64);
        check(&session, name, "blur-ig", &method);
    }
}

#[test]
fn variables_agree() {
    let session = embedded();
    for variable in [Variable::Sigma, Variable::Variance, Variable::Log] {
        let map = format!("blur-ig.{}", variable.name());
        let method = BlurIntegratedGradients::new().steps(8).variable(variable);
        check(&session, "cat", &map, &method);
    }
}

#[test]
fn pair_mode_is_pairs_library() {
    let session = embedded();
    for name in PHOTOS {
        let method = BlurIntegratedGradients::new().steps(64).mode(Mode::Pair);
        check(&session, name, "blur-ig.pair", &method);
    }
}
