use crate::console::Outcome;
use crate::options::Machine;
use clap::Args;
use limpid::isolate;
use std::path::PathBuf;

/// Run a plugin for another process of this program, which started this one.
#[derive(Args)]
pub(crate) struct Options {
    /// The plugin's library
    #[arg(long, value_name = "FILE")]
    plugin: PathBuf,

    #[command(flatten)]
    machine: Machine,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    isolate::serve(&options.plugin, || Ok(options.machine.session_again()?))?;
    Ok(Outcome::Good)
}
