//! The Python environment of the programs that Limpid is compared with.

use crate::cargo;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of the scripts.
pub(crate) fn scripts() -> PathBuf {
    cargo::root().join("benches/peers")
}

fn requirements() -> PathBuf {
    scripts().join("requirements.txt")
}

/// The interpreter of an environment of its own in `target`, made where it is
/// missing or its requirements have changed.
pub(crate) fn environment(target: &Path) -> Result<PathBuf> {
    let folder = target.join("peers-venv");
    let python = folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let wanted = fs::read(requirements())?;
    let stamp = folder.join("requirements.txt");
    if fs::read(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    println!("making {}", folder.display());
    let base = if cfg!(windows) { "python" } else { "python3" };
    succeed(Command::new(base).args(["-m", "venv"]).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--requirement"];
    succeed(Command::new(&python).args(pip).arg(requirements()))?;
    fs::write(stamp, wanted)?;
    Ok(python)
}

/// Runs a command to its end, without standard input.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    ensure!(status.success(), "{program} failed: {status}");
    Ok(())
}

/// A script of ours, with so many threads for what it computes.
pub(crate) fn script(python: &Path, name: &str, threads: usize) -> Command {
    let mut command = Command::new(python);
    command.arg(scripts().join(name));
    for variable in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
        command.env(variable, threads.to_string());
    }
    command
}

/// The versions of Python and of the packages that are required.
pub(crate) fn versions(python: &Path) -> Result<Value> {
    const PROGRAM: &str = "import json, platform, sys\n\
        from importlib.metadata import version\n\
        found = {n: version(n) for n in sys.argv[1:]}\n\
        print(json.dumps({'python': platform.python_version(), **found}))";
    let text = fs::read_to_string(requirements())?;
    let names = text
        .lines()
        .filter_map(|line| Some(line.split_once("==")?.0));
    let output = Command::new(python)
        .args(["-c", PROGRAM])
        .args(names)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", python.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} lacks what benches/peers/requirements.txt lists: {}",
        python.display(),
        said.lines().last().unwrap_or_default()
    );
    serde_json::from_slice(&output.stdout).context("Python wrote no valid JSON")
}
