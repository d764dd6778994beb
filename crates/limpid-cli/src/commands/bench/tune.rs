use crate::console::{self, Outcome, Reporter};
use crate::{interrupt, tuning};
use anyhow::anyhow;
use clap::Args;
use limpid::measure::{TileChoice, Tuner};
use limpid::{Adapter, Tile};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Measure how products are best cut on a graphics adapter, and keep the choice
/// for the runs to come. Results stay the same.
#[derive(Args)]
pub(crate) struct Options {
    /// The adapter, by its number in `limpid devices` [default: the best]
    #[arg(long, value_name = "N")]
    adapter: Option<usize>,

    /// The number of runs of each
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,

    /// Where the choice is kept [default: where the program looks for it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    bench: &'static str,
    version: &'static str,
    adapter: &'a str,
    driver: &'a str,
    rounds: u32,
    choice: &'a TileChoice,
    file: String,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let cancel = interrupt::catch()?;
    let adapter = match options.adapter {
        Some(n) => Adapter::at(n),
        None => Adapter::best(),
    };
    let adapter = adapter.map_err(limpid::Error::from)?;
    let file = options.out.clone().or_else(tuning::path);
    let file = file
        .ok_or_else(|| anyhow!("this system has no folder for configurations; give --out FILE"))?;
    let reporter = Reporter::new(options.json);
    let tuner = Tuner::new(adapter.clone(), options.rounds);
    let choice = tuner.choose(|work| {
        reporter.bar.label(work.to_owned(), "");
        !cancel.load(Ordering::Relaxed)
    });
    let Some(choice) = choice.map_err(limpid::Error::from)? else {
        return Ok(reporter.interrupted(""));
    };
    tuning::keep(&file, &adapter, choice.chosen)?;
    let report = Report {
        bench: "tune",
        version: env!("CARGO_PKG_VERSION"),
        adapter: &adapter.info().name,
        driver: &adapter.info().driver,
        rounds: options.rounds,
        choice: &choice,
        file: file.display().to_string(),
    };
    reporter.result(&report, || text(&report))?;
    Ok(reporter.finish())
}

fn name(tile: &Tile) -> String {
    let Tile {
        rows,
        columns,
        depth,
        per_row,
        per_column,
    } = tile;
    format!("{rows}x{columns} by {depth}, {per_row}x{per_column}")
}

fn text(report: &Report<'_>) -> String {
    let head = ["for", "work", "tile", "ms"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for time in &report.choice.times {
        let ms = format!("{:.3}", 1e3 * time.seconds);
        rows.push(vec![
            time.role.to_owned(),
            time.work.clone(),
            name(&time.tile),
            ms,
        ]);
    }
    let table = console::table(&rows, &[false, false, false, true]);
    let chosen = &report.choice.chosen;
    format!(
        "{} ({})\n{table}\nlarge {}; small {} below {} blocks; narrow {}\n3x3 without Winograd's transforms: {:.2} times as long\nkept in {}",
        report.adapter,
        report.driver,
        name(&chosen.large),
        name(&chosen.small),
        chosen.fill,
        name(&chosen.narrow),
        report.choice.winograd,
        report.file
    )
}
