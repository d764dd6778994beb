//! `cargo xtask bench gpu`: kernels of the wgpu device against plain ones, and
//! attention against its parts.

use super::{machine, statistics};
use crate::cargo;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

/// Kernels of the best graphics adapter, which may be software, against plain
/// ones with an invocation for each output, and attention against its parts, in
/// turn in one process.
#[derive(Args)]
pub(crate) struct Options {
    /// Samples of each
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Where the results go [default: benches/runs/<date>-<processor>-<N>threads]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What the example prints.
#[derive(Deserialize)]
struct Samples {
    adapter: String,
    driver: String,
    groups: Vec<Group>,
}

/// A piece of work with the seconds of each sample.
#[derive(Deserialize)]
struct Group {
    work: String,
    limpid: Vec<f64>,
    other: Vec<f64>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let rounds = options.rounds;
    let output = cargo::command([
        "run",
        "--release",
        "--package",
        "limpid-wgpu",
        "--example",
        "plain",
        "--",
    ])
    .arg(rounds.to_string())
    .stderr(Stdio::inherit())
    .output()
    .context("cannot start `cargo run`")?;
    ensure!(output.status.success(), "nothing was measured: see above");
    let samples: Value =
        serde_json::from_slice(&output.stdout).context("the samples are no JSON")?;
    let Samples {
        adapter,
        driver,
        groups,
    } = Samples::deserialize(&samples)?;

    let lscpu = machine::lscpu().unwrap_or_default();
    let processor = machine::processor(&lscpu).unwrap_or("unknown processor");
    let threads = std::thread::available_parallelism()?.get();
    let date = machine::today();
    let text = format!(
        "# Kernels and plain ones, {date}\n\n\
         {adapter} ({driver}); {processor}, threads: {threads}; rounds: {rounds}; Limpid {}.\n\n\
         A plain kernel has an invocation for each output, which reads what it needs from memory; attention is compared with Limpid's own two products and softmax. Both run in one process, in turn, the first of a round being the other in the next, from submission until the adapter is done; inputs are normal numbers, and results agree to 1e-4. Times are medians; a ratio is the other's to ours, of medians, with the 10th and 90th percentile of the rounds' ratios. Made by `cargo xtask bench gpu`; every sample is in `gpu.json`.\n\n{}",
        env!("CARGO_PKG_VERSION"),
        table(&groups)?
    );
    println!("{text}");
    let document = json!({
        "date": date,
        "limpid": env!("CARGO_PKG_VERSION"),
        "processor": processor,
        "threads": threads,
        "rounds": rounds,
        "samples": samples,
        "lscpu": lscpu,
    });
    let out = options.out.as_deref();
    machine::write(out, [processor, "gpu"], threads, &text, &document)?;
    Ok(true)
}

/// A row for each piece of work.
fn table(groups: &[Group]) -> Result<String> {
    let mut text = "| work | other, ms | Limpid, ms | ratio |\n|---|--:|--:|---|\n".to_owned();
    for Group {
        work,
        limpid,
        other,
    } in groups
    {
        let none = || format!("{work} has no samples");
        let ratio = statistics::ratio(limpid, other).with_context(none)?;
        let [theirs, ours] = [other, limpid].map(|s| statistics::median(s));
        let (theirs, ours) = theirs.zip(ours).with_context(none)?;
        let [low, high] = ratio.spread;
        writeln!(
            text,
            "| {work} | {:.1} | {:.1} | **{:.2}** ({low:.2} to {high:.2}) |",
            1e3 * theirs,
            1e3 * ours,
            ratio.median,
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_other() {
        let group = |other: Vec<f64>| Group {
            work: "a product".to_owned(),
            limpid: vec![0.1; 3],
            other,
        };
        let text = table(&[group(vec![0.4; 3])]).unwrap();
        assert!(
            text.ends_with("| a product | 400.0 | 100.0 | **4.00** (4.00 to 4.00) |\n"),
            "{text}"
        );
        assert!(table(&[group(Vec::new())]).is_err());
    }
}
