//! The program `limpid`: explanations of image classifiers on the command line.
//!
//! It ends with 0 if all went well, 1 if something failed (the rest is done
//! all the same) or it was interrupted, 2 if it was called wrongly. What scripts
//! read is on standard output, what people are told on standard error.

#![forbid(unsafe_code)]

mod commands;
mod console;
mod folder;
mod inputs;
mod interrupt;
mod loader;
mod options;
mod plugins;
mod selection;
mod tuning;

use clap::{Parser, Subcommand};
use console::{OutputError, Usage};
use std::process::ExitCode;

/// Limpid shows what an image-recognition model is looking at.
#[derive(Parser)]
#[command(
    name = "limpid",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "\
Examples:
  limpid explain photo.jpg                          Grad-CAM of the top class, in limpid-out/
  limpid explain photos/ --method grad-cam,blur-ig --smooth 10 --param blur-ig.steps=20
  limpid explain photo.jpg --target espresso --format png,npy,json
  limpid predict photos/ --top 3 --json             One line of JSON for each picture
  limpid evaluate photos/ --methods grad-cam,blur-ig  How faithful the maps are, as a table

It ends with 0 if all went well, 1 if something failed (the rest is done all the
same) or it was interrupted, 2 if it was called wrongly."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Explain(commands::explain::Options),
    Predict(commands::predict::Options),
    Evaluate(commands::evaluate::Options),
    Model(commands::model::Options),
    Methods(commands::methods::Options),
    Plugins(commands::plugins::Options),
    Devices(commands::devices::Options),
    Licenses(commands::licenses::Options),
    Bench(commands::bench::Options),
    #[command(hide = true)]
    Worker(commands::worker::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Explain(options) => commands::explain::run(&options),
        Command::Predict(options) => commands::predict::run(&options),
        Command::Evaluate(options) => commands::evaluate::run(&options),
        Command::Model(options) => commands::model::run(&options),
        Command::Methods(options) => commands::methods::run(&options),
        Command::Plugins(options) => commands::plugins::run(&options),
        Command::Devices(options) => commands::devices::run(&options),
        Command::Licenses(options) => commands::licenses::run(&options),
        Command::Bench(options) => commands::bench::run(&options),
        Command::Worker(options) => commands::worker::run(&options),
    };
    match result {
        Ok(outcome) => outcome.into(),
        // Whoever read the output has seen enough.
        Err(error) if error.downcast_ref() == Some(&OutputError::Closed) => ExitCode::SUCCESS,
        Err(error) => {
            console::say(&error.to_string());
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

fn is_usage(error: &anyhow::Error) -> bool {
    let of_library = error.downcast_ref::<limpid::Error>();
    error.is::<Usage>() || of_library.is_some_and(limpid::Error::is_usage)
}
