//! Metrics by what is known of linear models, and by numbers of RISE, xplique
//! and pytorch-grad-cam (tests/fixtures/metrics).

mod common;

use common::fixture;
use limpid::metrics::{
    AttributionShare, CompletenessGap, Infidelity, InformationArea, LabelMask, MaxSensitivity,
    Metric, Performance, PixelCurve, PointingGame, Randomisation, Region, Road, SeedStability,
    SensitivityN, Step,
};
use limpid::{
    Attribution, Baseline, Context, Device, Domain, Evaluation, Evaluations, ExplainError,
    Explainer, Gradient, Input, IntegratedGradients, MethodResult, Model, Report, Request,
    RunOptions, Session, SessionOptions, Target, Tensor,
};
use serde_json::{Value, json};

const SIDE: usize = 8;
const SIZE: usize = 3 * SIDE * SIDE;

/// A method whose map is known beforehand, whatever the model.
struct Fixed {
    map: Tensor,
    domain: Domain,
}

impl Fixed {
    fn pixels(dims: [usize; 2], values: Vec<f32>) -> Self {
        Self {
            map: Tensor::new(dims, values).unwrap(),
            domain: Domain::Pixels,
        }
    }
}

impl Explainer for Fixed {
    fn id(&self) -> &str {
        "fixed"
    }

    fn explain(
        &self,
        _: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let map = Attribution {
            map: self.map.clone(),
            domain: self.domain.clone(),
            standard_error: None,
            signed: true,
            completeness: None,
            evaluations: Evaluations::default(),
        };
        Ok(vec![map; request.objectives.len()])
    }
}

/// Numbers between -1 and 1 that follow no pattern.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// A model whose first score is `weights` times the input, and whose second is 0.
fn linear(weights: &[f32], options: SessionOptions) -> Session {
    let folder = tempfile::tempdir().unwrap();
    let graph = json!({
        "format": "limpid-graph/1",
        "inputs": [{ "name": "x", "shape": [3, SIDE, SIDE] }],
        "nodes": [
            { "name": "flat", "op": "Flatten", "attrs": { "axis": 1 },
              "inputs": ["x"], "outputs": ["flat"] },
            { "name": "fc", "op": "Gemm", "attrs": { "trans_b": true },
              "inputs": ["flat", "fc.weight", "fc.bias"], "outputs": ["fc"] },
        ],
        "layers": { "fc": "fc" },
        "outputs": ["fc"],
    });
    let config = json!({
        "architecture": "linear",
        "num_classes": 2,
        "pretrained_cfg": {
            "input_size": [3, SIDE, SIDE],
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
    });
    let mut matrix = weights.to_vec();
    matrix.resize(2 * SIZE, 0.0);
    let bytes =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let (matrix, bias) = (bytes(&matrix), bytes(&[0.0; 2]));
    let view = |shape: Vec<usize>, data| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, data).unwrap()
    };
    let tensors = [
        ("fc.weight", view(vec![2, SIZE], &matrix)),
        ("fc.bias", view(vec![2], &bias)),
    ];
    let weights = safetensors::serialize(tensors, None).unwrap();
    std::fs::write(folder.path().join("graph.json"), graph.to_string()).unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.path().join("model.safetensors"), weights).unwrap();
    let model = Model::open(folder.path()).unwrap();
    Session::new(model, Device::cpu(None).unwrap(), options).unwrap()
}

fn input(values: &[f32]) -> Input {
    let bytes = limpid::render::encode_npy(&[3, SIDE, SIDE], values).unwrap();
    Input::from_npy_bytes(&bytes, "x").unwrap()
}

/// What a metric finds of a method on one input.
fn measured(
    session: &Session,
    input: &Input,
    method: impl Explainer + 'static,
    metric: impl Metric + 'static,
    regions: &[Region],
) -> MethodResult {
    let methods: Vec<Box<dyn Explainer>> = vec![Box::new(method)];
    let metrics: Vec<Box<dyn Metric>> = vec![Box::new(metric)];
    let mut evaluation = Evaluation::new(session, &methods, &metrics, 0);
    let options = RunOptions::default();
    let mut found = evaluation
        .picture(input, &Target::Class(0), regions, &options)
        .unwrap();
    let result = found.remove(0).result.results.remove(0);
    assert_eq!(result.error, None);
    result
}

fn value(result: &MethodResult, name: &str) -> f64 {
    let found = result.metrics.iter().find(|(n, _)| n == name);
    found
        .and_then(|(_, v)| *v)
        .unwrap_or_else(|| panic!("no {name} in {result:?}"))
}

fn sigmoid(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

/// The exact attribution of a linear model: weights times input.
fn exact() -> IntegratedGradients {
    IntegratedGradients::new().baseline(Baseline::Zero).steps(1)
}

/// What each pixel adds to the linear model's score.
fn contributions(weights: &[f32], x: &[f32]) -> Vec<f64> {
    let plane = SIDE * SIDE;
    let add = |i: usize| f64::from(weights[i]) * f64::from(x[i]);
    (0..plane)
        .map(|p| (0..3).map(|c| add(c * plane + p)).sum())
        .collect()
}

#[test]
fn curves_of_a_linear_model_are_known() {
    let (weights, x) = (numbers(SIZE, 1), numbers(SIZE, 2));
    let session = linear(&weights, SessionOptions::default());
    let mut sorted = contributions(&weights, &x);
    sorted.sort_by(|a, b| b.total_cmp(a));
    let counts = |step: usize| (0..=SIDE * SIDE / step).map(move |i| i * step);
    let deletion = |n: usize| sigmoid(sorted[n..].iter().sum());
    let insertion = |n: usize| sigmoid(sorted[..n].iter().sum());
    let area =
        |y: &[f64]| y.windows(2).map(|w| (w[0] + w[1]) / 2.0).sum::<f64>() / (y.len() - 1) as f64;
    let step = 4;
    let mut metric = PixelCurve::deletion();
    metric.step = Step::Pixels(step);
    let expected: Vec<f64> = counts(step).map(deletion).collect();
    let found = measured(&session, &input(&x), exact(), metric, &[]);
    for (a, b) in found.curves[0].1.y.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    assert_eq!(found.curves[0].1.x[1], 4.0 / 64.0);
    assert!((value(&found, "deletion") - area(&expected)).abs() < 1e-5);

    let mut metric = PixelCurve::insertion_10();
    metric.step = Step::Part(16);
    let expected: Vec<f64> = counts(step).map(insertion).collect();
    let found = measured(&session, &input(&x), exact(), metric, &[]);
    assert!((value(&found, "insertion-10") - area(&expected)).abs() < 1e-5);
    // The picture was put through the model once for each point.
    assert_eq!(found.measuring[0].1.evaluations.forwards, 17);
}

#[test]
fn exact_attributions_are_perfect() {
    let (weights, x) = (numbers(SIZE, 3), numbers(SIZE, 4));
    let session = linear(&weights, SessionOptions::default());
    let x = input(&x);
    let found = measured(&session, &x, exact(), SensitivityN::default(), &[]);
    assert!(value(&found, "sensitivity-n") > 0.999_99);
    // The derivative by itself is no such attribution.
    let found = measured(&session, &x, Gradient::new(), SensitivityN::default(), &[]);
    assert!(value(&found, "sensitivity-n") < 0.9);

    for number in ["infidelity", "infidelity.raw"] {
        let metric = Infidelity::default;
        let found = measured(&session, &x, Gradient::new(), metric(), &[]);
        assert!(value(&found, number) < 1e-9, "{found:?}");
        let found = measured(&session, &x, exact(), metric(), &[]);
        assert!(value(&found, number) < 1e-9, "{found:?}");
    }
    let opposite = contributions(&weights, x.tensor().data());
    let opposite = opposite.iter().map(|v| -*v as f32).collect();
    let opposite = Fixed::pixels([SIDE, SIDE], opposite);
    let found = measured(&session, &x, opposite, Infidelity::default(), &[]);
    assert_eq!(value(&found, "infidelity"), 1.0);

    let found = measured(
        &session,
        &x,
        Gradient::new(),
        MaxSensitivity::default(),
        &[],
    );
    assert_eq!(value(&found, "max-sensitivity"), 0.0);
    assert_eq!(found.measuring[0].1.evaluations.gradients, 10);
    // Weights times input changes with the input, at most by what the input does.
    let found = measured(&session, &x, exact(), MaxSensitivity::default(), &[]);
    let largest = value(&found, "max-sensitivity");
    assert!(largest > 0.0 && largest < 0.05, "{largest}");

    let found = measured(&session, &x, exact(), CompletenessGap, &[]);
    assert!(value(&found, "completeness") < 1e-5);
    let found = measured(&session, &x, Gradient::new(), CompletenessGap, &[]);
    assert_eq!(found.metrics, [("completeness".to_owned(), None)]);
    assert_eq!(found.notes[0].1, "the method has no path");
}

#[test]
fn only_random_methods_change_with_the_seed() {
    let (weights, x) = (numbers(SIZE, 5), numbers(SIZE, 6));
    let session = linear(&weights, SessionOptions::default());
    let x = input(&x);
    let found = measured(&session, &x, exact(), SeedStability::default(), &[]);
    assert_eq!(value(&found, "seed-stability"), 0.0);
    assert_eq!(value(&found, "seed-stability.rank"), 1.0);
    let noise = IntegratedGradients::new()
        .baseline(Baseline::Noise)
        .steps(1);
    let found = measured(&session, &x, noise, SeedStability::default(), &[]);
    assert!(value(&found, "seed-stability") > 0.1);
    assert!(value(&found, "seed-stability.rank") < 0.99);
}

fn region(name: &str, rows: std::ops::Range<usize>) -> Region {
    let label = |i: usize| u8::from(rows.contains(&(i / SIDE)));
    let labels = (0..SIDE * SIDE).map(label).collect();
    Region {
        name: name.to_owned(),
        mask: LabelMask::new(labels, [SIDE, SIDE]).unwrap(),
        label: 1,
    }
}

#[test]
fn regions_have_numbers_of_their_own() {
    let session = linear(&numbers(SIZE, 7), SessionOptions::default());
    let x = input(&numbers(SIZE, 8));
    let regions = [region("object", 0..2), region("face", 6..8)];
    // One in the first row, three in the last.
    let mut values = vec![0.0; SIDE * SIDE];
    (values[3], values[60]) = (1.0, 3.0);
    let map = || Fixed::pixels([SIDE, SIDE], values.clone());
    let found = measured(&session, &x, map(), AttributionShare, &regions);
    assert_eq!(value(&found, "attribution-share.object"), 0.25);
    assert_eq!(value(&found, "attribution-share.face"), 0.75);
    let metric = PointingGame { tolerance: 1.0 };
    let found = measured(&session, &x, map(), metric, &regions);
    assert_eq!(value(&found, "pointing-game.object"), 0.0);
    assert_eq!(value(&found, "pointing-game.face"), 1.0);
    let found = measured(&session, &x, map(), AttributionShare, &[]);
    assert_eq!(found.notes[0].1, "the picture has no mask");
    let wrong = [Region {
        mask: LabelMask::new(vec![1; 4], [2, 2]).unwrap(),
        ..region("object", 0..1)
    }];
    let methods: Vec<Box<dyn Explainer>> = vec![Box::new(map())];
    let metrics: Vec<Box<dyn Metric>> = vec![Box::new(AttributionShare)];
    let mut evaluation = Evaluation::new(&session, &methods, &metrics, 0);
    let options = RunOptions::default();
    let error = evaluation.picture(&x, &Target::Top(1), &wrong, &options);
    let error = error.err().unwrap().to_string();
    assert!(
        error.contains("2 x 2") && error.contains("8 x 8"),
        "{error}"
    );
    assert!(evaluation.report().pictures.is_empty());
}

fn smooth_network() -> (Session, Input, Value) {
    let model = Model::open(fixture("smooth-network")).unwrap();
    let input = Input::from_npy(fixture("smooth-network/x.npy")).unwrap();
    let numbers = std::fs::read(fixture("metrics/numbers.json")).unwrap();
    let numbers = serde_json::from_slice(&numbers).unwrap();
    (
        model.session(Device::cpu(None).unwrap()).unwrap(),
        input,
        numbers,
    )
}

fn report(session: &Session, input: &Input, metrics: &[Box<dyn Metric>], target: usize) -> Report {
    let methods: Vec<Box<dyn Explainer>> = vec![Box::new(Gradient::new())];
    let mut evaluation = Evaluation::new(session, &methods, metrics, 0);
    let options = RunOptions::default();
    let target = Target::Class(target);
    evaluation.picture(input, &target, &[], &options).unwrap();
    evaluation.report()
}

#[test]
fn insertion_and_deletion_are_rises_and_xpliques() {
    let (session, input, numbers) = smooth_network();
    let step = numbers["step"].as_u64().unwrap() as usize;
    let metrics: Vec<Box<dyn Metric>> = [PixelCurve::insertion(), PixelCurve::deletion()]
        .into_iter()
        .map(|mut m| {
            m.step = Step::Pixels(step);
            m
        })
        .chain([PixelCurve::insertion_10(), PixelCurve::deletion_10()])
        .map(|m| Box::new(m) as _)
        .collect();
    let report = report(&session, &input, &metrics, 2);
    let result = &report.pictures[0].results[0];
    assert_eq!(result.metrics.len(), 4);
    for (name, _) in &result.metrics {
        let expected = &numbers[name];
        let area = expected["area"].as_f64().unwrap();
        assert!((value(result, name) - area).abs() < 1e-6, "{name} {area}");
        let curve = result.curves.iter().find(|(n, _)| n == name).unwrap();
        let expected = expected["curve"].as_array().unwrap();
        assert_eq!(curve.1.y.len(), expected.len(), "{name}");
        for (a, b) in curve.1.y.iter().zip(expected) {
            assert!((a - b.as_f64().unwrap()).abs() < 1e-5, "{name} {a} {b}");
        }
    }
}

#[test]
fn road_is_pytorch_grad_cams() {
    let (session, input, numbers) = smooth_network();
    let road = Road {
        noise: 0.0,
        ..Road::default()
    };
    let report = report(&session, &input, &[Box::new(road)], 2);
    let result = &report.pictures[0].results[0];
    for part in ["morf", "lerf"] {
        let name = format!("road.{part}");
        let curve = result.curves.iter().find(|(n, _)| *n == name).unwrap();
        let expected = numbers["road"][part].as_array().unwrap();
        for (a, b) in curve.1.y.iter().zip(expected) {
            assert!((a - b.as_f64().unwrap()).abs() < 1e-5, "{name} {a} {b}");
        }
    }
    let combined = numbers["road"]["combined"].as_f64().unwrap();
    assert!((value(result, "road") - combined).abs() < 1e-5);
}

/// In Quantus, of several batches of pictures only the first counts.
#[test]
fn every_picture_counts_whatever_the_batch() {
    let weights = numbers(SIZE, 9);
    let pictures: Vec<Input> = (10..15).map(|seed| input(&numbers(SIZE, seed))).collect();
    let run = |batch: Option<usize>| {
        let options = SessionOptions {
            batch,
            ..SessionOptions::default()
        };
        let session = linear(&weights, options);
        let methods: Vec<Box<dyn Explainer>> = vec![Box::new(exact())];
        let metrics: Vec<Box<dyn Metric>> =
            vec![Box::new(Road::default()), Box::new(Infidelity::default())];
        let mut evaluation = Evaluation::new(&session, &methods, &metrics, 0);
        for picture in &pictures {
            let options = RunOptions::default();
            evaluation
                .picture(picture, &Target::Class(0), &[], &options)
                .unwrap();
        }
        evaluation.failed("missing.png", "there is no such file");
        evaluation.report()
    };
    let report = run(None);
    assert_eq!(report.pictures.len(), 6);
    let (name, summary) = &report.summary[0].metrics[0];
    assert_eq!((&**name, summary.count), ("road", 5));
    let values = report.pictures[..5]
        .iter()
        .map(|p| value(&p.results[0], "road"));
    let values: Vec<f64> = values.collect();
    let mean = values.iter().sum::<f64>() / 5.0;
    assert!((summary.mean.unwrap() - mean).abs() < 1e-12);
    assert!(values[1..].iter().all(|v| *v != values[0]), "{values:?}");
    let spread: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let error = (spread / 4.0 / 5.0).sqrt();
    assert!((summary.standard_error.unwrap() - error).abs() < 1e-12);
    for batch in [1, 3] {
        let other = run(Some(batch));
        for (a, b) in report.pictures.iter().zip(&other.pictures) {
            let metrics = |p: &limpid::PictureResult| -> Vec<_> {
                p.results.iter().map(|r| r.metrics.clone()).collect()
            };
            assert_eq!(metrics(a), metrics(b), "batch {batch}");
        }
    }
}

#[test]
fn an_information_curve_prefers_what_the_model_reads() {
    let session = common::embedded();
    let input = session.input(&common::photo("coffee")).unwrap();
    let methods: Vec<Box<dyn Explainer>> = vec![Box::new(limpid::GradCam::new())];
    let metrics: Vec<Box<dyn Metric>> = vec![
        Box::new(InformationArea::new(Performance::Softmax)),
        Box::new(InformationArea::new(Performance::Accuracy)),
    ];
    let mut evaluation = Evaluation::new(&session, &methods, &metrics, 0);
    let options = RunOptions::default();
    for target in [Target::Top(1), Target::Class(504)] {
        evaluation.picture(&input, &target, &[], &options).unwrap();
    }
    let report = evaluation.report();
    let espresso = &report.pictures[0].results[0];
    let (sic, aic) = (value(espresso, "sic"), value(espresso, "aic"));
    assert!(
        (0.3..1.0).contains(&sic) && (0.3..1.0).contains(&aic),
        "{sic} {aic}"
    );
    // The mug is not what the picture shows most of all.
    let mug = &report.pictures[1].results[0];
    assert!(mug.metrics.iter().all(|(_, v)| v.is_none()));
    assert!(mug.notes[0].1.contains("below 0.8"), "{:?}", mug.notes);
}

#[test]
fn randomisation_finds_maps_that_do_not_depend_on_the_model() {
    let (session, input, _) = smooth_network();
    let found = measured(&session, &input, Gradient::new(), Randomisation, &[]);
    let curve = &found.curves[0].1;
    // One, two, three and all four layers of products and convolutions.
    assert_eq!(curve.x, [0.25, 0.5, 0.75, 1.0]);
    assert!(value(&found, "randomisation") < 0.7, "{curve:?}");
    assert!(curve.y[3].abs() < 0.3, "{curve:?}");
    let edges = Fixed::pixels([32, 32], numbers(1024, 11));
    let found = measured(&session, &input, edges, Randomisation, &[]);
    assert!(value(&found, "randomisation") > 0.999_999);
    // What was shuffled is not the session's own model.
    let again = measured(&session, &input, Gradient::new(), Randomisation, &[]);
    assert_eq!(again.curves[0].1.x.len(), 4);
}

#[test]
fn a_cancelled_picture_is_not_recorded() {
    let session = linear(&numbers(SIZE, 12), SessionOptions::default());
    let methods: Vec<Box<dyn Explainer>> = vec![Box::new(exact())];
    let metrics: Vec<Box<dyn Metric>> = vec![Box::new(PixelCurve::deletion_10())];
    let mut evaluation = Evaluation::new(&session, &methods, &metrics, 0);
    let cancel = std::sync::atomic::AtomicBool::new(true);
    let options = RunOptions {
        cancel: Some(&cancel),
        ..RunOptions::default()
    };
    let x = input(&numbers(SIZE, 13));
    let found = evaluation.picture(&x, &Target::Top(1), &[], &options);
    assert_eq!(found.err().unwrap().to_string(), "cancelled");
    assert!(evaluation.report().pictures.is_empty());
}
