//! Class activation maps and methods that read attention, against closed forms and
//! against PyTorch in f64 (tests/fixtures/cams).

#![allow(clippy::print_stdout, reason = "the figures are worth reading")]

mod common;

use common::{Expected, PHOTOS, correlation, crop, embedded, fixture, relative_l2};
use limpid::{
    AblationCam, AttentionRollout, Baseline, Device, EigenCam, EigenGradCam, ElementWiseCam, Error,
    ExplainError, Explainer, Explanation, Fuse, GradCam, GradCamPlusPlus, GradientXAttention,
    Heads, HiResCam, Input, Kept, LayerCam, Model, Objective, Progress, ReciproCam, ResolvedTarget,
    RunOptions, ScoreCam, Session, SessionOptions, Target, TransformerRelevance, XGradCam, methods,
};
use safetensors::{Dtype, SafeTensors};
use std::sync::Mutex;

/// The classes that the fixtures of small networks have maps for.
const TARGETS: [usize; 2] = [1, 3];

/// The tensors of a file.
struct Numbers(Vec<u8>);

impl Numbers {
    fn of(file: &str) -> Self {
        Self(std::fs::read(fixture(&format!("cams/{file}"))).unwrap())
    }

    fn get(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        let bytes = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => bytes
                .chunks_exact(4)
                .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                .collect(),
            Dtype::F64 => bytes
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
                .collect(),
            other => panic!("{name} is of type {other:?}"),
        }
    }

    fn input(&self, name: &str, shape: [usize; 3]) -> Input {
        let data: Vec<f32> = self.get(name).into_iter().map(|v| v as f32).collect();
        let bytes = limpid::render::encode_npy(&shape, &data).unwrap();
        Input::from_npy_bytes(&bytes, name).unwrap()
    }
}

fn session_of(bundle: &str, options: SessionOptions, threads: Option<usize>) -> Session {
    let model = Model::open(fixture(&format!("cams/{bundle}"))).unwrap();
    Session::new(model, Device::cpu(threads).unwrap(), options).unwrap()
}

fn small() -> (Session, Input, Numbers) {
    let numbers = Numbers::of("small.safetensors");
    let input = numbers.input("x", [3, 20, 28]);
    (
        session_of("small", SessionOptions::default(), None),
        input,
        numbers,
    )
}

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

fn classes(session: &Session, input: &Input, classes: &[usize]) -> Vec<ResolvedTarget> {
    let logits = session.logits(input).unwrap();
    let targets = classes
        .iter()
        .flat_map(|c| session.resolve(&Target::Class(*c), &logits));
    targets.flatten().collect()
}

fn explain(
    session: &Session,
    input: &Input,
    method: &dyn Explainer,
    targets: &[usize],
) -> Result<Vec<Explanation>, Error> {
    let targets = classes(session, input, targets);
    session.explain_targets(input, method, &targets, &RunOptions::default())
}

fn maps(
    session: &Session,
    input: &Input,
    method: &dyn Explainer,
    targets: &[usize],
) -> Vec<Vec<f32>> {
    let found = explain(session, input, method, targets).unwrap();
    found
        .iter()
        .map(|e| e.attribution().map.data().to_vec())
        .collect()
}

fn map(session: &Session, input: &Input, method: &dyn Explainer, target: usize) -> Vec<f32> {
    maps(session, input, method, &[target]).remove(0)
}

fn close(what: &str, found: &[f32], expected: &[f64], bar: f64) {
    let (l2, r) = (relative_l2(found, expected), correlation(found, expected));
    println!(
        "{what}: relative L2 {l2:.1e}, 1 - correlation {:.1e}",
        1.0 - r
    );
    assert!(l2 <= bar, "{what}: relative L2 {l2}");
    assert!(r >= 0.9999, "{what}: correlation {r}");
}

/// The methods at a layer, without cutting off negative values, by the fixtures' names.
fn family(layer: &str) -> Vec<(&'static str, Box<dyn Explainer>)> {
    vec![
        (
            "grad-cam",
            Box::new(GradCam::new().layer(layer).relu(false)),
        ),
        (
            "grad-cam++",
            Box::new(GradCamPlusPlus::new().layer(layer).relu(false)),
        ),
        (
            "hires-cam",
            Box::new(HiResCam::new().layer(layer).relu(false)),
        ),
        (
            "element-wise-cam",
            Box::new(ElementWiseCam::new().layer(layer)),
        ),
        (
            "layer-cam",
            Box::new(LayerCam::new().layer(layer).relu(false)),
        ),
        (
            "xgrad-cam",
            Box::new(XGradCam::new().layer(layer).relu(false)),
        ),
        ("eigen-cam", Box::new(EigenCam::new().layer(layer))),
        (
            "eigen-cam.centre=false",
            Box::new(EigenCam::new().layer(layer).centre(false)),
        ),
        ("eigen-grad-cam", Box::new(EigenGradCam::new().layer(layer))),
        (
            "eigen-grad-cam.centre=false",
            Box::new(EigenGradCam::new().layer(layer).centre(false)),
        ),
        (
            "ablation-cam",
            Box::new(AblationCam::new().layer(layer).relu(false)),
        ),
        ("recipro-cam", Box::new(ReciproCam::new().layer(layer))),
    ]
}

#[test]
fn the_small_networks_maps_are_pytorchs() {
    let (session, input, numbers) = small();
    let logits = session.logits(&input).unwrap();
    assert!(relative_l2(&logits, &numbers.get("logits")) < 1e-6);
    for layer in ["act1", "act2"] {
        let white = ScoreCam::new()
            .layer(layer)
            .relu(false)
            .baseline(Baseline::White);
        let cell = ReciproCam::new().layer(layer).mask(Kept::Cell);
        let mut methods = family(layer);
        methods.push((
            "score-cam",
            Box::new(ScoreCam::new().layer(layer).relu(false)),
        ));
        methods.push(("score-cam.baseline=white", Box::new(white)));
        methods.push(("recipro-cam.mask=cell", Box::new(cell)));
        for (name, method) in methods {
            for (target, found) in TARGETS
                .iter()
                .zip(maps(&session, &input, &*method, &TARGETS))
            {
                let key = format!("{layer}/{target}/{name}");
                close(&key, &found, &numbers.get(&key), 1e-4);
            }
        }
    }
}

#[test]
fn probabilities_and_differences_are_scores_too() {
    let (session, input, numbers) = small();
    let method = GradCam::new().layer("act1").relu(false);
    let explained = |target: &str| {
        let found = session
            .explain_input(
                &input,
                &method,
                &Target::parse(target),
                &RunOptions::default(),
            )
            .unwrap();
        found[0].attribution().map.data().to_vec()
    };
    let probability = numbers.get("act1/1/grad-cam.probability");
    close(
        "probability",
        &explained("probability:1"),
        &probability,
        1e-4,
    );
    let [one, three] = [1, 3].map(|t| numbers.get(&format!("act1/{t}/grad-cam")));
    let difference: Vec<f64> = one.iter().zip(three).map(|(a, b)| a - b).collect();
    close("difference", &explained("1 vs 3"), &difference, 1e-4);
}

/// Of a network that ends in ReLU, global pooling and a linear layer, the maps are
/// known: W_c A_c, summed and divided by the number of cells.
#[test]
fn before_pooling_and_a_linear_layer_maps_are_the_classic_cam() {
    let (session, input, _) = small();
    let weights = Numbers::of("small/model.safetensors");
    let (weight, bias) = (weights.get("fc.weight"), weights.get("fc.bias"));
    let activation = session.activation(&input, "act2").unwrap();
    let &[channels, rows, columns] = activation.dims() else {
        panic!("no map")
    };
    let cells = rows * columns;
    let a = |c: usize, p: usize| f64::from(activation.data()[c * cells + p]);
    let sum_a = |c: usize| (0..cells).map(|p| a(c, p)).sum::<f64>();
    for target in 0..5 {
        let w = |c: usize| weight[target * channels + c] / cells as f64;
        let summed = |of: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            let at = |p| (0..channels).map(|c| of(c, p)).sum();
            (0..cells).map(at).collect()
        };
        let score = bias[target] + (0..channels).map(|c| w(c) * sum_a(c)).sum::<f64>();
        let cam = summed(&|c, p| w(c) * a(c, p));
        let ablation = summed(&|c, p| w(c) * sum_a(c) / score.abs() * a(c, p));
        let one_cell: Vec<f64> = cam.iter().map(|v| bias[target] + v).collect();
        let positive = summed(&|c, p| w(c).max(0.0) * a(c, p));
        // alpha = g^2 / (2 g^2 + g^3 sum A), the weight its sum times relu(g).
        let plus_plus = summed(&|c, p| {
            let (g, total) = (w(c), sum_a(c));
            let alpha = if g == 0.0 {
                0.0
            } else {
                g * g / (2.0 * g * g + g * g * g * total)
            };
            cells as f64 * alpha * g.max(0.0) * a(c, p)
        });
        // torch-cam's coefficients are never divided.
        let torch_cam = summed(&|c, p| {
            let g = w(c);
            cells as f64 * g * g * g.max(0.0) * a(c, p)
        });
        let found = |method: &dyn Explainer| map(&session, &input, method, target);
        let methods: [(&str, Box<dyn Explainer>, &[f64]); 8] = [
            ("grad-cam", Box::new(GradCam::new().relu(false)), &cam),
            ("hires-cam", Box::new(HiResCam::new().relu(false)), &cam),
            ("xgrad-cam", Box::new(XGradCam::new().relu(false)), &cam),
            ("layer-cam", Box::new(LayerCam::new()), &positive),
            (
                "element-wise-cam",
                Box::new(ElementWiseCam::new()),
                &positive,
            ),
            ("grad-cam++", Box::new(GradCamPlusPlus::new()), &plus_plus),
            (
                "ablation-cam",
                Box::new(AblationCam::new().relu(false)),
                &ablation,
            ),
            (
                "recipro-cam",
                Box::new(ReciproCam::new().mask(Kept::Cell)),
                &one_cell,
            ),
        ];
        for (name, method, expected) in methods {
            close(
                &format!("{target} {name}"),
                &found(&*method),
                expected,
                1e-5,
            );
        }
        let found = found(&GradCamPlusPlus::new());
        assert!(correlation(&found, &torch_cam) < 0.9999 && relative_l2(&found, &torch_cam) > 0.5);
        // HiResCAM adds up to the score less the bias.
        let total: f64 = cam.iter().sum();
        assert!((total - (score - bias[target])).abs() < 1e-9);
    }
}

#[test]
fn grad_cam_plus_plus_divides_its_coefficients() {
    let (session, input, numbers) = small();
    for target in TARGETS {
        let method = GradCamPlusPlus::new().layer("act1").relu(false);
        let found = map(&session, &input, &method, target);
        let undivided = numbers.get(&format!("act1/{target}/grad-cam++.torch-cam"));
        let r = correlation(&found, &undivided);
        println!("correlation with torch-cam's formula: {r:.4}");
        assert!(r < 0.999 && relative_l2(&found, &undivided) > 0.5, "{r}");
    }
}

#[test]
fn principal_components_point_where_the_layer_is_active() {
    let session = embedded();
    for name in PHOTOS {
        let input = crop(name);
        for layer in ["blocks.2", "blocks.4", "bn2"] {
            let activation = session.activation(&input, layer).unwrap();
            let cells = activation.dims()[1] * activation.dims()[2];
            let mut sum = vec![0.0; cells];
            for channel in activation.data().chunks(cells) {
                sum.iter_mut()
                    .zip(channel)
                    .for_each(|(s, a)| *s += f64::from(*a));
            }
            let method = EigenCam::new().layer(layer);
            let maps = maps(&session, &input, &method, &[1, 2]);
            assert!(correlation(&maps[0], &sum) > 0.0, "{name} {layer}");
            assert_eq!(maps[0], maps[1]);
        }
    }
}

#[test]
fn the_photographs_maps_are_pytorchs() {
    let session = embedded();
    let numbers = Numbers::of("photos.safetensors");
    for name in PHOTOS {
        let input = crop(name);
        let target = numbers.get(&format!("{name}/target"))[0] as usize;
        assert_eq!(target, Expected::of(name).class());
        for layer in ["bn2", "blocks.4"] {
            for (method_name, method) in family(layer) {
                let key = format!("{name}/{layer}/{method_name}");
                let found = map(&session, &input, &*method, target);
                close(&key, &found, &numbers.get(&key), 1e-2);
            }
        }
        let key = format!("{name}/blocks.4/score-cam");
        let method = ScoreCam::new().layer("blocks.4").relu(false);
        close(
            &key,
            &map(&session, &input, &method, target),
            &numbers.get(&key),
            1e-2,
        );
    }
}

#[test]
fn negative_values_are_cut_off_where_that_is_asked_for() {
    let (session, input, _) = small();
    let cut = |whole: Vec<f32>| whole.iter().map(|v| v.max(0.0)).collect::<Vec<f32>>();
    let pairs: [(Box<dyn Explainer>, Box<dyn Explainer>); 3] = [
        (
            Box::new(GradCam::new().layer("act1")),
            Box::new(GradCam::new().layer("act1").relu(false)),
        ),
        (
            Box::new(EigenCam::new().layer("act1").relu(true)),
            Box::new(EigenCam::new().layer("act1")),
        ),
        (
            Box::new(AblationCam::new().layer("act1")),
            Box::new(AblationCam::new().layer("act1").relu(false)),
        ),
    ];
    for (without, with) in pairs {
        let signed = &explain(&session, &input, &*with, &[1]).unwrap()[0];
        assert!(signed.attribution().signed);
        let whole = signed.attribution().map.data().to_vec();
        assert!(whole.iter().any(|v| *v < 0.0), "{}", with.id());
        let unsigned = &explain(&session, &input, &*without, &[1]).unwrap()[0];
        assert!(!unsigned.attribution().signed);
        assert_eq!(unsigned.attribution().map.data(), cut(whole));
    }
}

/// All of the family as the command line makes it.
fn listed(layer: &str) -> Vec<Box<dyn Explainer>> {
    let cams = methods::list().into_iter().filter(|m| m.kind == "cam");
    let made = cams.map(|m| methods::build(m.id, &[("layer", layer)], None).unwrap());
    let made: Vec<_> = made.collect();
    assert_eq!(made.len(), 11);
    made
}

#[test]
fn targets_in_one_call_are_those_of_single_calls() {
    let (session, input, _) = small();
    for layer in ["act1", "act1,act2"] {
        for method in listed(layer) {
            let together = maps(&session, &input, &*method, &[0, 1, 2, 3, 4]);
            for (target, found) in together.iter().enumerate() {
                let alone = map(&session, &input, &*method, target);
                assert_eq!(*found, alone, "{} at {layer} for {target}", method.id());
            }
        }
    }
}

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

/// The shares of work: forward passes, gradients, and progress to its end.
#[test]
fn cams_count_what_they_run() {
    let (session, input, _) = small();
    let targets = classes(&session, &input, &[0, 1, 2]);
    let channels = 8;
    let cells = 10 * 14;
    for method in listed("act1") {
        let last = Mutex::new(Progress { done: 0, total: 0 });
        let report = |progress| *last.lock().unwrap() = progress;
        let options = RunOptions {
            progress: Some(&report),
            ..RunOptions::default()
        };
        let found = session
            .explain_targets(&input, &*method, &targets, &options)
            .unwrap();
        let counted = found[0].attribution().evaluations;
        let expected = match method.id() {
            "eigen-cam" => (0, 1),
            "score-cam" => (0, 1 + channels),
            "ablation-cam" => (0, 1 + 1 + 1 + channels),
            "recipro-cam" => (0, 1 + 1 + cells),
            _ => (3, 0),
        };
        assert_eq!(
            (counted.gradients, counted.forwards),
            expected,
            "{}",
            method.id()
        );
        let last = last.into_inner().unwrap();
        assert_eq!(last.done, last.total, "{}", method.id());
        assert_eq!(
            last.total,
            counted.gradients + counted.forwards,
            "{}",
            method.id()
        );
    }
}

#[test]
fn cams_do_not_depend_on_batch_or_threads() {
    let (_, input, _) = small();
    let with = |batch, threads| {
        let options = SessionOptions {
            batch,
            memory: None,
        };
        session_of("small", options, Some(threads))
    };
    let sessions = [
        with(None, 1),
        with(None, 2),
        with(Some(1), 2),
        with(Some(3), 2),
    ];
    for method in listed("act1,act2") {
        let expected = maps(&sessions[0], &input, &*method, &[0, 1, 2, 4]);
        for session in &sessions[1..] {
            assert_eq!(
                maps(session, &input, &*method, &[0, 1, 2, 4]),
                expected,
                "{}",
                method.id()
            );
        }
    }
}

#[test]
fn fewer_channels_are_the_ones_that_vary_most() {
    let (session, input, _) = small();
    let method = |channels| ScoreCam::new().layer("act1").channels(channels);
    let found = explain(&session, &input, &method(3), &[1]).unwrap();
    assert_eq!(found[0].attribution().evaluations.forwards, 1 + 3);
    let all = maps(&session, &input, &ScoreCam::new().layer("act1"), &[1]);
    assert_eq!(maps(&session, &input, &method(1000), &[1]), all);
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
        let method = methods::build(method.id, &[], None).unwrap();
        let error = explain(&session, &input, &*method, &[0]).unwrap_err();
        let expected = matches!(&error, Error::Explain(ExplainError::NoAttention(_)));
        assert!(expected, "{}: {error}", method.id());
    }
}
