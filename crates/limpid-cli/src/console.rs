//! What is printed: results on standard output, sentences for people on
//! standard error, and a progress bar there where work takes a while.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Standard output takes no more, so that no command can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputError {
    /// Its reader has closed it.
    Closed,
    /// The system refuses to write.
    Failed(String),
}

impl std::fmt::Display for OutputError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("standard output is closed"),
            Self::Failed(reason) => write!(f, "cannot write to standard output: {reason}"),
        }
    }
}

impl std::error::Error for OutputError {}

/// The program was called wrongly.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    Failed,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Good => 0,
            Outcome::Failed => 1,
        })
    }
}

/// The text on one line and without control characters: names of files and
/// labels come from anywhere, and a terminal obeys what it is sent.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(clean, "{}", c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// Writes text to standard output as it is.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => OutputError::Closed.into(),
            _ => OutputError::Failed(error.to_string()).into(),
        })
}

/// Prints a document as one line of JSON on standard output.
pub(crate) fn json(document: &impl Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string(document)?))
}

/// Tells people something on standard error.
pub(crate) fn say(text: &str) {
    // Where nobody listens, nobody is told.
    let line = format!("limpid: {}\n", clean(text));
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Columns of a table, each as wide as its widest cell; a column is ranged
/// right where `right` says so.
pub(crate) fn table(rows: &[Vec<String>], right: &[bool]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|r| r.iter().map(|cell| clean(cell)).collect())
        .collect();
    let width = |c: usize| {
        let cells = rows.iter().filter_map(|r| r.get(c));
        cells.map(|s| s.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (c, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[c] - cell.chars().count());
            let gap = if c == 0 { "" } else { "  " };
            if right.get(c) == Some(&true) {
                let _ = write!(line, "{gap}{pad}{cell}");
            } else {
                let _ = write!(line, "{gap}{cell}{pad}");
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Work that takes less than this needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar on standard error, which appears once the work has lasted a second,
/// and only on a terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    start: Instant,
    wanted: AtomicBool,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        if let Ok(style) =
            ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len}, {eta} left: {wide_msg}")
        {
            bar.set_style(style);
        }
        Self {
            bar,
            start: Instant::now(),
            wanted: AtomicBool::new(io::stderr().is_terminal()),
        }
    }

    /// What is worked on.
    pub(crate) fn label(&self, prefix: String, message: &str) {
        self.bar.set_prefix(prefix);
        self.bar.set_message(clean(message));
    }

    /// Tells people something beside the bar.
    pub(crate) fn note(&self, text: &str) {
        self.bar.suspend(|| say(text));
    }

    /// How far it is.
    pub(crate) fn set(&self, done: u64, total: u64) {
        if self.start.elapsed() >= PATIENCE && self.wanted.swap(false, Ordering::Relaxed) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }
}

/// What a run over many pictures tells.
pub(crate) struct Reporter {
    json: bool,
    failed: Cell<bool>,
    pub(crate) bar: Bar,
}

#[derive(Serialize)]
struct Failure<'a> {
    image: String,
    error: &'a str,
}

impl Reporter {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            failed: Cell::new(false),
            bar: Bar::new(),
        }
    }

    /// A result: a document with `--json`, else a text of one or more lines.
    pub(crate) fn result(
        &self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        self.bar.bar.suspend(|| match self.json {
            true => json(document),
            false => print(&text()),
        })
    }

    /// A picture that failed: with `--json` a document, else a sentence.
    pub(crate) fn failure(&self, image: &Path, error: &anyhow::Error) -> anyhow::Result<()> {
        if let Some(error) = error.downcast_ref::<OutputError>() {
            return Err(error.clone().into());
        }
        self.failed.set(true);
        let image = image.display().to_string();
        let error = error.to_string();
        self.bar.bar.suspend(|| {
            if self.json {
                return json(&Failure {
                    image,
                    error: &error,
                });
            }
            if error.contains(&image) {
                say(&error);
            } else {
                say(&format!("{image}: {error}"));
            }
            Ok(())
        })
    }

    /// Something to know that is no failure.
    pub(crate) fn note(&self, text: &str) {
        self.bar.note(text);
    }

    /// How the run has ended.
    pub(crate) fn finish(&self) -> Outcome {
        self.bar.bar.finish_and_clear();
        match self.failed.get() {
            true => Outcome::Failed,
            false => Outcome::Good,
        }
    }

    /// The end of a run that was interrupted.
    pub(crate) fn interrupted(&self, remark: &str) -> Outcome {
        self.bar.bar.finish_and_clear();
        say(&format!("interrupted{remark}"));
        Outcome::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[31m\nb"), "a\\u{1b}[31m\\nb");
        assert_eq!(clean("Käse 奶酪"), "Käse 奶酪");
    }

    #[test]
    fn tables_line_up() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let text = table(&[row("a", "10"), row("long", "7")], &[false, true]);
        assert_eq!(text, "a     10\nlong   7\n");
    }
}
