//! `cargo xtask check`: everything that is verified without running the code.

use anyhow::Result;
use clap::Args;

use crate::cargo;
use crate::steps::Steps;

/// Format, licences and sources of dependencies, lints, documentation; the
/// cheapest first. All steps run, also after a failure.
#[derive(Args)]
pub(crate) struct Options {
    /// Fail, rather than skip, what needs a tool that is not installed
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut steps = Steps::new("check");
    steps.command("format", &mut cargo::command(["fmt", "--all", "--check"]));
    dependencies(&mut steps, options.strict);
    steps.command(
        "lints",
        &mut cargo::command([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    );
    // Libraries only: the program and the facade crate are both named `limpid`,
    // and their pages would overwrite each other.
    steps.command(
        "documentation",
        cargo::command(["doc", "--workspace", "--lib", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    );
    other_processor(&mut steps);
    Ok(steps.finish())
}

/// That the kernels of a processor unlike this machine's compile, where the
/// toolchain has a standard library for it.
fn other_processor(steps: &mut Steps) {
    let (name, target) = if cfg!(target_arch = "aarch64") {
        ("x86-64 kernels", "x86_64-unknown-linux-gnu")
    } else {
        ("NEON kernels", "aarch64-unknown-linux-gnu")
    };
    if cargo::has_target(target) {
        let package = ["check", "-p", "limpid-cpu", "--all-targets"];
        steps.command(name, cargo::command(package).args(["--target", target]));
    } else {
        let how = format!("the toolchain has no {target} (`rustup target add {target}`)");
        steps.skip(name, &how);
    }
}

/// Licences, bans and sources, as `deny.toml` states them.
fn dependencies(steps: &mut Steps, strict: bool) {
    const NAME: &str = "dependencies";
    const MISSING: &str = "cargo-deny is not installed (`cargo install cargo-deny --locked`)";
    if cargo::has("deny") {
        steps.command(
            NAME,
            &mut cargo::command([
                "deny",
                "check",
                "--hide-inclusion-graph",
                "licenses",
                "bans",
                "sources",
            ]),
        );
    } else if strict {
        steps.result(NAME, Err(MISSING.to_owned()));
    } else {
        steps.skip(NAME, MISSING);
    }
}
