use crate::{KnownFailure, Measurement, Mode};
use std::fmt;

/// What became of a case.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// As the reference has it.
    Passed,
    /// Not so, and what differs.
    Failed(String),
    /// The device says that it has no kernel, and why.
    Unsupported(String),
    /// It failed, which is known; the reason.
    KnownFailure(String),
    /// How fast it is.
    Measured(Measurement),
}

/// A case and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The case's name.
    pub case: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of all cases. Displays as a line for each that did not simply
/// pass, and a summary.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What was done.
    pub mode: Mode,
    /// The cases, in order.
    pub rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(
        mode: Mode,
        mut rows: Vec<Row>,
        known: &[KnownFailure],
        complete: bool,
    ) -> Self {
        for known in known {
            match rows.iter_mut().find(|r| r.case == known.case) {
                Some(row) => {
                    row.outcome = match &row.outcome {
                        Outcome::Failed(_) => Outcome::KnownFailure(known.reason.clone()),
                        Outcome::Unsupported(_) if mode == Mode::Support => {
                            Outcome::KnownFailure(known.reason.clone())
                        }
                        _ => Outcome::Failed(format!(
                            "is listed as a known failure ({}) and does not fail; remove it from the list",
                            known.reason
                        )),
                    };
                }
                None if complete => rows.push(Row {
                    case: known.case.clone(),
                    outcome: Outcome::Failed(
                        "is listed as a known failure and does not exist".into(),
                    ),
                }),
                None => {}
            }
        }
        Self { mode, rows }
    }

    /// The cases that failed and are not known to.
    #[must_use]
    pub fn failures(&self) -> Vec<&Row> {
        let failed = |r: &&Row| matches!(r.outcome, Outcome::Failed(_));
        self.rows.iter().filter(failed).collect()
    }

    /// The cases that the device has no kernel for.
    #[must_use]
    pub fn unsupported(&self) -> Vec<&Row> {
        let none = |r: &&Row| matches!(r.outcome, Outcome::Unsupported(_));
        self.rows.iter().filter(none).collect()
    }

    /// Whether there were cases and none failed unexpectedly. What a device
    /// says it does not support is no failure.
    #[must_use]
    pub fn is_success(&self) -> bool {
        !self.rows.is_empty() && self.failures().is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut known = 0;
        for Row { case, outcome } in &self.rows {
            match outcome {
                Outcome::Passed => {}
                Outcome::Failed(what) => writeln!(f, "FAILED       {case}: {what}")?,
                Outcome::Unsupported(why) => writeln!(f, "unsupported  {case}: {why}")?,
                Outcome::KnownFailure(why) => {
                    known += 1;
                    writeln!(f, "known        {case}: {why}")?;
                }
                Outcome::Measured(m) => writeln!(f, "{m}  {case}")?,
            }
        }
        write!(
            f,
            "{}: {} cases, {} failed, {known} known to fail, {} unsupported",
            self.mode,
            self.rows.len(),
            self.failures().len(),
            self.unsupported().len()
        )
    }
}
