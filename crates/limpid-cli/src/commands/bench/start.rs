use super::{BUILD, Figures, figures};
use crate::console::{self, Outcome, Reporter};
use crate::{interrupt, options};
use anyhow::{anyhow, bail};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Measure the time from the start of the program to a Grad-CAM overlay on
/// disk, and the memory that it takes; each run is a process of its own, with
/// the embedded model.
#[derive(Args)]
pub(crate) struct Options {
    /// The picture [default: a built-in photograph]
    #[arg(value_name = "IMAGE")]
    image: Option<PathBuf>,

    /// The number of runs
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,

    /// Threads of each run [default: all cores]
    #[arg(long, value_name = "N", value_parser = options::threads())]
    threads: Option<u64>,

    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// A cup of espresso, 600 x 400 pixels.
const PHOTO: &[u8] = include_bytes!("../../../../../tests/fixtures/photos/coffee.jpg");

#[derive(Serialize)]
struct Report {
    bench: &'static str,
    version: &'static str,
    build: &'static str,
    image: String,
    runs: usize,
    seconds: Figures<f64>,
    peak_bytes: Option<Figures<u64>>,
}

/// How a run begins to tell its peak on standard error.
const PEAK: &str = "limpid: peak bytes: ";

/// Tells the most memory that this process has held so far, where the system
/// says so.
pub(crate) fn report_peak() {
    if let Some(bytes) = peak() {
        console::say(&format!("peak bytes: {bytes}"));
    }
}

/// The largest resident set of this process, in bytes.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kilobytes)
}

pub(crate) fn run(start: &Options) -> anyhow::Result<Outcome> {
    let cancel = interrupt::catch()?;
    let dir = tempfile::tempdir()
        .map_err(|error| anyhow!("cannot make a folder for temporary files: {error}"))?;
    let image = match &start.image {
        Some(image) => image.clone(),
        None => {
            let path = dir.path().join("coffee.jpg");
            std::fs::write(&path, PHOTO)
                .map_err(|error| anyhow!("cannot write {}: {error}", path.display()))?;
            path
        }
    };
    let (mut seconds, mut peaks) = (Vec::new(), Vec::new());
    let reporter = Reporter::new(start.json);
    for i in 0..start.runs {
        reporter.bar.label("run".to_owned(), "explain");
        reporter.bar.set(i.into(), start.runs.into());
        let out = dir.path().join(i.to_string());
        let done = once(&image, &out, start.threads);
        // A terminal interrupts the run as well, which then fails.
        if cancel.load(Ordering::Relaxed) {
            return Ok(reporter.interrupted(""));
        }
        let (time, peak) = done?;
        seconds.push(time);
        peaks.extend(peak);
    }
    let given = start.image.as_ref().map(|path| path.display().to_string());
    let report = Report {
        bench: "start",
        version: env!("CARGO_PKG_VERSION"),
        build: BUILD,
        image: given.unwrap_or_else(|| "built-in".to_owned()),
        runs: seconds.len(),
        seconds: figures(seconds, |a, b| 0.5 * (a + b)).ok_or_else(|| anyhow!("no run"))?,
        peak_bytes: figures(peaks, |a, b| a.midpoint(b)),
    };
    reporter.result(&report, || text(&report))?;
    Ok(reporter.finish())
}

/// Seconds and peak of one run.
fn once(image: &Path, out: &Path, threads: Option<u64>) -> anyhow::Result<(f64, Option<u64>)> {
    let program = std::env::current_exe()
        .map_err(|error| anyhow!("cannot find the program's own file: {error}"))?;
    let mut process = Process::new(program);
    process.args(["explain", "--method", "grad-cam", "--report-peak", "--out"]);
    process.arg(out);
    if let Some(threads) = threads {
        process.args(["--threads", &threads.to_string()]);
    }
    process.arg("--").arg(image);
    process.stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let done = process
        .output()
        .map_err(|error| anyhow!("cannot start the program again: {error}"))?;
    let seconds = start.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        match said.trim().trim_start_matches("limpid: ") {
            "" => bail!("the program did not end well: {}", done.status),
            said => bail!("{said}"),
        }
    }
    let peak = said
        .lines()
        .find_map(|l| l.strip_prefix(PEAK)?.parse().ok());
    Ok((seconds, peak))
}

fn text(report: &Report) -> String {
    let s = &report.seconds;
    let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
    let time = |t: f64| format!("{t:.3} s");
    let size = |b: u64| format!("{:.1} MB", b as f64 / 1e6);
    let mut rows = vec![
        row(["", "median", "min", "max"]),
        row([
            "from start to the overlay on disk",
            &time(s.median),
            &time(s.min),
            &time(s.max),
        ]),
    ];
    rows.push(match &report.peak_bytes {
        Some(p) => row(["peak memory", &size(p.median), &size(p.min), &size(p.max)]),
        None => row(["peak memory", "unknown", "", ""]),
    });
    let table = console::table(&rows, &[false, true, true, true]);
    let head = format!(
        "limpid {}, {} build, {} runs, picture: {}",
        report.version, report.build, report.runs, report.image
    );
    format!("{}\n{table}", console::clean(&head))
}
