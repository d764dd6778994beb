//! `cargo xtask test`: all tests of the workspace.

use std::ffi::OsString;

use anyhow::{Result, bail};
use clap::Args;

use crate::cargo::{self, Package};
use crate::steps::Steps;

/// Unit, integration and documentation tests of the whole workspace, or of the
/// named packages. Uses cargo-nextest where it is installed, else `cargo test`.
#[derive(Args)]
pub(crate) struct Options {
    /// Test this package only (may be given several times)
    #[arg(short, long = "package", value_name = "NAME")]
    packages: Vec<String>,

    /// Test the release build
    #[arg(short, long)]
    release: bool,

    /// Run only the tests whose names contain one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,

    /// Further options for the runner of unit and integration tests
    #[arg(last = true, value_name = "RUNNER OPTIONS")]
    runner_options: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let members = cargo::packages()?;
    let chosen = choose(&members, &options.packages)?;
    let mut steps = Steps::new("test");

    if cargo::has("nextest") {
        steps.command(
            "unit and integration tests",
            &mut cargo::command(nextest(options)),
        );
    } else {
        println!("cargo-nextest is not installed: `cargo test` runs the tests instead");
        steps.command(
            "unit and integration tests",
            &mut cargo::command(cargo_test(options)),
        );
    }

    for (isa, present) in instruction_sets() {
        if !present {
            let reason = "this processor has no such instructions";
            steps.skip(&format!("kernels for {isa}"), reason);
        }
    }

    if chosen.iter().any(|package| package.has_library) {
        steps.command(
            "documentation tests",
            &mut cargo::command(documentation(options, &chosen)),
        );
    } else {
        steps.skip(
            "documentation tests",
            "no library among the chosen packages",
        );
    }
    Ok(steps.finish())
}

/// The instruction sets that there are kernels for, and whether this processor
/// has them; the tests run on those that it has.
fn instruction_sets() -> [(&'static str, bool); 3] {
    #[cfg(target_arch = "x86_64")]
    let [avx512, avx2] = [
        is_x86_feature_detected!("avx512f"),
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let [avx512, avx2] = [false, false];
    let neon = cfg!(target_arch = "aarch64");
    [("AVX-512", avx512), ("AVX2", avx2), ("NEON", neon)]
}

/// The packages with the given names, or all of them if no name is given.
fn choose<'a>(members: &'a [Package], names: &[String]) -> Result<Vec<&'a Package>> {
    if names.is_empty() {
        return Ok(members.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let found = members.iter().find(|package| package.name == *name);
            match found {
                Some(package) => Ok(package),
                None => {
                    let known: Vec<&str> = members.iter().map(|p| p.name.as_str()).collect();
                    bail!(
                        "no package is named {name:?}; the workspace has {}",
                        known.join(", ")
                    )
                }
            }
        })
        .collect()
}

/// Arguments of `cargo nextest run`.
fn nextest(options: &Options) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["nextest".into(), "run".into()];
    arguments.extend(scope(options));
    if !(options.filters.is_empty() && options.packages.is_empty()) {
        // What is asked for may be documentation tests only.
        arguments.push("--no-tests=warn".into());
    }
    arguments.extend(options.runner_options.iter().cloned());
    arguments.extend(options.filters.iter().map(OsString::from));
    arguments
}

/// Arguments of `cargo test` for all that is no documentation test.
fn cargo_test(options: &Options) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["test".into()];
    arguments.extend(scope(options));
    // `--tests` means libraries and programs too; `--all-targets` would add benches.
    arguments.extend(["--tests", "--examples", "--no-fail-fast"].map(Into::into));
    arguments.extend(options.runner_options.iter().cloned());
    arguments.push("--".into());
    arguments.extend(options.filters.iter().map(OsString::from));
    arguments
}

/// Arguments of `cargo test --doc`, which refuses packages without a library
/// when they are named.
fn documentation(options: &Options, chosen: &[&Package]) -> Vec<OsString> {
    let libraries = chosen.iter().filter(|package| package.has_library);
    let names = libraries.map(|package| package.name.as_str());
    let mut arguments: Vec<OsString> = vec!["test".into(), "--doc".into()];
    if options.packages.is_empty() {
        arguments.extend(select([], options.release));
    } else {
        arguments.extend(select(names, options.release));
    }
    arguments.extend(["--no-fail-fast".into(), "--".into()]);
    arguments.extend(options.filters.iter().map(OsString::from));
    arguments
}

/// Which packages, in which profile.
fn scope(options: &Options) -> Vec<OsString> {
    select(options.packages.iter().map(String::as_str), options.release)
}

/// Cargo's options for the named packages, or for the workspace if there is no
/// name: naming each member would build dependencies again, with other features.
fn select<'a>(names: impl IntoIterator<Item = &'a str>, release: bool) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    for name in names {
        arguments.extend(["--package".into(), OsString::from(name)]);
    }
    if arguments.is_empty() {
        arguments.push("--workspace".into());
    }
    if release {
        arguments.push("--release".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(packages: &[&str], filters: &[&str]) -> Options {
        Options {
            packages: packages.iter().map(ToString::to_string).collect(),
            release: true,
            filters: filters.iter().map(ToString::to_string).collect(),
            runner_options: vec!["--no-capture".into()],
        }
    }

    fn package(name: &str, has_library: bool) -> Package {
        Package {
            name: name.to_owned(),
            has_library,
        }
    }

    fn line(arguments: &[OsString]) -> String {
        let words: Vec<_> = arguments.iter().map(|a| a.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn arguments_for_the_workspace() {
        let options = options(&[], &[]);
        assert_eq!(
            line(&nextest(&options)),
            "nextest run --workspace --release --no-capture"
        );
        assert_eq!(
            line(&cargo_test(&options)),
            "test --workspace --release --tests --examples --no-fail-fast --no-capture --"
        );
    }

    #[test]
    fn arguments_for_packages_and_filters() {
        let options = options(&["a", "b"], &["conv", "pool"]);
        assert_eq!(
            line(&nextest(&options)),
            "nextest run --package a --package b --release --no-tests=warn --no-capture conv pool"
        );
        let (a, b) = (package("a", true), package("b", false));
        assert_eq!(
            line(&documentation(&options, &[&a, &b])),
            "test --doc --package a --release --no-fail-fast -- conv pool"
        );
    }

    #[test]
    fn an_unknown_package_is_named() {
        let members = [package("limpid-graph", true)];
        let error = choose(&members, &["graph".to_owned()]).err();
        assert_eq!(
            error.map(|error| error.to_string()),
            Some("no package is named \"graph\"; the workspace has limpid-graph".to_owned())
        );
        assert_eq!(choose(&members, &[]).map(|all| all.len()).ok(), Some(1));
    }
}
