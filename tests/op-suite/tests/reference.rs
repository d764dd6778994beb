//! The suite on a device that is right by construction, and on devices that
//! have one fault each, which it has to find.

use limpid_device::Device;
use limpid_graph::{Location, Op, Plan, Step};
use limpid_op_suite::{
    KnownFailures, Memory, Mode, Options, Outcome, Problem, ReferenceDevice, Report, guard, run,
    test_problems,
};

fn suite(device: &ReferenceDevice, mode: Mode, filter: &str) -> Report {
    let filter = (!filter.is_empty()).then(|| filter.to_owned());
    run(
        device,
        mode,
        &Options {
            filter,
            ..Options::default()
        },
    )
}

#[test]
fn the_reference_device_passes() {
    let device = ReferenceDevice::new();
    for mode in [Mode::Test, Mode::Gradient, Mode::Support] {
        let report = suite(&device, mode, "");
        assert!(report.is_success(), "{report}");
        assert!(report.unsupported().is_empty());
        assert!(report.rows.len() > 90, "{report}");
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<String> = test_problems().into_iter().map(|p| p.name).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn guards_lie_around_the_results() {
    let device = ReferenceDevice::new();
    let (mut before, mut behind, mut all) = (0, 0, 0);
    // What several nodes make lies where there is room.
    let alone = |p: &Problem| p.graph.nodes().len() == 1;
    for problem in test_problems().into_iter().filter(alone) {
        if let Some(guarded) = guard::guarded(&problem).unwrap() {
            let plan = device.plan(guarded.problem.graph.clone()).unwrap();
            let found = guard::layout(&plan, &guarded);
            all += 1;
            before += usize::from(found.0);
            behind += usize::from(found.1);
        }
    }
    assert!(all > 100);
    assert!(
        before * 20 > all * 19,
        "{before} of {all} have a guard before"
    );
    // Behind a stored mask lies what it is read into, and results of one
    // element lie behind both guards.
    assert!(
        behind * 20 > all * 17,
        "{behind} of {all} have a guard behind"
    );
}

/// A device that does `fault` after each step of the operator `op`.
fn faulty(
    op: &'static str,
    fault: impl Fn(&Plan, &Step<'_>, &mut Memory) + Send + Sync + 'static,
) -> ReferenceDevice {
    ReferenceDevice::with_hook(move |plan, step, memory| {
        if step.node.op.name() == op {
            fault(plan, step, memory);
        }
    })
}

/// Changes the operator's first result.
fn on_result(
    op: &'static str,
    fault: impl Fn(&mut [u32]) + Send + Sync + 'static,
) -> ReferenceDevice {
    faulty(op, move |plan, step, memory| {
        if let Some(words) = memory.words(plan, step.node.outputs[0]) {
            fault(words);
        }
    })
}

fn assert_found(device: &ReferenceDevice, mode: Mode, filter: &str, what: &str) {
    let report = suite(device, mode, filter);
    let failures = report.failures();
    assert!(!failures.is_empty(), "not found: {report}");
    for row in &failures {
        let Outcome::Failed(said) = &row.outcome else {
            continue;
        };
        if said.contains(what) {
            return;
        }
    }
    panic!("found for another reason than `{what}`: {report}");
}

#[test]
fn shifted_lanes_are_found() {
    let device = on_result("Conv", |words| words.rotate_left(1));
    let report = suite(&device, Mode::Test, "conv [");
    // The three forms of one case have a single output, hence no lanes to shift.
    assert_eq!(report.failures().len() + 3, report.rows.len(), "{report}");
    assert_found(&device, Mode::Gradient, "network", "instead of");
}

#[test]
fn an_element_that_is_left_out_is_found() {
    // The last element of a row that is no multiple of a vector.
    let device = on_result("Add", |words| {
        if let Some(last) = words.last_mut() {
            *last = f32::NAN.to_bits();
        }
    });
    assert_found(&device, Mode::Test, "add ", "is NaN instead of");
}

/// Writes one word at `offset` words from the start or the end of the result,
/// if that is still in the arena.
fn stray(at_end: bool) -> ReferenceDevice {
    faulty("Gemm", move |plan, step, memory| {
        if let Location::Arena(bytes) = plan.location(step.node.outputs[0]) {
            let at = if at_end {
                Some(bytes.end / 4)
            } else {
                (bytes.start / 4).checked_sub(1)
            };
            if let Some(word) = at.and_then(|at| memory.arena.get_mut(at)) {
                *word = 7.0f32.to_bits();
            }
        }
    })
}

#[test]
fn a_write_behind_the_result_is_found() {
    assert_found(
        &stray(true),
        Mode::Test,
        "gemm [7, 31] by 17",
        "writes into the arena",
    );
}

#[test]
fn a_write_before_the_result_is_found() {
    assert_found(
        &stray(false),
        Mode::Test,
        "gemm [7, 31] by 17",
        "writes into the arena",
    );
}

#[test]
fn a_mask_that_is_set_at_the_bound_is_found() {
    // x >= 0 for x > 0: wrong at 0 alone.
    let device = ReferenceDevice::with_hook(|plan, step, memory| {
        if let Op::RangeMask(mask) = &step.node.op
            && mask.clip.max.is_none()
            && step.node.name == "range mask at the bounds"
        {
            let x = match plan.location(step.node.inputs[0]) {
                // Whole numbers from -1 to 1: the hook cannot see bound inputs,
                // and repeats the drawing.
                Location::Input(_) => {
                    let case = Op::cases().into_iter().find(|c| c.name == step.node.name);
                    case.map(|c| c.draw(0).data).unwrap_or_default()
                }
                _ => return,
            };
            let words = memory.words(plan, step.node.outputs[0]);
            for (word, x) in words.into_iter().flatten().zip(x) {
                *word = u32::from(x >= 0.0);
            }
        }
    });
    assert_found(
        &device,
        Mode::Test,
        "range mask at the bounds",
        "1 instead of 0, exactly",
    );
}

#[test]
fn a_stored_mask_with_one_wrong_bit_is_found() {
    let device = faulty("Conv", |plan, step, memory| {
        if let Some(mask) = step.node.outputs.get(1)
            && let Some(words) = memory.words(plan, *mask)
        {
            words[0] ^= 1;
        }
    });
    let report = suite(&device, Mode::Test, "clip and mask");
    let failed = report.failures().len();
    assert_eq!(failed, 8, "convolutions have eight such cases: {report}");
}

#[test]
fn rounding_to_bf16_is_found() {
    for op in [
        "Conv",
        "Gemm",
        "HeatKernel",
        "Softplus",
        "GlobalAveragePool",
    ] {
        let device = on_result(op, |words| {
            for word in words {
                *word &= 0xFFFF_0000;
            }
        });
        assert_found(&device, Mode::Test, "", "is allowed");
    }
}

#[test]
fn a_gradient_that_misses_a_branch_is_found() {
    // The sum in an epilogue is left out where it is a gradient's.
    let device = ReferenceDevice::with_hook(|plan, step, memory| {
        if let Op::ConvTranspose(op) = &step.node.op
            && op.epilogue.add
            && let Some(words) = memory.words(plan, step.node.outputs[0])
        {
            words.fill(0);
        }
    });
    let report = suite(&device, Mode::Gradient, "network");
    assert!(report.failures().len() >= 2, "{report}");
}

#[test]
fn results_that_differ_between_runs_are_found() {
    let runs = std::sync::atomic::AtomicU32::new(0);
    let device = on_result("Mul", move |words| {
        let run = runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        words[0] = words[0].wrapping_add(run % 2);
    });
    assert_found(
        &device,
        Mode::Test,
        "mul same",
        "a second run gives other bits",
    );
}

#[test]
fn known_failures_are_excused_and_must_fail() {
    let list = |case: &str, reason: &str| {
        let text = format!(
            "[[failure]]\ndevice = 'cpu'\nisa = 'f64'\nmode = 'test'\ncase = '{case}'\nreason = '{reason}'"
        );
        KnownFailures::parse(&text)
    };
    let with = |device: &ReferenceDevice, case: &str| {
        let known = list(case, "a lane is wrong").unwrap();
        let filter = Some("add same".into());
        run(
            device,
            Mode::Test,
            &Options {
                filter,
                known,
                ..Options::default()
            },
        )
    };
    let broken = || on_result("Add", |words| words[0] ^= 1 << 22);
    assert!(!suite(&broken(), Mode::Test, "add same").is_success());
    assert!(with(&broken(), "add same").is_success());
    let fixed = with(&ReferenceDevice::new(), "add same");
    assert!(
        fixed.to_string().contains("does not fail; remove it"),
        "{fixed}"
    );
    assert!(!fixed.is_success());
    assert!(list("add same", " ").is_err(), "a reason is required");

    let known = list("no such case", "gone").unwrap();
    let stale = run(&ReferenceDevice::new(), Mode::Support, &Options::default());
    assert!(stale.is_success());
    let stale = run(
        &ReferenceDevice::new(),
        Mode::Test,
        &Options {
            known,
            ..Options::default()
        },
    );
    assert!(
        !stale.is_success(),
        "an entry for a case that does not exist"
    );
    assert!(KnownFailures::committed().is_ok());
}
