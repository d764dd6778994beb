//! The whole suite on the processor.

use limpid_cpu::CpuDevice;
use limpid_onnx_suite::{Archive, CLAIMED, Outcome, committed, run};

#[test]
fn every_operator_that_is_claimed_is_read() {
    for op in CLAIMED {
        let read = limpid_model::onnx::operators().any(|known| known == *op);
        assert!(read, "{op} is claimed and not read");
    }
}

#[test]
fn operator_tests_pass() {
    let archive = Archive::node().unwrap();
    let report = run(
        &CpuDevice::new().unwrap(),
        &archive,
        &committed().unwrap(),
        None,
    );
    assert!(report.failures().is_empty(), "{report:#}");
    assert!(report.passed() > 700, "{report:#}");
    // Each operator is held to at least one case.
    for op in CLAIMED {
        let passed = |name: &str| {
            let row = report.rows.iter().find(|r| r.name == name);
            row.is_some_and(|r| matches!(r.outcome, Outcome::Passed(_)))
        };
        let mut cases = archive.cases.iter();
        let tested = cases.any(|c| c.operators.iter().any(|o| o == op) && passed(&c.name));
        assert!(tested, "no case with {op} passes");
    }
}

#[test]
fn whole_models_pass() {
    let archive = Archive::light().unwrap();
    let report = run(&CpuDevice::new().unwrap(), &archive, &[], None);
    assert!(report.failures().is_empty(), "{report:#}");
    assert_eq!(report.passed(), 15);
}
