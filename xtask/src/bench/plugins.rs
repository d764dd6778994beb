//! `cargo xtask bench plugins`: built-in methods against their plugins.

use super::machine;
use super::statistics;
use crate::cargo;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

/// How much longer a plugin may take.
const BAR: f64 = 1.03;

/// Built-in methods and the same methods through their plugins, in turn in one
/// process: the embedded model on a photograph. Fails where a plugin takes over
/// 3 % longer.
#[derive(Args)]
pub(crate) struct Options {
    /// Samples of each
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Threads
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,

    /// Where the results go [default: benches/runs/<date>-<processor>-<N>threads]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A method with the seconds of each sample.
#[derive(Deserialize)]
struct Group {
    method: String,
    built_in: Vec<f64>,
    plugin: Vec<f64>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let Options {
        rounds, threads, ..
    } = options;
    let output = cargo::command([
        "run",
        "--release",
        "--package",
        "limpid-plugin-suite",
        "--example",
        "plugin_times",
        "--",
    ])
    .args([rounds.to_string(), threads.to_string()])
    .arg("tests/fixtures/photos/coffee.jpg")
    .stderr(Stdio::inherit())
    .output()
    .context("cannot start `cargo run`")?;
    ensure!(output.status.success(), "nothing was measured: see above");
    let groups: Vec<Group> =
        serde_json::from_slice(&output.stdout).context("the samples are no JSON")?;

    let lscpu = machine::lscpu().unwrap_or_default();
    let processor = machine::processor(&lscpu).unwrap_or("unknown processor");
    let date = machine::today();
    let (rows, good) = table(&groups);
    let text = format!(
        "# Built-in methods and their plugins, {date}\n\n\
         {processor}, threads: {threads}, rounds: {rounds}; Limpid {}.\n\n\
         The embedded model on `tests/fixtures/photos/coffee.jpg`. Both run in one process, in turn, the first of a round being the other in the next; their maps are the same to the bit. Times are medians; a ratio is the plugin's to the built-in method's, of medians, with the 10th and 90th percentile of the rounds' ratios. Made by `cargo xtask bench plugins`; every sample is in `plugins.json`.\n\n{rows}",
        env!("CARGO_PKG_VERSION")
    );
    println!("{text}");
    let document = json!({
        "date": date,
        "limpid": env!("CARGO_PKG_VERSION"),
        "processor": processor,
        "threads": threads,
        "rounds": rounds,
        "groups": serde_json::from_slice::<serde_json::Value>(&output.stdout)?,
        "lscpu": lscpu,
    });
    let out = options.out.as_deref();
    machine::write(out, [processor, "plugins"], *threads, &text, &document)?;
    Ok(good)
}

/// A row for each method, and whether all keep to the bar.
fn table(groups: &[Group]) -> (String, bool) {
    let mut text =
        "| method | built in, ms | plugin, ms | ratio | at most |\n|---|--:|--:|---|---|\n"
            .to_owned();
    let mut good = !groups.is_empty();
    for Group {
        method,
        built_in,
        plugin,
    } in groups
    {
        let medians = [built_in, plugin].map(|s| 1e3 * statistics::median(s).unwrap_or(f64::NAN));
        let Some(ratio) = statistics::ratio(built_in, plugin) else {
            good = false;
            continue;
        };
        let kept = ratio.median <= BAR;
        good &= kept;
        let [low, high] = ratio.spread;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| `{method}` | {:.2} | {:.2} | **{:.3}** ({low:.3} to {high:.3}) | {BAR:.2}{} |",
            medians[0],
            medians[1],
            ratio.median,
            if kept { "" } else { " **missed**" }
        );
    }
    (text, good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_takes_longer_is_told() {
        let group = |plugin: f64| Group {
            method: "gradient".to_owned(),
            built_in: vec![0.1; 3],
            plugin: vec![plugin; 3],
        };
        let (text, good) = table(&[group(0.102)]);
        assert!(good, "{text}");
        assert!(
            text.contains("| `gradient` | 100.00 | 102.00 | **1.020** (1.020 to 1.020) | 1.03 |")
        );
        let (text, good) = table(&[group(0.102), group(0.104)]);
        assert!(!good && text.contains("missed"), "{text}");
        assert!(!table(&[]).1);
    }
}
