//! Tensors that stay where the model runs: what an explainer computes with them
//! is what the session computes by itself.

mod common;

use common::{crop, embedded, relative_l2, with};
use limpid::{
    Attribution, Context, Domain, Evaluations, ExplainError, Explainer, Gradient, GradientMethod,
    Objective, Passes, Request, RunOptions, Session, SmoothGrad, Target, Tensor,
};
use limpid_explain::Noise;
use limpid_graph::ops::{Add, Gather, HeatKernel, ReduceMean, RunningMoments};
use limpid_graph::{Fact, Graph};
use std::sync::Mutex;

/// Runs a function on the context of an explanation.
struct Probe<F>(Mutex<Option<F>>);

impl<F> Explainer for Probe<F>
where
    F: FnOnce(&mut dyn Context, &Request<'_>) -> Result<(), ExplainError> + Send,
{
    fn id(&self) -> &str {
        "probe"
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let probe = self.0.lock().unwrap().take().unwrap();
        probe(cx, request)?;
        let map = Tensor::zeros(request.image.shape())?;
        Ok(vec![Attribution::new(
            map,
            Domain::Input,
            Evaluations::default(),
        )])
    }
}

fn probe<F>(session: &Session, work: F) -> Result<(), limpid::Error>
where
    F: FnOnce(&mut dyn Context, &Request<'_>) -> Result<(), ExplainError> + Send,
{
    let probe = Probe(Mutex::new(Some(work)));
    let options = RunOptions::default();
    session.explain_input(&crop("coffee"), &probe, &Target::Class(967), &options)?;
    Ok(())
}

/// The picture `[C, H, W]` as a batch of one.
fn batch_of_one(picture: &Tensor) -> Tensor {
    let shape = [&[1], picture.dims()].concat();
    picture.clone().reshape(shape).unwrap()
}

fn bits(data: &[f32]) -> Vec<u32> {
    data.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn passes_are_the_sessions() {
    let session = embedded();
    let input = crop("coffee");
    let layers = ["blocks.4", "", "blocks.5", "blocks.4"].map(str::to_owned);
    let names = [layers[0].clone(), layers[2].clone()];
    let objective = Objective::class(967);
    let expected = session
        .layer_gradients(&input, &names, std::slice::from_ref(&objective))
        .unwrap();
    let logits = session.logits(&input).unwrap();
    let options = RunOptions::default();
    let gradient = session
        .explain_input(&input, &Gradient::new(), &Target::Class(967), &options)
        .unwrap();
    probe(&session, |cx, request| {
        let picture = cx.upload(&batch_of_one(request.image))?;
        let before = cx.evaluations();
        let passed = cx.pass(&Passes {
            objective: Some(&objective),
            layers: &layers,
            ..Passes::of(&picture)
        })?;
        assert_eq!(cx.evaluations().since(before).gradients, 1);
        assert_eq!(bits(cx.download(&passed.logits)?.data()), bits(&logits));
        let places = [Some(0), None, Some(1), Some(0)];
        for (i, place) in places.into_iter().enumerate() {
            let activation = cx.download(&passed.activations[i])?;
            let own = cx.download(&passed.gradients[i])?;
            let (a, g) = match place {
                Some(place) => (&expected[place].activation, &expected[place].gradients[0]),
                None => (request.image, &gradient[0].attribution().map),
            };
            assert_eq!(bits(activation.data()), bits(a.data()), "{i}");
            // Those of several layers are taken by another plan than one's alone.
            let g: Vec<f64> = g.data().iter().map(|v| f64::from(*v)).collect();
            assert!(relative_l2(own.data(), &g) < 1e-5, "{i}");
        }
        let forward = cx.pass(&Passes::of(&picture))?;
        assert_eq!(bits(cx.download(&forward.logits)?.data()), bits(&logits));
        assert!(forward.gradients.is_empty());
        assert_eq!(cx.evaluations().forwards, 1);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_pass_does_not_depend_on_how_it_is_split() {
    let layers = [String::new(), "blocks.5".to_owned()];
    let objective = Objective::class(967);
    let found = Mutex::new(Vec::new());
    for batch in [1, 3, 8] {
        probe(&with(Some(batch), None, 2), |cx, request| {
            let picture = cx.upload(&batch_of_one(request.image))?;
            let noise = Noise {
                scale: 0.3,
                seed: 5,
            };
            let pictures = cx.noise(&picture, noise, 2..9)?;
            assert_eq!(pictures.dims(), [7, 3, 224, 224]);
            let passed = cx.pass(&Passes {
                objective: Some(&objective),
                layers: &layers,
                ..Passes::of(&pictures)
            })?;
            let mut all = bits(cx.download(&passed.logits)?.data());
            for tensor in passed.activations.iter().chain(&passed.gradients) {
                assert_eq!(tensor.dims()[0], 7);
                all.extend(bits(cx.download(tensor)?.data()));
            }
            found.lock().unwrap().push(all);
            Ok(())
        })
        .unwrap();
    }
    let found = found.into_inner().unwrap();
    assert!(found[0] == found[1] && found[0] == found[2]);
}

/// SmoothGrad, its variance too, out of noise, passes and a streaming mean.
#[test]
fn noise_and_moments_make_smoothgrad() {
    const DRAWS: u64 = 5;
    let session = embedded();
    let smooth = |reduce| {
        let method = Gradient::new().smoothed(SmoothGrad::new().samples(DRAWS).reduce(reduce));
        let options = RunOptions {
            seed: 3,
            ..RunOptions::default()
        };
        let maps = session.explain_input(&crop("coffee"), &method, &Target::Class(967), &options);
        let map = maps.unwrap()[0].attribution().map.clone();
        map.data().iter().map(|v| f64::from(*v)).collect::<Vec<_>>()
    };
    let (mean, variance) = (
        smooth(limpid::Reduce::Mean),
        smooth(limpid::Reduce::Variance),
    );
    probe(&session, |cx, request| {
        let extent = |v: f32, w: f32| (v.min(w), v.max(w));
        let data = request.image.data().iter();
        let (low, high) = data.fold((f32::MAX, f32::MIN), |(l, h), v| {
            (extent(l, *v).0, extent(h, *v).1)
        });
        let noise = Noise {
            scale: (0.15 * (f64::from(high) - f64::from(low))) as f32,
            seed: 3,
        };
        let picture = cx.upload(&batch_of_one(request.image))?;
        let zeros = cx.upload(&Tensor::zeros(picture.dims())?)?;
        let (mut means, mut deviations) = (zeros.clone(), zeros);
        for first in (0..DRAWS).step_by(2) {
            let draws = first..DRAWS.min(first + 2);
            let pictures = cx.noise(&picture, noise, draws)?;
            let passed = cx.pass(&Passes {
                objective: Some(&request.objectives[0]),
                layers: &[String::new()],
                ..Passes::of(&pictures)
            })?;
            let gradients = &passed.gradients[0];
            let count = cx.upload(&Tensor::new([1], vec![first as f32])?)?;
            let mut graph = Graph::new();
            let inputs = [
                graph.input("mean", Fact::f32(means.dims())),
                graph.input("deviations", Fact::f32(means.dims())),
                graph.input("count", Fact::f32([1])),
                graph.input("maps", Fact::f32(gradients.dims())),
            ];
            let outputs = graph.push("moments", RunningMoments {}, &inputs)?;
            graph.set_outputs(&outputs);
            let mut state = cx.compute(&graph, &[&means, &deviations, &count, gradients])?;
            deviations = state.remove(1);
            means = state.remove(0);
        }
        assert!(relative_l2(cx.download(&means)?.data(), &mean) < 1e-5);
        let mut found = cx.download(&deviations)?;
        found.data_mut().iter_mut().for_each(|v| *v /= DRAWS as f32);
        assert!(relative_l2(found.data(), &variance) < 1e-5);
        Ok(())
    })
    .unwrap();
}

#[test]
fn graphs_are_computed_where_tensors_lie() {
    probe(&embedded(), |cx, request| {
        // A blur at two scales, a reduction, an operator that is lowered, an
        // output that is an input, and one that is there twice.
        let picture = cx.upload(&batch_of_one(request.image))?;
        let sigmas = cx.upload(&Tensor::new([2], vec![0.0, 1e4])?)?;
        let mut graph = Graph::new();
        let x = graph.input("x", Fact::f32(picture.dims()));
        let sigma = graph.input("sigma", Fact::f32([2]));
        let blurred = graph.push("blurred", HeatKernel {}, &[x, sigma])?[0];
        let mean = graph.push("mean", ReduceMean { axes: vec![2, 3] }, &[blurred])?[0];
        let first = graph.push(
            "first",
            Gather {
                axis: 0,
                indices: vec![0],
            },
            &[blurred],
        )?[0];
        let sum = graph.push("sum", Add {}, &[first, x])?[0];
        graph.set_outputs(&[mean, first, sum, x, first]);
        let found = cx.compute(&graph, &[&picture, &sigmas])?;
        let own = |i: usize| found[i].clone();
        let [mean, first, sum, again] = [0, 1, 2, 3].map(|i| cx.download(&own(i)).unwrap());
        assert_eq!(found[4].dims(), found[1].dims());
        for (i, v) in request.image.data().iter().enumerate() {
            assert!((first.data()[i] - v).abs() < 1e-5);
            assert!((sum.data()[i] - 2.0 * v).abs() < 1e-5);
            assert_eq!(again.data()[i].to_bits(), v.to_bits());
        }
        // A blur keeps the mean; a wide one is the mean.
        for c in 0..3 {
            let [sharp, wide] = [mean.data()[c], mean.data()[3 + c]];
            assert!((sharp - wide).abs() < 1e-4, "{sharp} {wide}");
        }
        let strange = cx.compute(&graph, &[&sigmas, &picture]);
        assert!(strange.is_err());
        let limits = cx.limits();
        assert!(limits.batch > 0 && limits.threads > 0 && limits.bytes > 0);
        Ok(())
    })
    .unwrap();
}

#[test]
fn wrong_requests_are_refused() {
    let session = embedded();
    let kept = Mutex::new(None);
    probe(&session, |cx, request| {
        let flat = cx.upload(request.image)?;
        let error = cx.pass(&Passes::of(&flat)).unwrap_err().to_string();
        assert!(error.contains("[N,C,H,W]"), "{error}");
        let picture = cx.upload(&batch_of_one(request.image))?;
        let layers = ["blocks.99".to_owned()];
        let error = cx
            .pass(&Passes {
                layers: &layers,
                ..Passes::of(&picture)
            })
            .unwrap_err();
        assert!(error.to_string().contains("blocks.99"), "{error}");
        *kept.lock().unwrap() = Some(picture);
        Ok(())
    })
    .unwrap();
    // Tensors of a session that is over stay what they are.
    let kept = kept.into_inner().unwrap().unwrap();
    assert_eq!(kept.bytes(), 4 * 3 * 224 * 224);
    let error = kept.storage::<u8>().unwrap_err();
    assert!(matches!(error, ExplainError::Foreign));
}

#[test]
fn memory_bounds_a_pass() {
    let session = with(None, Some(60 << 20), 2);
    let error = probe(&session, |cx, request| {
        let picture = cx.upload(&batch_of_one(request.image))?;
        let noise = Noise {
            scale: 0.1,
            seed: 0,
        };
        let pictures = cx.noise(&picture, noise, 0..40)?;
        let layers = [
            "blocks.0".to_owned(),
            "blocks.1.0".to_owned(),
            String::new(),
        ];
        cx.pass(&Passes {
            objective: Some(&request.objectives[0]),
            layers: &layers,
            ..Passes::of(&pictures)
        })?;
        Ok(())
    })
    .unwrap_err();
    assert!(error.to_string().contains("--memory"), "{error}");
}
