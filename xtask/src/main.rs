//! The project's own tasks, run as `cargo xtask <task>`.
//!
//! A task ends with status 0 if all of it passed, 1 if something failed, and 2
//! if its options are not understood. No task installs anything, but `bench peers`
//! a Python environment of its own in the target folder.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that talks to the terminal"
)]

mod bench;
mod cargo;
mod check;
mod dist;
mod plugin;
mod steps;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Check(check::Options),
    Test(test::Options),
    Plugin(plugin::Options),
    Dist(dist::Options),
    Bench(bench::Options),
}

fn main() -> ExitCode {
    match run(&Cli::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one task; `false` means that a step of it failed and was reported.
fn run(task: &Task) -> Result<bool> {
    match task {
        Task::Check(options) => check::run(options),
        Task::Test(options) => test::run(options),
        Task::Plugin(options) => plugin::run(options),
        Task::Dist(options) => dist::run(options),
        Task::Bench(options) => bench::run(options),
    }
}
