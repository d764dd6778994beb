//! Programs that answer requests for samples, one line of JSON each.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A program that stays warm between samples.
pub(crate) struct Worker {
    name: &'static str,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts a program; what it says on standard error goes to `log`.
    pub(crate) fn start(name: &'static str, mut command: Command, log: &Path) -> Result<Self> {
        let said = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = child.stdout.take().context("no standard output")?;
        Ok(Self {
            name,
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    /// Seconds of a unit of work, or why there is no sample.
    pub(crate) fn ask(&mut self, request: &Value) -> Result<Result<f64, String>> {
        let name = self.name;
        writeln!(self.stdin, "{request}").with_context(|| format!("{name} reads no more"))?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(!line.is_empty(), "{name} ended; its log says why");
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("{name} answered with no JSON: {line}"))?;
        match (answer["seconds"].as_f64(), answer["error"].as_str()) {
            (Some(seconds), _) => Ok(Ok(seconds)),
            (None, Some(error)) => Ok(Err(error.to_owned())),
            (None, None) => anyhow::bail!("{name} answered {line}"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
