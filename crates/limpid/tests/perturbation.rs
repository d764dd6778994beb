//! Region and perturbation methods on the embedded model.

mod common;

use common::{crop, embedded, with};
use limpid::{
    Baseline, Domain, Error, ExplainError, Explainer, Input, IntegratedGradients, KernelShap, Lime,
    Occlusion, Progress, Rise, RunOptions, Session, Superpixels, Target, Tensor, Xrai,
};
use limpid_explain::regions::{Growth, xrai_merge, xrai_segments};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

fn maps(session: &Session, method: &dyn Explainer, target: &Target) -> Vec<Tensor> {
    let options = RunOptions {
        seed: 7,
        ..RunOptions::default()
    };
    let found = session
        .explain_input(&crop("cat"), method, target, &options)
        .unwrap();
    found
        .iter()
        .map(|map| {
            assert_eq!(map.attribution().domain, Domain::Pixels);
            map.attribution().map.clone()
        })
        .collect()
}

const GRID: Superpixels = Superpixels::Grid { cells: 3 };

#[test]
fn maps_do_not_depend_on_batch_or_threads() {
    let methods: [Box<dyn Explainer>; 5] = [
        Box::new(Occlusion::new().window(90).stride(70)),
        Box::new(Rise::new().masks(17)),
        Box::new(
            Lime::new()
                .samples(17)
                .segments(Superpixels::Felzenszwalb { scale: 200.0 }),
        ),
        Box::new(KernelShap::new().samples(17).segments(GRID)),
        Box::new(Xrai::new().steps(3)),
    ];
    let sessions = [
        with(None, None, 1),
        with(Some(1), None, 2),
        with(Some(5), None, 2),
    ];
    for method in &methods {
        let [expected, others @ ..] =
            [0, 1, 2].map(|i| maps(&sessions[i], &**method, &Target::Top(1)));
        assert_eq!(expected[0].dims(), [224, 224]);
        assert!(others.iter().all(|map| *map == expected), "{}", method.id());
    }
}

#[test]
fn targets_share_the_forward_passes() {
    let session = embedded();
    let method = KernelShap::new().samples(40).segments(GRID);
    let found = session
        .explain_input(
            &crop("cat"),
            &method,
            &Target::Top(3),
            &RunOptions::default(),
        )
        .unwrap();
    let alone = maps(&session, &method, &Target::Top(1));
    let hidden = limpid::render::encode_npy(&[3, 224, 224], &vec![0.0; 3 * 224 * 224]).unwrap();
    let hidden = Input::from_npy_bytes(&hidden, "hidden").unwrap();
    let [whole, hidden] = [crop("cat"), hidden].map(|input| session.logits(&input).unwrap());
    for (rank, map) in found.iter().enumerate() {
        let attribution = map.attribution();
        assert_eq!(attribution.evaluations.forwards, 42);
        assert_eq!(attribution.evaluations.gradients, 0);
        if rank == 0 {
            assert_eq!(attribution.map.dims(), alone[0].dims());
        }
        let class = map.class();
        let difference = f64::from(whole[class]) - f64::from(hidden[class]);
        assert!((attribution.total() - difference).abs() < 1e-3 * difference.abs().max(1.0));
    }
}

#[test]
fn xrai_merges_integrated_gradients_from_black_and_white() {
    let session = embedded();
    let found = maps(&session, &Xrai::new().steps(4), &Target::Top(1));
    let line = |baseline| {
        let method = IntegratedGradients::new().steps(4).baseline(baseline);
        session
            .explain_input(
                &crop("cat"),
                &method,
                &Target::Top(1),
                &RunOptions::default(),
            )
            .unwrap()[0]
            .attribution()
            .map
            .clone()
    };
    let (black, white) = (line(Baseline::Black), line(Baseline::White));
    let plane = 224 * 224;
    let mean = |i: usize| (f64::from(black.data()[i]) + f64::from(white.data()[i])) / 2.0;
    let largest = |p: usize| (0..3).map(|c| mean(c * plane + p)).fold(f64::MIN, f64::max);
    let attribution: Vec<f32> = (0..plane).map(|p| largest(p) as f32).collect();
    let segments = xrai_segments(crop("cat").tensor()).unwrap();
    let growth = Growth::Full { area: 1.0 };
    let expected = xrai_merge(&attribution, &segments, growth, 50).unwrap();
    let scale = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    // The input's normalisation is 0.5 and 0.5, so regions are found alike.
    let far = found[0]
        .data()
        .iter()
        .zip(&expected)
        .filter(|(a, b)| (*a - *b).abs() > 1e-5 * scale)
        .count();
    assert_eq!(far, 0);
}

#[test]
fn runs_report_and_can_be_cancelled() {
    let session = with(Some(4), None, 2);
    let seen: Mutex<Vec<Progress>> = Mutex::default();
    let cancel = AtomicBool::new(false);
    let report = |p: Progress| {
        seen.lock().unwrap().push(p);
        cancel.store(p.done >= 8, Ordering::Relaxed);
    };
    let options = RunOptions {
        progress: Some(&report),
        cancel: Some(&cancel),
        ..RunOptions::default()
    };
    let method = Rise::new().masks(1000);
    let result = session.explain_input(&crop("cat"), &method, &Target::Top(1), &options);
    assert!(matches!(
        result,
        Err(Error::Explain(ExplainError::Cancelled))
    ));
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.iter().map(|p| p.done).collect::<Vec<_>>(), [4, 8]);
    assert!(seen.iter().all(|p| p.total == 1000));
}
