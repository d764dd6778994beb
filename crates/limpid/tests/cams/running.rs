//! What a run costs, and what its result does not depend on.

use crate::{classes, explain, listed, map, maps, session_of, small};
use limpid::{Progress, RunOptions, ScoreCam, SessionOptions};
use std::sync::Mutex;

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
