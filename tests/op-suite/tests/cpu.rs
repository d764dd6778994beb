//! The suite on the processor, for every instruction set that it has.

use limpid_cpu::{CpuDevice, CpuOptions, Isa, Precision};
use limpid_device::Device;
use limpid_op_suite::{
    Batched, KnownFailures, Mode, Options, Problem, batched_problems, bits, gradient_problems,
    guard, run, test_problems,
};

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

fn device(isa: Isa, threads: usize) -> CpuDevice {
    device_in(Precision::F32, isa, threads)
}

fn device_in(precision: Precision, isa: Isa, threads: usize) -> CpuDevice {
    CpuDevice::with(CpuOptions {
        threads: Some(threads),
        isa: Some(isa),
        precision,
    })
    .unwrap()
}

fn check(mode: Mode) {
    let options = Options {
        known: KnownFailures::committed().unwrap(),
        ..Options::default()
    };
    for isa in Isa::available() {
        for precision in PRECISIONS {
            let name = format!("{isa}, {}", precision.name());
            let report = run(&device_in(precision, isa, 2), mode, &options);
            assert!(report.is_success(), "{name}: {report}");
            assert!(report.unsupported().is_empty(), "{name}: {report}");
        }
    }
}

#[test]
fn operators_match_the_reference() {
    check(Mode::Test);
}

#[test]
fn gradients_match_the_reference() {
    check(Mode::Gradient);
}

#[test]
fn everything_is_supported() {
    check(Mode::Support);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let problems = [test_problems(), gradient_problems()].concat();
    let rounded: Vec<Problem> = problems.iter().map(Problem::rounded).collect();
    for isa in Isa::available() {
        for (precision, problems) in PRECISIONS.into_iter().zip([&problems, &rounded]) {
            let devices = [1, 2, 3, 7].map(|threads| device_in(precision, isa, threads));
            for problem in problems {
                let one = bits(&devices[0], problem);
                for (device, threads) in devices[1..].iter().zip([2, 3, 7]) {
                    assert!(
                        bits(device, problem) == one,
                        "{isa}, {}, {threads} threads: {}",
                        precision.name(),
                        problem.name
                    );
                }
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_batch() {
    let batches = batched_problems();
    let rounded: Vec<Batched> = batches.iter().map(Batched::rounded).collect();
    for isa in Isa::available() {
        for (precision, batches) in PRECISIONS.into_iter().zip([&batches, &rounded]) {
            let device = device_in(precision, isa, 2);
            for Batched { all, each } in batches {
                let alone = each.iter().flat_map(|p| bits(&device, p).remove(0));
                let name = format!("{isa}, {}: {}", precision.name(), all.name);
                assert!(bits(&device, all).remove(0).into_iter().eq(alone), "{name}");
            }
        }
    }
}

#[test]
fn guards_lie_around_results() {
    let device = device(Isa::Scalar, 1);
    let (mut before, mut behind, mut all) = (0, 0, 0);
    for problem in test_problems() {
        // Of several nodes, the second may have its results behind the first's.
        if problem.graph.nodes().len() > 1 {
            continue;
        }
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
        before * 10 > all * 9,
        "{before} of {all} have a guard before"
    );
    assert!(
        behind * 10 > all * 8,
        "{behind} of {all} have a guard behind"
    );
}
