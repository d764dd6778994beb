//! Which layers, and several at once.

use crate::common::{crop, embedded, relative_l2};
use crate::{close, explain, listed, map, small};
use limpid::{Error, ExplainError, Fuse, GradCam, HiResCam, Objective};

#[test]
fn layers_in_one_call_are_those_of_single_calls() {
    let session = embedded();
    let input = crop("coffee");
    let layers = ["blocks.2", "blocks.4", "conv_head", "bn2"].map(str::to_owned);
    let objectives: Vec<Objective> = [967, 504, 968].map(Objective::class).to_vec();
    let together = session
        .layer_gradients(&input, &layers, &objectives)
        .unwrap();
    for (layer, found) in layers.iter().zip(&together) {
        let alone = session
            .layer_gradients(&input, std::slice::from_ref(layer), &objectives)
            .unwrap();
        // Which kernels are fused depends on what is asked for.
        let same = |a: &limpid::Tensor, b: &limpid::Tensor| {
            let b: Vec<f64> = b.data().iter().map(|v| f64::from(*v)).collect();
            relative_l2(a.data(), &b)
        };
        let worst = found.gradients.iter().zip(&alone[0].gradients).fold(
            same(&found.activation, &alone[0].activation),
            |worst, (a, b)| worst.max(same(a, b)),
        );
        println!("{layer}: {worst:.1e}");
        assert!(worst <= 1e-4, "{layer}: {worst}");
    }
}

/// Several layers of one grid: each map divided by its largest absolute value.
#[test]
fn several_layers_are_joined() {
    let session = embedded();
    let input = crop("cat");
    let scaled = |layer: &str| {
        let method = HiResCam::new().layer(layer).relu(false);
        let map = map(&session, &input, &method, 282);
        let largest = map.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        map.iter()
            .map(|v| f64::from(v / largest))
            .collect::<Vec<f64>>()
    };
    let (a, b) = (scaled("blocks.3"), scaled("blocks.4"));
    let method = |fuse| {
        HiResCam::new()
            .layer("blocks.3, blocks.4")
            .relu(false)
            .fuse(fuse)
    };
    for (fuse, of) in [
        (Fuse::Mean, (|a, b| (a + b) / 2.0) as fn(f64, f64) -> f64),
        (Fuse::Max, f64::max),
        (Fuse::Product, |a, b| a * b),
    ] {
        let expected: Vec<f64> = a.iter().zip(&b).map(|(a, b)| of(*a, *b)).collect();
        close(
            fuse.name(),
            &map(&session, &input, &method(fuse), 282),
            &expected,
            1e-4,
        );
    }
    // The same value twice, once by another name.
    let twice = method(Fuse::Mean).layer("blocks.4,blocks.4,blocks.4.2");
    close("twice", &map(&session, &input, &twice, 282), &b, 1e-4);
    let found = explain(&session, &input, &GradCam::new().layer("last:3"), &[282]).unwrap();
    let parameters = &found[0].manifest().parameters;
    let last = session.model().cam_layer().unwrap().unwrap();
    let names = parameters["layer"].as_str().unwrap();
    assert_eq!(names.split(',').count(), 3, "{names}");
    assert!(names.ends_with(&format!(",{last}")), "{names}");
}

#[test]
fn layers_that_are_no_maps_are_refused() {
    let (session, input, _) = small();
    for method in listed("fc") {
        let error = explain(&session, &input, &*method, &[0]).unwrap_err();
        let expected = matches!(&error, Error::Explain(ExplainError::NotSpatial { layer, .. }) if layer == "fc");
        assert!(expected, "{}: {error}", method.id());
    }
    for layer in ["act9", "act1,act9"] {
        for method in listed(layer) {
            let error = explain(&session, &input, &*method, &[0]).unwrap_err();
            assert!(
                error.to_string().contains("act9"),
                "{}: {error}",
                method.id()
            );
        }
    }
    for layer in ["last:0", "last:100", "last:", "act1,,act2"] {
        let error = explain(&session, &input, &GradCam::new().layer(layer), &[0]).unwrap_err();
        assert!(
            error.is_usage() && error.to_string().contains("`layer`"),
            "{error}"
        );
    }
}
