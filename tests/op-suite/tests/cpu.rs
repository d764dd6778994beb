//! The suite on the processor, for every instruction set that it has.

use limpid_cpu::{CpuDevice, CpuOptions, Isa, Precision};
use limpid_device::Device;
use limpid_graph::case::{Case, Role};
use limpid_graph::passes::lower;
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph, Op};
use limpid_op_suite::{
    Check, KnownFailures, Mode, Options, Problem, gradient_problems, guard, run, test_problems,
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

fn bits(device: &CpuDevice, problem: &Problem) -> Vec<Vec<u32>> {
    let prepared = problem.prepare(device).unwrap();
    let outputs = problem.execute(device, &*prepared).unwrap();
    let bits = |o: &Vec<f32>| o.iter().map(|v| v.to_bits()).collect();
    outputs.iter().map(bits).collect()
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

/// The case on `count` of its images from `first` on, if images are all that
/// it is given and it treats each on its own.
fn images(case: &Case, first: usize, count: usize) -> Option<Problem> {
    let only = |(i, role)| (role == Role::Constant) == (i > 0);
    if !case.inputs.iter().map(|i| i.role).enumerate().all(only) {
        return None;
    }
    let whole = case.build().ok()?;
    let mut shape = whole.inputs[0].shape.to_vec();
    let image = whole.inputs[0].data.len() / shape[0];
    shape[0] = count;
    let mut graph = Graph::new();
    let mut ids = vec![graph.input("x", Fact::f32(&shape[..]))];
    for v in &whole.graph.nodes()[0].inputs[1..] {
        ids.push(graph.constant("constant", whole.graph.constant_of(*v)?));
    }
    let y = graph.push(&case.name, case.op.clone(), &ids).ok()?[0];
    graph.set_outputs(&[y]);
    let graph = lower(&graph).ok()?;
    let y = graph.outputs()[0];
    graph.producer(y)?;
    let batched = graph.fact(y).shape[0] == count && graph.fact(y).dtype == Fact::f32([]).dtype;
    let data = whole.inputs[0].data[first * image..][..count * image].to_vec();
    batched.then(|| Problem {
        name: case.name.clone(),
        graph: graph.into(),
        inputs: vec![RefTensor::new(shape, data)],
        checks: vec![Check::Exact],
    })
}

#[test]
fn results_do_not_depend_on_the_batch() {
    let all = |isa| PRECISIONS.map(|precision| (isa, precision));
    for (isa, precision) in Isa::available().into_iter().flat_map(all) {
        let device = device_in(precision, isa, 2);
        let images = |case: &Case, first: usize, count: usize| {
            let problem = images(case, first, count)?;
            Some(match precision {
                Precision::Bf16 => problem.rounded(),
                _ => problem,
            })
        };
        let mut checked = 0;
        for case in Op::cases() {
            let n = case.inputs[0].fact.shape.first().copied().unwrap_or(1);
            if n < 2 || images(&case, 0, 1).is_none() {
                continue;
            }
            let Some(batch) = images(&case, 0, n) else {
                continue;
            };
            // Not every operator treats its first axis as a batch.
            let exact = |p: &Problem| reference::run(&p.graph, &p.inputs).unwrap().remove(0).data;
            let each = (0..n).flat_map(|i| exact(&images(&case, i, 1).unwrap()));
            if !each.eq(exact(&batch)) {
                continue;
            }
            let alone = |i| bits(&device, &images(&case, i, 1).unwrap()).remove(0);
            let alone: Vec<u32> = (0..n).flat_map(alone).collect();
            let name = format!("{isa}, {}: {}", precision.name(), case.name);
            assert!(bits(&device, &batch)[0] == alone, "{name}");
            checked += 1;
        }
        assert!(checked > 20, "only {checked} cases have batches");
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
