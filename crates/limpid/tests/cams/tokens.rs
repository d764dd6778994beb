//! Networks of tokens: their grids, and methods that read attention.

use crate::common::relative_l2;
use crate::{Numbers, TARGETS, close, explain, listed, map, maps, session_of, small};
use limpid::{
    AttentionRollout, Error, ExplainError, Explainer, GradCam, GradientXAttention, Heads, HiResCam,
    Input, LayerCam, Session, SessionOptions, TransformerRelevance, methods,
};

/// The transformers, by name: with a class token behind which a register token
/// stands, and with the mean over all tokens.
fn transformers() -> [(&'static str, Session, Input); 2] {
    let numbers = Numbers::of("tokens.safetensors");
    ["class-token", "pooled"].map(|name| {
        let input = numbers.input(&format!("{name}/x"), [3, 16, 24]);
        (
            name,
            session_of(name, SessionOptions::default(), None),
            input,
        )
    })
}

#[test]
fn token_grids_are_maps() {
    let numbers = Numbers::of("tokens.safetensors");
    for (name, session, input) in transformers() {
        let logits = session.logits(&input).unwrap();
        close(
            "logits",
            &logits,
            &numbers.get(&format!("{name}/logits")),
            1e-5,
        );
        let layer = if name == "pooled" {
            "norm"
        } else {
            "blocks.2.norm1"
        };
        let default = session.model().cam_layer().unwrap();
        assert_eq!(default.as_deref(), Some(layer));
        let methods: [(&str, Box<dyn Explainer>); 3] = [
            ("grad-cam", Box::new(GradCam::new().relu(false))),
            ("hires-cam", Box::new(HiResCam::new().relu(false))),
            ("layer-cam", Box::new(LayerCam::new().relu(false))),
        ];
        for (method_name, method) in methods {
            for (target, found) in TARGETS
                .iter()
                .zip(maps(&session, &input, &*method, &TARGETS))
            {
                let key = format!("{name}/{target}/{method_name}");
                close(&key, &found, &numbers.get(&key), 1e-4);
            }
        }
        for method in listed("last:2") {
            let found = explain(&session, &input, &*method, &[1]).unwrap();
            assert_eq!(found[0].attribution().map.dims(), [4, 6], "{}", method.id());
        }
    }
}

#[test]
fn a_class_token_alone_is_no_map() {
    let [(_, session, input), _] = transformers();
    let error = explain(&session, &input, &GradCam::new().layer("norm"), &[0]).unwrap_err();
    assert!(
        matches!(&error, Error::Explain(ExplainError::OtherTokens { .. })),
        "{error}"
    );
}

#[test]
fn attention_is_pytorchs() {
    let numbers = Numbers::of("tokens.safetensors");
    for (name, session, input) in transformers() {
        let rollout = AttentionRollout::new();
        for (method_name, method) in [
            ("attention-rollout", rollout),
            ("attention-rollout.heads=max", rollout.heads(Heads::Max)),
            ("attention-rollout.heads=min", rollout.heads(Heads::Min)),
            ("attention-rollout.discard=0.9", rollout.discard(0.9)),
        ] {
            let key = format!("{name}/{method_name}");
            let found = explain(&session, &input, &method, &TARGETS).unwrap();
            let [one, other] = [0, 1].map(|i| found[i].attribution());
            assert_eq!(one.map.dims(), [4, 6]);
            assert_eq!(one.map, other.map);
            assert_eq!(
                (one.evaluations.gradients, one.evaluations.forwards),
                (0, 1)
            );
            close(&key, one.map.data(), &numbers.get(&key), 1e-5);
        }
        let methods: [Box<dyn Explainer>; 2] = [
            Box::new(TransformerRelevance::new()),
            Box::new(GradientXAttention::new()),
        ];
        for method in methods {
            let together = maps(&session, &input, &*method, &TARGETS);
            for (target, found) in TARGETS.iter().zip(together) {
                let key = format!("{name}/{target}/{}", method.id());
                close(&key, &found, &numbers.get(&key), 1e-4);
                assert_eq!(found, map(&session, &input, &*method, *target));
            }
        }
    }
}

/// vit-explain divides the columns of A + I by the sums of its rows.
#[test]
fn rollout_divides_rows() {
    let numbers = Numbers::of("tokens.safetensors");
    for (name, session, input) in transformers() {
        let method = AttentionRollout::new().discard(0.9);
        let found = map(&session, &input, &method, 1);
        let wrong = numbers.get(&format!("{name}/attention-rollout.vit-explain"));
        let l2 = relative_l2(&found, &wrong);
        println!("{name}: relative L2 to the wrong one {l2:.2}");
        assert!(l2 > 1e-2, "{name}: {l2}");
    }
}

#[test]
fn networks_without_attention_are_refused() {
    let (session, input, _) = small();
    for method in methods::list().iter().filter(|m| m.kind == "attention") {
        let method = method.build(&[], None).unwrap();
        let error = explain(&session, &input, &*method, &[0]).unwrap_err();
        let expected = matches!(&error, Error::Explain(ExplainError::NoAttention(_)));
        assert!(expected, "{}: {error}", method.id());
    }
}
