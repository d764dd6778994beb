//! `cargo xtask dist`: the release build of the program, and what it must keep
//! to.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::cargo;
use crate::steps::Steps;

/// Size that the program, with the embedded model, must stay under, in bytes.
const MAXIMUM_SIZE: u64 = 40_000_000;

/// Build the program for release, check its size and start it.
#[derive(Args)]
pub(crate) struct Options {}

pub(crate) fn run(_options: &Options) -> Result<bool> {
    let mut steps = Steps::new("dist");
    let program = build()?;
    let size = program
        .metadata()
        .with_context(|| format!("cannot read {}", program.display()))?
        .len();
    println!("{} {size} bytes", program.display());
    steps.result("size", check_size(size));
    steps.result("version", check_version(&program));
    Ok(steps.finish())
}

/// Builds `limpid` and returns the path that cargo reports for it.
pub(crate) fn build() -> Result<PathBuf> {
    let output = cargo::command([
        "build",
        "--release",
        "--package",
        "limpid-cli",
        "--message-format",
        "json-render-diagnostics",
    ])
    .stderr(Stdio::inherit())
    .output()
    .context("cannot start `cargo build`")?;
    ensure!(
        output.status.success(),
        "the release build failed: see cargo's messages above"
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|message| message["target"]["name"] == "limpid" && message["executable"].is_string())
        .and_then(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo built no program named `limpid`")
}

fn check_size(size: u64) -> Result<(), String> {
    if size < MAXIMUM_SIZE {
        Ok(())
    } else {
        Err(format!(
            "the program has {size} bytes, and must stay under {MAXIMUM_SIZE}"
        ))
    }
}

/// The program must start and name the workspace's version.
fn check_version(program: &Path) -> Result<(), String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = concat!("limpid ", env!("CARGO_PKG_VERSION"));
    if output.status.success() && said.trim() == expected {
        println!("{expected}");
        Ok(())
    } else {
        Err(format!(
            "`limpid --version` must print {expected:?} and succeed; it printed {:?} ({})",
            said.trim(),
            output.status
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_bounded() {
        assert!(check_size(MAXIMUM_SIZE - 1).is_ok());
        assert!(check_size(MAXIMUM_SIZE).is_err());
    }
}
