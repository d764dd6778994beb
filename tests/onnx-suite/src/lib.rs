//! The operator tests that the `onnx` package generates, and its whole models,
//! run on Limpid.
//!
//! Every case is imported as a user's file would be, with inputs that an
//! exporter writes as constants bound to their data; what comes out is compared
//! with the package's expectation, within the package's tolerances, both on a
//! device and on the f64 reference interpreter. Input gradients of the device
//! are compared with those of the reference, and of whole models with PyTorch's.
//!
//! Doubles are rounded to the single precision that everything runs in.
//!
//! The archives are made by `tests/fixtures/onnx-suite/export.py`.
#![forbid(unsafe_code)]

mod archive;
mod check;
mod claims;
mod report;

pub use archive::{Archive, ArchiveError, Case, Value, Weight};
pub use check::check;
pub use claims::{CLAIMED, ListError, Unsupported, committed, is_bound, not_claimed, parse};
pub use report::{Outcome, Report, Row};

use limpid_device::Device;

/// Runs the cases of an archive whose name contains `filter`, all without one.
/// Cases that `unsupported` lists must not pass.
#[must_use]
pub fn run(
    device: &dyn Device,
    archive: &Archive,
    unsupported: &[Unsupported],
    filter: Option<&str>,
) -> Report {
    let wanted = |case: &&Case| filter.is_none_or(|f| case.name.contains(f));
    let rows = archive.cases.iter().filter(wanted).map(|case| {
        let outcome = match not_claimed(case) {
            Some(reason) => Outcome::NotClaimed(reason),
            None => match check(device, archive, case) {
                Ok(remark) => Outcome::Passed(remark),
                Err(what) => Outcome::Failed(what),
            },
        };
        Row {
            name: case.name.clone(),
            outcome,
        }
    });
    Report::new(rows.collect(), unsupported, filter.is_none())
}
