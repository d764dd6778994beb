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
    for other in OTHERS {
        other.check(&mut steps);
    }
    Ok(steps.finish())
}

/// What must compile for a system or processor that need not be this one.
struct Other {
    name: &'static str,
    target: &'static str,
    /// The packages, and which of their targets.
    options: &'static [&'static str],
}

const PROGRAM: &[&str] = &[
    "-p",
    "limpid-cli",
    "-p",
    "limpid-plugin",
    "-p",
    "limpid-plugin-host",
];

const OTHERS: [Other; 5] = [
    Other {
        name: "NEON kernels",
        target: "aarch64-unknown-linux-gnu",
        options: &["-p", "limpid-cpu", "--all-targets"],
    },
    Other {
        name: "x86-64 kernels",
        target: "x86_64-unknown-linux-gnu",
        options: &["-p", "limpid-cpu", "--all-targets"],
    },
    Other {
        name: "kernels of graphics adapters in a browser",
        target: "wasm32-unknown-unknown",
        options: &["-p", "limpid-wgpu"],
    },
    Other {
        name: "program and plugins on Windows",
        target: "x86_64-pc-windows-gnu",
        options: PROGRAM,
    },
    Other {
        name: "program and plugins on macOS",
        target: "aarch64-apple-darwin",
        options: PROGRAM,
    },
];

impl Other {
    /// That it compiles, where the toolchain has a standard library for the
    /// target. What is this machine's own was compiled already.
    fn check(&self, steps: &mut Steps) {
        let Self {
            name,
            target,
            options,
        } = *self;
        let own = format!(
            "{}-unknown-{}-gnu",
            std::env::consts::ARCH,
            std::env::consts::OS
        );
        if own == target {
            return;
        }
        if cargo::has_target(target) {
            let check = ["check", "--target", target];
            steps.command(name, cargo::command(check).args(options));
        } else {
            let how = format!("the toolchain has no {target} (`rustup target add {target}`)");
            steps.skip(name, &how);
        }
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
