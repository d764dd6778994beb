//! The suite of operator tests that every device passes.
//!
//! [`run`] takes a device through the cases of every operator, some further
//! problems and some networks, and holds it to the f64 reference interpreter,
//! which is fed the same inputs: f32, or rounded to bf16 where the device
//! multiplies that. What is compared, and how closely, is
//! said at [`Check`]; how writes out of bounds are found, in [`guard`].
//!
//! ```
//! use limpid_op_suite::{Mode, Options, ReferenceDevice, run};
//! let device = ReferenceDevice::new();
//! let options = Options { filter: Some("clip".into()), ..Options::default() };
//! let report = run(&device, Mode::Test, &options);
//! assert!(report.is_success(), "{report}");
//! ```
#![forbid(unsafe_code)]

mod batch;
mod compare;
pub mod guard;
mod known;
mod network;
mod perf;
mod problem;
mod reference_device;
mod report;
mod rounded;

pub use batch::{Batched, batched_problems, bits};
pub use compare::{Check, Tolerance};
pub use known::{KnownFailure, KnownFailures, KnownFailuresError};
pub use perf::Measurement;
pub use problem::{Problem, gradient_problems, test_problems};
pub use reference_device::{Memory, ReferenceDevice};
pub use report::{Outcome, Report, Row};

use limpid_device::Device;
use std::fmt;
use std::time::Duration;

/// What the suite does with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Compares every case with the reference.
    Test,
    /// Compares every gradient with the reference, of operators and of fused networks.
    Gradient,
    /// Asks which cases the device has kernels for, and whether it means it.
    Support,
    /// Measures every case.
    Perf,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Test => "test",
            Self::Gradient => "gradient",
            Self::Support => "support",
            Self::Perf => "perf",
        })
    }
}

/// How the suite runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only cases whose name contains this.
    pub filter: Option<String>,
    /// What the device is known to fail.
    pub known: KnownFailures,
    /// How long each case is measured in [`Mode::Perf`].
    pub measure_for: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            filter: None,
            known: KnownFailures::default(),
            measure_for: Duration::from_millis(100),
        }
    }
}

/// Runs the suite on a device.
#[must_use]
pub fn run(device: &dyn Device, mode: Mode, options: &Options) -> Report {
    let mut problems = match mode {
        Mode::Test | Mode::Support => test_problems(),
        Mode::Gradient => gradient_problems(),
        Mode::Perf => perf::problems(),
    };
    if matches!(&*device.capabilities().precision, "bf16" | "f16") {
        problems = problems.iter().map(Problem::rounded).collect();
    }
    if let Some(filter) = &options.filter {
        problems.retain(|p| p.name.contains(filter.as_str()));
    }
    let rows = problems
        .into_iter()
        .map(|problem| Row {
            outcome: outcome(device, mode, options, &problem),
            case: problem.name,
        })
        .collect();
    let known = options.known.of(device.capabilities(), mode);
    Report::new(mode, rows, &known, options.filter.is_none())
}

fn outcome(device: &dyn Device, mode: Mode, options: &Options, problem: &Problem) -> Outcome {
    let supported = problem.supported(device);
    let prepared = match (supported, problem.prepare(device)) {
        (Err(_), Ok(_)) => {
            return Outcome::Failed("is said to be unsupported but can be prepared".into());
        }
        (Err(reason), Err(_)) => return Outcome::Unsupported(reason.to_string()),
        (Ok(()), Err(e)) => {
            return Outcome::Failed(format!("is said to be supported but fails: {e}"));
        }
        (Ok(()), Ok(prepared)) => prepared,
    };
    let result = match mode {
        Mode::Support => Ok(Outcome::Passed),
        Mode::Perf => {
            perf::measure(device, problem, &*prepared, options.measure_for).map(Outcome::Measured)
        }
        Mode::Test | Mode::Gradient => problem.check(device, &*prepared).and_then(|plain| {
            guard::check(device, problem, &plain)?;
            Ok(Outcome::Passed)
        }),
    };
    result.unwrap_or_else(Outcome::Failed)
}
