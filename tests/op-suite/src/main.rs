//! Runs the op suite on this machine's devices.

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use limpid_cpu::{CpuDevice, CpuOptions, Isa, Precision};
use limpid_device::Device;
use limpid_op_suite::{KnownFailures, Mode, Options, ReferenceDevice, run};
use limpid_wgpu::{LimitSet, Matrices, WgpuDevice, WgpuOptions};
use std::io::Write;
use std::time::Duration;

/// Holds a device to the f64 reference, operator by operator.
#[derive(Parser)]
struct Arguments {
    /// What to do
    mode: Action,
    /// The device
    #[arg(long, value_enum, default_value = "cpu")]
    device: Choice,
    /// The processor's instruction set [default: all that it has]
    #[arg(long)]
    isa: Option<Isa>,
    /// Keep an adapter to the limits that WebGPU guarantees
    #[arg(long)]
    webgpu_limits: bool,
    /// Emulate units for small matrices on an adapter
    #[arg(long)]
    emulate_matrices: bool,
    /// Give an adapter's kernels at most so many bytes at once
    #[arg(long, conflicts_with = "webgpu_limits")]
    binding: Option<u64>,
    /// Leave an adapter's subgroup operations alone
    #[arg(long)]
    no_subgroups: bool,
    /// What convolutions and products multiply; on an instruction set without
    /// it, others compute the same
    #[arg(long, value_parser = ["f32", "bf16", "f16"], default_value = "f32")]
    precision: String,
    /// Threads [default: the processor's]
    #[arg(long)]
    threads: Option<usize>,
    /// Only cases whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Milliseconds for which each case is measured
    #[arg(long, default_value_t = 100)]
    measure: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    Cpu,
    Wgpu,
    Reference,
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    Test,
    Gradient,
    Support,
    Perf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mode = match arguments.mode {
        Action::Test => Mode::Test,
        Action::Gradient => Mode::Gradient,
        Action::Support => Mode::Support,
        Action::Perf => Mode::Perf,
    };
    let options = Options {
        filter: arguments.filter,
        known: KnownFailures::committed()?,
        measure_for: Duration::from_millis(arguments.measure),
    };
    let mut devices: Vec<Box<dyn Device>> = Vec::new();
    let precision = if arguments.precision == "bf16" {
        Precision::Bf16
    } else {
        Precision::F32
    };
    let cpu = |isa: Isa| -> Result<Box<dyn Device>> {
        Ok(Box::new(CpuDevice::with(CpuOptions {
            threads: arguments.threads,
            isa: Some(isa),
            precision,
        })?))
    };
    match (arguments.device, arguments.isa) {
        (Choice::Reference, _) => devices.push(Box::new(ReferenceDevice::new())),
        (Choice::Wgpu, _) => devices.push(Box::new(WgpuDevice::new(WgpuOptions {
            limits: match (arguments.webgpu_limits, arguments.binding) {
                (true, _) => LimitSet::WebGpu,
                (false, Some(bytes)) => LimitSet::Binding(bytes),
                (false, None) => LimitSet::Adapter,
            },
            no_subgroups: arguments.no_subgroups,
            matrices: match arguments.emulate_matrices {
                true => Matrices::Emulated,
                false => Matrices::Adapter,
            },
            half: arguments.precision == "f16",
            ..WgpuOptions::default()
        })?)),
        (Choice::Cpu, Some(isa)) => devices.push(cpu(isa)?),
        (Choice::Cpu, None) => {
            for isa in Isa::available() {
                devices.push(cpu(isa)?);
            }
        }
    }
    let mut out = std::io::stdout().lock();
    let mut failed = 0;
    for device in devices {
        let what = device.capabilities();
        writeln!(
            out,
            "{} ({}, {}), {} threads",
            what.name, what.isa, what.precision, what.threads
        )?;
        let report = run(&*device, mode, &options);
        writeln!(out, "{report}")?;
        failed += usize::from(!report.is_success());
    }
    ensure!(failed == 0, "the suite failed on {failed} of the devices");
    Ok(())
}
