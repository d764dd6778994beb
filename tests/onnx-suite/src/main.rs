//! Prints what becomes of every case of the `onnx` package.

use anyhow::Result;
use clap::Parser;
use limpid_cpu::CpuDevice;
use limpid_onnx_suite::{Archive, committed, run};
use std::io::Write;
use std::process::ExitCode;

/// Runs the operator tests and whole models of the `onnx` package.
#[derive(Parser)]
struct Arguments {
    /// Only cases whose name contains this
    filter: Option<String>,
    /// The whole models instead of the operator tests
    #[arg(long)]
    models: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let archive = if arguments.models {
        Archive::light()?
    } else {
        Archive::node()?
    };
    let list = if arguments.models {
        Vec::new()
    } else {
        committed()?
    };
    let report = run(
        &CpuDevice::new()?,
        &archive,
        &list,
        arguments.filter.as_deref(),
    );
    writeln!(std::io::stdout().lock(), "{report}")?;
    Ok(ExitCode::from(u8::from(!report.failures().is_empty())))
}
