//! `cargo xtask bench`: Limpid and other programs, plugins, or plain kernels,
//! measured in turn.

mod gpu;
mod machine;
mod peers;
mod plugins;
mod python;
mod report;
mod rows;
mod statistics;
mod worker;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Measure Limpid against other programs, plugins against what is built in, and
/// a graphics adapter's kernels against plain ones.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Peers(peers::Options),
    Plugins(plugins::Options),
    Gpu(gpu::Options),
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    match &options.command {
        Command::Peers(options) => peers::run(options),
        Command::Plugins(options) => plugins::run(options),
        Command::Gpu(options) => gpu::run(options),
    }
}
