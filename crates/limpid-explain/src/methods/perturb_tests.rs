//! Perturbation methods on functions whose answers are known.

use super::*;
use crate::regions::{Growth, grid, xrai_merge, xrai_segments};
use crate::{
    Accumulation, Attentions, Attribution, DeviceTensor, Domain, Evaluations, Gradients,
    Integration, LayerGradients, LayerVariants, Limits, ModelInfo, Noise, Objective, Parameters,
    Passed, Passes, Pictures, Planner, Points, Vary, Visit,
};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph};
use limpid_tensor::{Tensor, philox};
use std::ops::Range;
use std::sync::Arc;

/// A model that is a function of the picture, in f64; it has scores alone.
struct Toy<'a> {
    info: ModelInfo,
    model: &'a dyn Fn(&[f64]) -> Vec<f32>,
    batch: usize,
    forwards: u64,
}

impl<'a> Toy<'a> {
    fn new(channels: usize, model: &'a dyn Fn(&[f64]) -> Vec<f32>) -> Self {
        let info = ModelInfo {
            classes: 2,
            black: vec![-1.0; channels],
            white: vec![1.0; channels],
            cam_layer: None,
            cam_layers: Vec::new(),
        };
        Self {
            info,
            model,
            batch: 7,
            forwards: 0,
        }
    }
}

impl Context for Toy<'_> {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn scores(&mut self, request: &Points<'_>) -> Result<Vec<f64>, ExplainError> {
        let subject = &request.subject;
        let dims = subject.image.dims();
        let mut scores = Vec::new();
        for points in request.points.chunks(self.batch) {
            let mut graph = Graph::new();
            let x = graph.input("x", Fact::f32([&[1], dims].concat()));
            let fragment = subject.path.build(&mut graph, x, points.len())?;
            graph.set_outputs(&[fragment.point]);
            let controls = subject.path.controls(points)?;
            let statics = subject.path.statics();
            let as_f64 = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let inputs: Vec<RefTensor> = graph
                .inputs()
                .iter()
                .map(|v| {
                    let at = |ids: &[limpid_graph::ValueId]| ids.iter().position(|id| id == v);
                    let data = match (at(&fragment.statics), at(&fragment.controls)) {
                        (Some(i), _) => as_f64(statics[i].data()),
                        (_, Some(i)) => as_f64(&controls[i]),
                        _ => as_f64(subject.image.data()),
                    };
                    RefTensor::new(graph.fact(*v).shape.clone(), data)
                })
                .collect();
            let out = reference::run(&graph, &inputs)?.remove(0);
            for picture in out.data.chunks(subject.image.data().len()) {
                let logits = (self.model)(picture);
                scores.extend(request.objectives.iter().map(|o| o.value(&logits)));
            }
        }
        self.forwards += request.points.len() as u64;
        Ok(scores)
    }

    fn evaluations(&self) -> Evaluations {
        Evaluations {
            gradients: 0,
            forwards: self.forwards,
        }
    }

    fn check(&self) -> Result<(), ExplainError> {
        Ok(())
    }

    fn integrate(&mut self, _: &Integration<'_>) -> Result<Tensor, ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }

    fn accumulate(
        &mut self,
        _: &Accumulation<'_>,
        _: &mut dyn Planner,
    ) -> Result<DeviceTensor, ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }

    fn gradients(&mut self, _: &Gradients<'_>, _: &mut Visit<'_>) -> Result<(), ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }

    fn layer_gradients(
        &mut self,
        _: &Tensor,
        _: &[String],
        _: &[Objective],
    ) -> Result<Vec<LayerGradients>, ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }

    fn layer_scores(
        &mut self,
        _: &LayerVariants<'_>,
        _: &mut Vary<'_>,
    ) -> Result<Vec<f64>, ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }

    fn attentions(&mut self, _: &Tensor, _: &[Objective]) -> Result<Attentions, ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }

    fn upload(&mut self, _: &Tensor) -> Result<DeviceTensor, ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }

    fn download(&mut self, _: &DeviceTensor) -> Result<Tensor, ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }

    fn compute(
        &mut self,
        _: &Graph,
        _: &[&DeviceTensor],
    ) -> Result<Vec<DeviceTensor>, ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }

    fn noise(
        &mut self,
        _: &DeviceTensor,
        _: Noise,
        _: Range<u64>,
    ) -> Result<DeviceTensor, ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }

    fn pass(&mut self, _: &Passes<'_>) -> Result<Passed, ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }

    fn limits(&self) -> Limits {
        unreachable!("the methods under test ask for scores alone")
    }

    fn progress(&mut self, _: u64, _: u64) {}

    fn note(&mut self, _: &str) {}

    fn picture(&mut self, _: &str) -> Result<Tensor, ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }

    fn pictures(&mut self, _: &str) -> Result<Arc<dyn Pictures>, ExplainError> {
        unreachable!("the methods under test ask for scores alone")
    }
}

/// Normal numbers.
fn normals(stream: u32, n: usize) -> Vec<f64> {
    let quads = (0..n.div_ceil(4) as u32)
        .flat_map(|quad| philox::normal4(philox::key(11), stream, [0, 0], quad));
    quads.take(n).collect()
}

fn picture(dims: [usize; 3]) -> Tensor {
    let n = dims.iter().product();
    Tensor::new(dims, normals(100, n).iter().map(|v| *v as f32).collect()).unwrap()
}

fn explain(
    method: &dyn Explainer,
    image: &Tensor,
    model: &dyn Fn(&[f64]) -> Vec<f32>,
    seed: u64,
) -> Result<Vec<Attribution>, ExplainError> {
    let mut toy = Toy::new(image.dims()[0], model);
    let objectives = [Objective::class(0), Objective::class(1)];
    let request = Request {
        image,
        objectives: &objectives,
        seed,
    };
    let maps = method.explain(&mut toy, &request)?;
    toy.batch = 1000;
    toy.forwards = 0;
    let others = method.explain(&mut toy, &request)?;
    assert_eq!(maps.len(), 2);
    for (a, b) in maps.iter().zip(&others) {
        assert!(a.map == b.map, "the map depends on the batch");
        assert_eq!(a.domain, Domain::Pixels);
        assert_eq!(a.map.dims(), &image.dims()[1..]);
        assert_eq!(a.evaluations.forwards, toy.forwards);
    }
    Ok(maps)
}

/// Two linear models, and what each pixel adds to their scores.
struct Linear {
    weights: [Vec<f64>; 2],
    shares: [Vec<f64>; 2],
}

impl Linear {
    fn of(image: &Tensor) -> Self {
        let [c, h, w] = [0, 1, 2].map(|i| image.dims()[i]);
        let weights = [normals(101, c * h * w), normals(102, c * h * w)];
        let share = |weights: &Vec<f64>| {
            let term = |i: usize| weights[i] * f64::from(image.data()[i]);
            (0..h * w)
                .map(|p| (0..c).map(|ch| term(ch * h * w + p)).sum())
                .collect()
        };
        let shares = [share(&weights[0]), share(&weights[1])];
        Self { weights, shares }
    }

    fn logits(&self, x: &[f64]) -> Vec<f32> {
        let dot = |w: &Vec<f64>| x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
        // 3 is there to be ignored.
        self.weights.iter().map(|w| (dot(w) + 3.0) as f32).collect()
    }
}

fn close(found: &Tensor, expected: &[f64], tolerance: f64) {
    let scale = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (i, (a, b)) in found.data().iter().zip(expected).enumerate() {
        assert!(
            (f64::from(*a) - b).abs() <= tolerance * scale,
            "pixel {i}: {a} {b}"
        );
    }
}

#[test]
fn occlusion_of_a_linear_model() {
    let image = picture([2, 7, 10]);
    let linear = Linear::of(&image);
    let model = |x: &[f64]| linear.logits(x);
    let single = Occlusion::new().window(1).stride(1);
    let maps = explain(&single, &image, &model, 0).unwrap();
    assert_eq!(maps[0].evaluations.forwards, 71);
    for (map, shares) in maps.iter().zip(&linear.shares) {
        close(&map.map, shares, 1e-5);
    }
    // Rows 0..3, 2..5, 4..7; columns 0..3, 2..5, 4..7, 6..9, 7..10.
    let maps = explain(&Occlusion::new().window(3).stride(2), &image, &model, 0).unwrap();
    assert_eq!(maps[0].evaluations.forwards, 16);
    for (map, shares) in maps.iter().zip(&linear.shares) {
        let (mut sums, mut counts) = ([0.0; 70], [0.0; 70]);
        for top in [0, 2, 4] {
            for left in [0, 2, 4, 6, 7] {
                let inside: Vec<usize> =
                    (0..9).map(|i| (top + i / 3) * 10 + left + i % 3).collect();
                let drop: f64 = inside.iter().map(|p| shares[*p]).sum();
                for p in inside {
                    sums[p] += drop;
                    counts[p] += 1.0;
                }
            }
        }
        let means: Vec<f64> = sums.iter().zip(&counts).map(|(s, n)| s / n).collect();
        close(&map.map, &means, 1e-5);
    }
    // A window larger than the picture hides it all.
    let maps = explain(&Occlusion::new().window(500), &image, &model, 0).unwrap();
    close(&maps[1].map, &[linear.shares[1].iter().sum(); 70], 1e-5);
}

#[test]
fn rise_of_a_linear_model() {
    const MASKS: u64 = 3000;
    let (cells, probability) = (3usize, 0.4);
    let image = picture([2, 8, 9]);
    let linear = Linear::of(&image);
    let model = |x: &[f64]| linear.logits(x);
    // The means of products of two pixels' masks, over all shifts.
    let (cell, n) = ([3usize, 3], 72usize);
    let weight = |axis: usize, shift: usize, i: usize, k: usize| {
        let at = ((i + shift) as f64 + 0.5) * 3.0 / (4 * cell[axis]) as f64 - 0.5;
        let at = if at > 2.0 { 4.0 - at } else { at.abs() };
        (1.0 - (at - k as f64).abs()).max(0.0)
    };
    let pixel = |p: usize| (p / 9, p % 9);
    let mut covariances = vec![0.0; n * n];
    for shift in 0..9 {
        let (down, right) = (shift / 3, shift % 3);
        for i in 0..n {
            for j in 0..n {
                let along = |axis: usize, s: usize, a: usize, b: usize| -> f64 {
                    (0..cells)
                        .map(|k| weight(axis, s, a, k) * weight(axis, s, b, k))
                        .sum()
                };
                let ((y, x), (v, u)) = (pixel(i), pixel(j));
                let both = along(0, down, y, v) * along(1, right, x, u);
                covariances[i * n + j] += probability * (1.0 - probability) * both / 9.0;
            }
        }
    }
    let method = Rise::new().masks(MASKS).cells(3).probability(probability);
    for centred in [true, false] {
        let maps = explain(&method.clone().centred(centred), &image, &model, 5).unwrap();
        assert_eq!(maps[0].evaluations.forwards, MASKS);
        let mut within = 0;
        for (map, shares) in maps.iter().zip(&linear.shares) {
            let mean = 3.0 + probability * shares.iter().sum::<f64>();
            let error = map.standard_error.as_ref().unwrap();
            assert_eq!(map.signed, centred);
            for j in 0..n {
                let covariance: f64 = (0..n).map(|i| shares[i] * covariances[i * n + j]).sum();
                let expected = covariance / probability + if centred { 0.0 } else { mean };
                let (found, error) = (f64::from(map.map.data()[j]), f64::from(error.data()[j]));
                let deviation = (found - expected).abs() / error;
                assert!(
                    deviation < 4.5,
                    "{centred}, pixel {j}: {found} {expected} {error}"
                );
                within += usize::from(deviation < 1.96);
            }
        }
        // Neighbouring pixels share their luck.
        assert!(within as f64 > 0.85 * 2.0 * n as f64, "{within}");
    }
    let seeds = [1, 2].map(|seed| {
        explain(&method, &image, &model, seed)
            .unwrap()
            .remove(0)
            .map
    });
    assert_ne!(seeds[0], seeds[1]);
}

#[test]
fn lime_and_shap_of_a_linear_model() {
    let image = picture([2, 9, 8]);
    let linear = Linear::of(&image);
    let model = |x: &[f64]| linear.logits(x);
    let segments = Superpixels::Grid { cells: 4 };
    let labels = grid(9, 8, 4, 4).unwrap();
    let lime = Lime::new().samples(60).segments(segments);
    let methods: [Box<dyn Explainer>; 3] = [
        Box::new(lime.clone().regression(Regression::Ridge, 0.0)),
        Box::new(lime.clone().regression(Regression::Lasso, 0.0)),
        Box::new(KernelShap::new().samples(61).segments(segments)),
    ];
    for (method, forwards) in methods.iter().zip([60, 60, 64]) {
        let maps = explain(&**method, &image, &model, 0).unwrap();
        assert_eq!(maps[0].evaluations.forwards, forwards);
        for (map, shares) in maps.iter().zip(&linear.shares) {
            let mut expected = vec![0.0; 72];
            for segment in labels.segments() {
                let sum: f64 = segment.iter().map(|p| shares[*p as usize]).sum();
                for p in &segment {
                    expected[*p as usize] = sum / segment.len() as f64;
                }
            }
            close(&map.map, &expected, 1e-4);
        }
    }
    // Penalties shrink, and the lasso's leave out.
    let norm = |m: &Tensor| m.data().iter().map(|v| v * v).sum::<f32>();
    let map = |method: &Lime| explain(method, &image, &model, 0).unwrap().remove(0).map;
    let free = map(&lime.clone().regression(Regression::Ridge, 0.0));
    assert!(norm(&map(&lime)) < norm(&free));
    let sparse = map(&lime.regression(Regression::Lasso, 0.5));
    assert!(sparse.data().contains(&0.0) && norm(&sparse) > 0.0);
}

/// A game whose players are the cells of a picture of ones.
fn game(x: &[f64]) -> f64 {
    let product = x.iter().take(4).product::<f64>();
    let sum: f64 = x
        .iter()
        .enumerate()
        .map(|(i, v)| (i as f64 - 2.5) * v)
        .sum();
    (sum * 0.7).tanh() + 2.0 * product + (x[1] * x[5] - x[2]).max(0.0)
}

/// Shapley values by their definition, over all subsets.
fn shapley(players: usize) -> Vec<f64> {
    let value = |set: usize| {
        let x: Vec<f64> = (0..players).map(|p| (set >> p & 1) as f64).collect();
        game(&x)
    };
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    let of = |player: usize| {
        let others = (0..1usize << players).filter(|set| set >> player & 1 == 0);
        let term = |set: usize| {
            let size = set.count_ones() as usize;
            let weight = factorial(size) * factorial(players - size - 1) / factorial(players);
            weight * (value(set | 1 << player) - value(set))
        };
        others.map(term).sum()
    };
    (0..players).map(of).collect()
}

#[test]
fn shapley_values_of_a_game() {
    let cells = Superpixels::Grid { cells: 3 };
    let model = |x: &[f64]| vec![game(x) as f32, -2.0 * game(x) as f32];
    for (dims, enough) in [([1, 2, 3], 62), ([1, 3, 3], 510)] {
        let players = dims[1] * dims[2];
        let image = Tensor::new(dims, vec![1.0; players]).unwrap();
        let expected = shapley(players);
        let exact = KernelShap::new().samples(enough).segments(cells);
        let maps = explain(&exact, &image, &model, 0).unwrap();
        assert_eq!(maps[0].evaluations.forwards, enough + 2);
        close(&maps[0].map, &expected, 1e-5);
        let twice: Vec<f64> = expected.iter().map(|v| -2.0 * v).collect();
        close(&maps[1].map, &twice, 1e-5);
        // Sampled, they add up all the same, and are right on average.
        const SEEDS: u64 = 60;
        let sampled = KernelShap::new().samples(enough / 2).segments(cells);
        let difference = game(&vec![1.0; players]) - game(&vec![0.0; players]);
        let maps: Vec<Vec<f64>> = (0..SEEDS)
            .map(|seed| {
                explain(&sampled, &image, &model, seed)
                    .unwrap()
                    .remove(0)
                    .map
            })
            .map(|map| map.data().iter().map(|v| f64::from(*v)).collect())
            .collect();
        for map in &maps {
            assert!((map.iter().sum::<f64>() - difference).abs() < 1e-5);
        }
        for (player, expected) in expected.iter().enumerate() {
            let mean = maps.iter().map(|m| m[player]).sum::<f64>() / SEEDS as f64;
            let square = |m: &Vec<f64>| (m[player] - mean).powi(2);
            let variance = maps.iter().map(square).sum::<f64>() / (SEEDS - 1) as f64;
            let error = (variance / SEEDS as f64).sqrt();
            assert!(
                (mean - expected).abs() < 4.5 * error,
                "{player}: {mean} {expected} {error}"
            );
            assert!(error < 0.05);
        }
    }
}

#[test]
fn too_few_coalitions_are_refused() {
    let image = picture([1, 10, 10]);
    let model = |x: &[f64]| vec![x[0] as f32, x[1] as f32];
    let method = KernelShap::new()
        .samples(8)
        .segments(Superpixels::Grid { cells: 10 });
    let error = explain(&method, &image, &model, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "kernel-shap: 8 samples do not determine the values of 100 parts: raise `samples`, or cut the picture into fewer parts"
    );
}

#[test]
fn a_picture_of_one_part_has_its_whole_score() {
    let image = picture([1, 1, 1]);
    let model = |x: &[f64]| vec![2.0 * x[0] as f32, x[0] as f32 + 1.0];
    let x = f64::from(image.data()[0]);
    for superpixels in [
        Superpixels::default(),
        Superpixels::Felzenszwalb { scale: 9.0 },
    ] {
        let maps = explain(&KernelShap::new().segments(superpixels), &image, &model, 0).unwrap();
        close(&maps[0].map, &[2.0 * x], 1e-6);
        let lime = Lime::new()
            .segments(superpixels)
            .regression(Regression::Ridge, 0.0);
        close(
            &explain(&lime, &image, &model, 0).unwrap()[1].map,
            &[x],
            1e-5,
        );
    }
    close(
        &explain(&Occlusion::new(), &image, &model, 0).unwrap()[0].map,
        &[2.0 * x],
        1e-6,
    );
    explain(&Rise::new().masks(10), &image, &model, 0).unwrap();
}

/// Attributes given numbers.
struct Given([Tensor; 2], Domain);

impl Explainer for Given {
    fn id(&self) -> &str {
        "given"
    }

    fn parameters(&self, _: &ModelInfo, _: &[usize]) -> Parameters {
        Parameters::from_iter([("of".to_owned(), "two".into())])
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        _: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let map = |map: &Tensor| Attribution {
            map: map.clone(),
            domain: self.1.clone(),
            standard_error: None,
            signed: true,
            completeness: None,
            evaluations: cx.evaluations(),
        };
        Ok(self.0.iter().map(map).collect())
    }
}

#[test]
fn xrai_over_any_base() {
    let image = picture([3, 40, 30]);
    let attributions = [normals(103, 3600), normals(104, 3600)]
        .map(|v| Tensor::new([3, 40, 30], v.iter().map(|v| *v as f32).collect()).unwrap());
    let model = |_: &[f64]| vec![0.0, 0.0];
    // Black is -1 and white 1.
    let seen = image.data().iter().map(|v| (v + 1.0) / 2.0).collect();
    let segments = xrai_segments(&Tensor::new([3, 40, 30], seen).unwrap()).unwrap();
    for growth in [Growth::Full { area: 0.6 }, Growth::Fast] {
        let method = Xrai::new()
            .base(Given(attributions.clone(), Domain::Input))
            .growth(growth);
        let maps = explain(&method, &image, &model, 0).unwrap();
        for (map, attribution) in maps.iter().zip(&attributions) {
            let largest: Vec<f32> = (0..1200)
                .map(|p| {
                    (0..3)
                        .map(|c| attribution.data()[c * 1200 + p])
                        .fold(f32::MIN, f32::max)
                })
                .collect();
            let expected = xrai_merge(&largest, &segments, growth, 50).unwrap();
            assert_eq!(map.map.data(), expected);
            let sum: f64 = largest.iter().map(|v| f64::from(*v)).sum();
            assert!((map.total() - sum).abs() < 1e-3 * sum.abs());
        }
        let shown = method.parameters(&Toy::new(3, &model).info, image.dims());
        assert_eq!(shown["base.of"], "two");
    }
    let layer = Given(attributions, Domain::Layer("l".into()));
    assert!(explain(&Xrai::new().base(layer), &image, &model, 0).is_err());
}

#[test]
fn parameters_that_exclude_each_other_are_refused() {
    let error = |id: &str, params: &[(&str, &str)]| match build(id, params, None) {
        Ok(_) => panic!("{id} {params:?}"),
        Err(error) => error.to_string(),
    };
    assert_eq!(
        error("occlusion", &[("stride", "16")]),
        "parameter `stride` of occlusion must be at most the window, 15, not `16`"
    );
    assert_eq!(
        error("lime", &[("segments", "grid"), ("scale", "3")]),
        "lime: `scale` is of other parts: it needs segments=felzenszwalb"
    );
    error("kernel-shap", &[("cells", "3"), ("scale", "3")]);
    error(
        "kernel-shap",
        &[("segments", "felzenszwalb"), ("cells", "3")],
    );
    error("xrai", &[("base", "grad-cam")]);
    error("xrai", &[("base", "xrai")]);
    error("xrai", &[("base", "blur-ig"), ("steps", "3")]);
    error("xrai", &[("algorithm", "fast"), ("area", "0.3")]);
    error("rise", &[("probability", "0")]);
    error("rise", &[("baseline", "pink")]);
    for (id, params) in [
        ("xrai", &[("base", "blur-ig")][..]),
        ("lime", &[("cells", "3")]),
        ("kernel-shap", &[("scale", "3")]),
        ("rise", &[("baseline", "black"), ("centred", "false")]),
        ("occlusion", &[("window", "1"), ("stride", "1")]),
    ] {
        assert_eq!(build(id, params, None).unwrap().id(), id);
    }
}
