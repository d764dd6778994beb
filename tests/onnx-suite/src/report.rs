use crate::Unsupported;
use std::fmt;

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As the package has it, with a remark where there is something to tell.
    Passed(String),
    /// Not so, and what differs.
    Failed(String),
    /// It has operators or element types that are not read.
    NotClaimed(String),
    /// It is listed as not supported; the reason.
    Unsupported(String),
}

/// A case and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The case's name.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of all cases. Displays as a line for each, and a summary; the
/// alternate form (`{:#}`) as the failures and the summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The cases, in order.
    pub rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(mut rows: Vec<Row>, unsupported: &[Unsupported], complete: bool) -> Self {
        for entry in unsupported {
            for row in &mut rows {
                if entry.matches(&row.name).is_none() {
                    continue;
                }
                row.outcome = match &row.outcome {
                    Outcome::Passed(_) => Outcome::Failed(format!(
                        "is listed as not supported ({}) and passes; remove it from the list",
                        entry.reason
                    )),
                    Outcome::Failed(_) => Outcome::Unsupported(entry.reason.clone()),
                    other => other.clone(),
                };
            }
            for pattern in entry.cases.iter().filter(|_| complete) {
                let alone = Unsupported {
                    cases: vec![pattern.clone()],
                    reason: entry.reason.clone(),
                };
                let used = |r: &Row| {
                    matches!(r.outcome, Outcome::Unsupported(_) | Outcome::Failed(_))
                        && alone.matches(&r.name).is_some()
                };
                if !rows.iter().any(used) {
                    rows.push(Row {
                        name: pattern.clone(),
                        outcome: Outcome::Failed(
                            "is listed as not supported, and no case has this name".into(),
                        ),
                    });
                }
            }
        }
        Self { rows }
    }

    /// The cases that failed.
    #[must_use]
    pub fn failures(&self) -> Vec<&Row> {
        let failed = |r: &&Row| matches!(r.outcome, Outcome::Failed(_));
        self.rows.iter().filter(failed).collect()
    }

    /// How many cases passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        let passed = |r: &&Row| matches!(r.outcome, Outcome::Passed(_));
        self.rows.iter().filter(passed).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut unclaimed, mut unsupported) = (0, 0);
        for Row { name, outcome } in &self.rows {
            match outcome {
                Outcome::Failed(what) => writeln!(f, "FAILED         {name}: {what}")?,
                Outcome::Passed(_) if f.alternate() => {}
                Outcome::Passed(remark) if remark.is_empty() => {
                    writeln!(f, "passed         {name}")?;
                }
                Outcome::Passed(remark) => writeln!(f, "passed         {name}: {remark}")?,
                Outcome::NotClaimed(why) => {
                    unclaimed += 1;
                    if !f.alternate() {
                        writeln!(f, "not supported  {name}: {why}")?;
                    }
                }
                Outcome::Unsupported(why) => {
                    unsupported += 1;
                    if !f.alternate() {
                        writeln!(f, "not supported  {name}: {why}")?;
                    }
                }
            }
        }
        write!(
            f,
            "{} cases: {} passed, {} failed, {unsupported} listed as not supported, {unclaimed} of other operators or element types",
            self.rows.len(),
            self.passed(),
            self.failures().len(),
        )
    }
}
