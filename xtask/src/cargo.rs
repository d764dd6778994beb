//! Cargo as a child process: commands, the workspace's packages, installed
//! sub-commands.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Whether it has a library, and so possibly doc tests.
    pub(crate) has_library: bool,
}

/// The root folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// `cargo <arguments>` in the workspace's root, without standard input.
pub(crate) fn command<S: Into<OsString>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command
        .args(arguments.into_iter().map(Into::into))
        .current_dir(root())
        .stdin(Stdio::null());
    command
}

/// Whether the sub-command `cargo <name>` is installed.
pub(crate) fn has(name: &str) -> bool {
    command([name, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether the compiler has a standard library for `target`.
pub(crate) fn has_target(target: &str) -> bool {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(compiler)
        .args(["--print", "target-libdir", "--target", target])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    printed.is_ok_and(|printed| {
        let folder = String::from_utf8_lossy(&printed.stdout);
        printed.status.success() && Path::new(folder.trim()).is_dir()
    })
}

/// The packages of the workspace, as `cargo metadata` lists them.
pub(crate) fn packages() -> Result<Vec<Package>> {
    let metadata = metadata()?;
    let packages = metadata["packages"]
        .as_array()
        .context("`cargo metadata` lists no packages")?;
    packages.iter().map(package).collect()
}

/// The folder that cargo builds into.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let metadata = metadata()?;
    let folder = metadata["target_directory"]
        .as_str()
        .context("`cargo metadata` names no target directory")?;
    Ok(PathBuf::from(folder))
}

/// What `cargo metadata` says.
fn metadata() -> Result<Value> {
    let output = command(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start `cargo metadata`")?;
    ensure!(
        output.status.success(),
        "`cargo metadata` failed: see its message above"
    );
    serde_json::from_slice(&output.stdout).context("`cargo metadata` wrote no valid JSON")
}

fn package(value: &Value) -> Result<Package> {
    let name = value["name"]
        .as_str()
        .context("`cargo metadata` lists a package without a name")?;
    let targets = value["targets"]
        .as_array()
        .with_context(|| format!("`cargo metadata` lists no targets for package {name}"))?;
    let has_library = targets.iter().any(|target| target["doctest"] == true);
    Ok(Package {
        name: name.to_owned(),
        has_library,
    })
}
