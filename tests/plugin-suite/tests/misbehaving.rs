//! Plugins that break the interface's rules: the host says what happened, and
//! the next explanation is the one that it was before.

mod common;

use common::{bits, explain, method, session_of};
use limpid::{Error, ExplainError, Explanation, Input, RunOptions, Session, Target};
use limpid_plugin_host::Plugin;
use limpid_plugin_suite::built;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

fn plugin() -> Plugin {
    Plugin::load(&built("limpid-plugin-misbehaving"), None).unwrap()
}

fn good(plugin: &Plugin, session: &Session, input: &Input) -> Vec<Vec<u32>> {
    let good = method(plugin, "good").unwrap();
    bits(&explain(session, input, &*good).unwrap())
}

/// What the host says of a method, after `misbehaving: <id>: `.
const WORDS: &[(&str, &str)] = &[
    // Panics.
    (
        "panic-create",
        "panicked in `create`: on purpose, in create",
    ),
    ("panic-explain", "panicked: on purpose, in explain"),
    (
        "panic-visit",
        "panicked: in a callback: on purpose, in a visit",
    ),
    ("panic-vary", "panicked: in a callback: on purpose, in vary"),
    (
        "panic-planner",
        "panicked: in a callback: on purpose, in a planner",
    ),
    (
        "panic-path",
        "panicked: in a callback: on purpose, in a path",
    ),
    // Maps and answers.
    (
        "wrong-shape",
        "reported success with 0 of 2 maps; a map must be of shape [3, 20, 28], not [3, 20, 27]",
    ),
    (
        "wrong-rank",
        "reported success with 0 of 2 maps; a map must be of shape [3, 20, 28], not [60, 28]",
    ),
    ("rank-of-millions", "a shape of 1099511627776 extents"),
    (
        "huge-shape",
        "reported success with 0 of 2 maps; a map of shape [16384, 8192, 8192], expected [3, 20, 28]",
    ),
    (
        "null-map",
        "reported success with 0 of 2 maps; a map at null",
    ),
    (
        "nan-map",
        "reported success with 0 of 2 maps; a map that is not finite",
    ),
    ("too-few-maps", "reported success with 0 of 2 maps"),
    ("too-many-maps", "made 4 maps where 2 were asked for"),
    (
        "other-output",
        "reported success with 0 of 2 maps; a map of the method must be of shape [H,W], as it says itself, not [C,H,W]",
    ),
    (
        "unknown-status",
        "failed with status 77, which this version does not know, and no words",
    ),
    (
        "unknown-domain",
        "reported success with 0 of 2 maps; domain 9 is not known to this version",
    ),
    (
        "null-instance",
        "`create` reported success and made nothing",
    ),
    (
        "lying-cost",
        "claims 1000 gradients and 0 forward passes; it ran 0 and 0",
    ),
    (
        "false-cancel",
        "says that the run was cancelled, which it was not",
    ),
    ("error-words", "the moon is in the wrong house"),
    // Tensors.
    ("stale-tensor", "the job has no tensor "),
    ("released-twice", "the job has no tensor "),
    ("keeps-a-tensor", "failed with status FAILED, and no words"),
    ("kept-tensor", "the job has no tensor "),
    (
        "foreign-tensor",
        "the job has no tensor 3735928559: was it released?",
    ),
    (
        "wrong-length",
        "room for 4 numbers of a tensor [1, 3, 20, 28]",
    ),
    (
        "huge-tensor",
        "a shape [1125899906842624], of no elements or more than 2^40",
    ),
    (
        "large-tensor",
        "tensors of 1099511634496 bytes were asked for; a job may have 268435456 (--memory)",
    ),
    (
        "overflowing-tensor",
        "a shape [8589934592, 8589934592], of no elements or more than 2^40",
    ),
    (
        "hoard",
        "tensors of 268442176 bytes were asked for; a job may have 268435456 (--memory)",
    ),
    (
        "huge-noise",
        "tensors of 7397514231683648 bytes were asked for; a job may have 268435456 (--memory)",
    ),
    (
        "huge-graph",
        "tensors of 17593259989568 bytes were asked for; a job may have 268435456 (--memory)",
    ),
    ("graph-without-sense", "the graph is no sound JSON: EOF"),
    (
        "graph-of-unknown-operators",
        "the graph is no sound JSON: unknown variant `Conjure`",
    ),
    (
        "graph-of-other-inputs",
        "2 tensors for a graph of 1 inputs, and room for 1 of its 1 outputs",
    ),
    (
        "undeclared",
        "the method has not declared that it uses compute",
    ),
    // Requests.
    ("bad-objective", "class 1099511627776 of 5"),
    ("unknown-readout", "readout 5 is not known to this version"),
    (
        "unknown-rule",
        "the rule `wishful` is not known to this version",
    ),
    ("misaligned", "a shape at 0x"),
    (
        "busy",
        "a service that runs the model was called from a callback of another",
    ),
    ("failing-visit", "its callback failed with status FAILED"),
    (
        "bad-path-shape",
        "a path whose points have the shape [1, 3, 1, 1]",
    ),
    (
        "bad-path-controls",
        "a path whose controls are no positions, and have no function",
    ),
    (
        "huge-path-controls",
        "a path that makes 34359745088 bytes of each point",
    ),
    ("huge-path", "a path that makes 10995"),
    (
        "bad-path-build",
        "a path whose `build` failed with status FAILED",
    ),
    ("scalar-noise", "noise on a single number"),
    (
        "repeated-outputs",
        "tensors of 440408640 bytes were asked for; a job may have 268435456 (--memory)",
    ),
    ("late-plan", "failed with status WRONG_THREAD, and no words"),
    ("short-plan", "a point that is not finite or of no sum"),
    ("endless-plan", "a plan of 1114112 points at once"),
    (
        "huge-scores",
        "tensors of 9007199254747712 bytes were asked for; a job may have 268435456 (--memory)",
    ),
];

/// Methods that may go on, and what the host tells the user of them.
const NOTES: &[(&str, Option<&str>)] = &[
    ("good", None),
    ("panic-parameters", None),
    ("panic-destroy", None),
    (
        "leak",
        Some("plugin misbehaving: leak left 3 tensors unreleased; they were freed"),
    ),
    (
        "other-thread",
        Some(
            "plugin misbehaving: other-thread called services 9 times from a thread that does not run the job; they were refused",
        ),
    ),
];

/// Methods that have a test of their own.
const ALONE: &[&str] = &["wait-for-cancel", "passed-on-error", "wrong-pictures"];

/// Methods that are for a host that keeps plugins in another process.
const FATAL: &[&str] = &["abort", "segfault", "exit", "hang", "exhaust"];

#[test]
fn every_method_is_tried() {
    let mut known: Vec<&str> = WORDS.iter().map(|(id, _)| *id).collect();
    known.extend(NOTES.iter().map(|(id, _)| *id));
    known.extend(ALONE);
    known.extend(FATAL);
    known.sort_unstable();
    let mut found = plugin().method_ids();
    found.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn the_host_says_what_happened() {
    let plugin = plugin();
    let (session, input) = session_of("small");
    let before = good(&plugin, &session, &input);
    for (id, words) in WORDS {
        let done = method(&plugin, id).map_err(Error::from);
        let error = done.and_then(|m| explain(&session, &input, &*m));
        let error = error.err().unwrap_or_else(|| panic!("{id} succeeded"));
        let expected = format!("plugin misbehaving: {id}: {words}");
        assert!(error.to_string().starts_with(&expected), "{id}: {error}");
        let plugins = matches!(error, Error::Explain(ExplainError::Plugin { .. }));
        assert!(plugins, "{id}: {error:?}");
        assert_eq!(good(&plugin, &session, &input), before, "after {id}");
    }
}

fn noted(
    session: &Session,
    input: &Input,
    plugin: &Plugin,
    id: &str,
) -> (Vec<Explanation>, Vec<String>) {
    let notes = Mutex::new(Vec::new());
    let note = |text: &str| notes.lock().unwrap().push(text.to_owned());
    let options = RunOptions {
        note: Some(&note),
        ..RunOptions::default()
    };
    let method = method(plugin, id).unwrap();
    let found = session.explain_input(input, &*method, &Target::Top(2), &options);
    (found.unwrap(), notes.into_inner().unwrap())
}

#[test]
fn what_can_be_mended_is_noted() {
    let plugin = plugin();
    let (session, input) = session_of("small");
    let before = good(&plugin, &session, &input);
    for (id, expected) in NOTES {
        // Twice: what the first run left behind must not matter to the second.
        for _ in 0..2 {
            let (found, notes) = noted(&session, &input, &plugin, id);
            assert_eq!(found.len(), 2);
            assert_eq!(notes.first().map(String::as_str), *expected, "{id}");
            assert_eq!(good(&plugin, &session, &input), before, "after {id}");
        }
    }
}

#[test]
fn a_run_is_cancelled() {
    let plugin = plugin();
    let (session, input) = session_of("small");
    let before = good(&plugin, &session, &input);
    let cancel = AtomicBool::new(false);
    // The method reports progress before it begins to wait.
    let progress = |_| cancel.store(true, Ordering::Relaxed);
    let options = RunOptions {
        progress: Some(&progress),
        cancel: Some(&cancel),
        ..RunOptions::default()
    };
    let waiting = method(&plugin, "wait-for-cancel").unwrap();
    let error = session.explain_input(&input, &*waiting, &Target::Top(1), &options);
    let cancelled = matches!(error, Err(Error::Explain(ExplainError::Cancelled)));
    assert!(cancelled);
    assert_eq!(good(&plugin, &session, &input), before);
}

/// An error of the host's that a plugin passes on is what a built-in method
/// would have returned: the same type and the same words.
#[test]
fn errors_of_the_host_come_back() {
    let plugin = plugin();
    let (session, input) = session_of("small");
    let own = limpid::GradCam::new().layer("no.such.layer");
    let own = explain(&session, &input, &own).unwrap_err();
    let passed = method(&plugin, "passed-on-error").unwrap();
    let passed = explain(&session, &input, &*passed).unwrap_err();
    assert_eq!(passed.to_string(), own.to_string());
    assert_eq!(format!("{passed:?}"), format!("{own:?}"));
    let wrong = method(&plugin, "wrong-pictures").unwrap();
    let wrong = explain(&session, &input, &*wrong).unwrap_err();
    let shape = matches!(wrong, Error::Explain(ExplainError::Shape { .. }));
    assert!(shape, "{wrong:?}");
    let words = "pictures must be of shape [N,C,H,W], not [2, 3, 4]";
    assert_eq!(wrong.to_string(), words);
}
