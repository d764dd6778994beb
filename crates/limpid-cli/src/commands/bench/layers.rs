use super::{BUILD, Figures, of_numbers};
use crate::console::{self, Outcome, Reporter};
use crate::interrupt;
use crate::options::Machine;
use anyhow::anyhow;
use clap::Args;
use limpid::measure::{Step, Work};
use limpid_cpu::{Peak, PeakMeter};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Measure each step of a model's gradient, and what share it reaches of what
/// the machine gives: of the operations that its registers do, or the bytes
/// that its memory copies, in a second, whichever it comes nearer to. Of a
/// graphics adapter the times alone.
///
/// Operations are counted as definitions have them, bytes without padding. A
/// share over 100 % is of a kernel that needs fewer operations, or whose
/// operands lie in a cache.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    machine: Machine,

    /// Measure the forward pass and the input gradient [the default]
    #[arg(long, conflicts_with = "forward")]
    gradient: bool,

    /// Measure the forward pass alone
    #[arg(long)]
    forward: bool,

    /// The number of executions
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,

    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// The batch where none is asked for.
const BATCH: u64 = 8;

#[derive(Serialize)]
struct Report<'a> {
    bench: &'static str,
    version: &'static str,
    build: &'static str,
    model: &'a str,
    work: &'static str,
    processor: &'a str,
    isa: &'a str,
    threads: usize,
    batch: usize,
    input: [usize; 3],
    rounds: u32,
    /// Milliseconds an image, of whole executions.
    ms: Figures<f64>,
    arena_bytes: usize,
    /// 10^9 operations, and bytes, a second, measured in between.
    peak: Option<PeakFigures>,
    steps: Vec<Row<'a>>,
    kernels: Vec<Row<'a>>,
    total: Row<'a>,
}

#[derive(Serialize)]
struct PeakFigures {
    gflops: Figures<f64>,
    gbytes: Figures<f64>,
}

/// Steps, alone or summed.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    op: &'a str,
    kernel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a [usize]>,
    steps: usize,
    /// Milliseconds an image: the median.
    ms: f64,
    /// 10^9 operations a second.
    gflops: f64,
    /// 10^9 bytes a second.
    gbytes: f64,
    /// Of the peak, from 0 to 1, where that was measured.
    share: Option<f64>,
}

/// What steps do and take together; the bound is the time that they would take
/// at the peak.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    steps: usize,
    seconds: f64,
    bound: Option<f64>,
    operations: u64,
    bytes: u64,
}

impl Sum {
    fn of(step: &Step, seconds: f64, peak: Option<Peak>) -> Self {
        let (operations, bytes) = (step.operations, step.bytes);
        let bound = |p: Peak| (operations as f64 / p.flops).max(bytes as f64 / p.bytes);
        Self {
            steps: 1,
            seconds,
            bound: peak.map(bound),
            operations,
            bytes,
        }
    }

    fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.seconds += other.seconds;
        self.bound = other.bound.map(|bound| bound + self.bound.unwrap_or(0.0));
        self.operations += other.operations;
        self.bytes += other.bytes;
    }

    fn row<'a>(self, op: &'a str, kernel: &'a str, batch: usize) -> Row<'a> {
        let rate = |n: f64| {
            if self.seconds > 0.0 {
                n / self.seconds
            } else {
                0.0
            }
        };
        Row {
            node: None,
            op,
            kernel,
            output: None,
            steps: self.steps,
            ms: 1e3 * self.seconds / batch as f64,
            gflops: 1e-9 * rate(self.operations as f64),
            gbytes: 1e-9 * rate(self.bytes as f64),
            share: self.bound.map(rate),
        }
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let cancel = interrupt::catch()?;
    let session = options.machine.session()?;
    let batch = options.machine.batch.unwrap_or(BATCH) as usize;
    let (work, name) = if options.forward {
        (Work::Forward, "forward")
    } else {
        (Work::Gradient, "forward and gradient")
    };
    let input = session.model().preprocess().input_size();
    let mut workload = session.workload(work, batch, input)?;
    let on_cpu = session.device().capabilities().kind.name() == "cpu";
    let meter = on_cpu.then(|| PeakMeter::new(options.machine.cpu()));
    let mut meter = meter.transpose().map_err(limpid::Error::from)?;
    let reporter = Reporter::new(options.json);
    reporter.bar.label("round".to_owned(), "");
    workload.run()?;
    let (mut times, mut rounds, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds {
        reporter.bar.set(round.into(), options.rounds.into());
        peaks.extend(meter.as_mut().map(PeakMeter::measure));
        let start = Instant::now();
        workload.run()?;
        times.push(1e3 * start.elapsed().as_secs_f64() / batch as f64);
        rounds.push(workload.steps()?);
        if cancel.load(Ordering::Relaxed) {
            return Ok(reporter.interrupted(""));
        }
    }
    let none = || anyhow!("no round");
    let gflops = of_numbers(peaks.iter().map(|p| 1e-9 * p.flops));
    let gbytes = of_numbers(peaks.iter().map(|p| 1e-9 * p.bytes));
    let figures = gflops.zip(gbytes);
    let figures = figures.map(|(gflops, gbytes)| PeakFigures { gflops, gbytes });
    let peak = figures.as_ref().map(|p| Peak {
        flops: 1e9 * p.gflops.median,
        bytes: 1e9 * p.gbytes.median,
    });
    let mut steps = Vec::new();
    let mut kinds: BTreeMap<(&str, &str), Sum> = BTreeMap::new();
    let mut total = Sum::default();
    for (i, step) in rounds[0].iter().enumerate() {
        let seconds = of_numbers(rounds.iter().map(|r| r[i].seconds)).ok_or_else(none)?;
        let sum = Sum::of(step, seconds.median, peak);
        kinds.entry((step.op, step.kernel)).or_default().add(sum);
        total.add(sum);
        steps.push(Row {
            node: Some(&step.node),
            output: Some(&step.output),
            ..sum.row(step.op, step.kernel, batch)
        });
    }
    let mut kernels: Vec<Row<'_>> = kinds
        .into_iter()
        .map(|((op, kernel), sum)| sum.row(op, kernel, batch))
        .collect();
    kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    let device = session.device().capabilities();
    let report = Report {
        bench: "layers",
        version: env!("CARGO_PKG_VERSION"),
        build: BUILD,
        model: session.model().name(),
        work: name,
        processor: &device.name,
        isa: &device.isa,
        threads: device.threads,
        batch,
        input,
        rounds: options.rounds,
        ms: of_numbers(times).ok_or_else(none)?,
        arena_bytes: workload.arena_bytes(),
        peak: figures,
        steps,
        kernels,
        total: total.row("all steps", "", batch),
    };
    reporter.result(&report, || text(&report))?;
    Ok(reporter.finish())
}

fn text(report: &Report<'_>) -> String {
    let columns = ["ms", "GFLOP/s", "GB/s", "of peak"];
    let numbers = |r: &Row<'_>| {
        [
            format!("{:.3}", r.ms),
            format!("{:.1}", r.gflops),
            format!("{:.1}", r.gbytes),
            r.share
                .map_or_else(String::new, |share| format!("{:.0} %", 100.0 * share)),
        ]
    };
    let shape = |dims: &[usize]| {
        let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
        dims.join("x")
    };
    let mut rows = vec![[&["step", "operator", "kernel", "output"], &columns[..]].concat()];
    let cells: Vec<Vec<String>> = report
        .steps
        .iter()
        .map(|r| {
            let output = r.output.map(shape).unwrap_or_default();
            let node = r.node.unwrap_or_default();
            let names = [node, r.op, r.kernel, &output].map(str::to_owned);
            [&names[..], &numbers(r)].concat()
        })
        .collect();
    let head = rows.remove(0).into_iter().map(str::to_owned).collect();
    let steps = [vec![head], cells].concat();
    let names = ["operator", "kernel", "steps"];
    let mut kinds = vec![
        [&names[..], &columns]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect(),
    ];
    for r in report.kernels.iter().chain([&report.total]) {
        let names = [r.op.to_owned(), r.kernel.to_owned(), r.steps.to_string()];
        kinds.push([&names[..], &numbers(r)].concat());
    }
    let right = [false, false, false, true, true, true, true, true];
    let mut text = console::table(&steps, &right);
    let _ = write!(text, "\n{}\n", console::table(&kinds, &right[1..]));
    let range = |f: &Figures<f64>| format!("{:.1} ({:.1} to {:.1})", f.median, f.min, f.max);
    let head = format!(
        "{}, {}, batch {}, {}: {:.3} ms an image ({:.3} to {:.3}, {} rounds), arena {:.1} MB\n",
        report.model,
        report.work,
        report.batch,
        shape(&report.input),
        report.ms.median,
        report.ms.min,
        report.ms.max,
        report.rounds,
        report.arena_bytes as f64 / 1e6,
    );
    text.push_str(&head);
    let peaks = report.peak.as_ref().map(|peak| {
        let (gflops, gbytes) = (range(&peak.gflops), range(&peak.gbytes));
        format!("; peaks: {gflops} GFLOP/s in registers, {gbytes} GB/s copied")
    });
    let _ = writeln!(
        text,
        "{}, {}, threads: {}{}",
        console::clean(report.processor),
        report.isa,
        report.threads,
        peaks.unwrap_or_default(),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_of_the_nearer_bound() {
        let peak = Peak {
            flops: 100.0,
            bytes: 10.0,
        };
        let step = |operations, bytes| Step {
            node: String::new(),
            op: "",
            kernel: "",
            output: Vec::new(),
            seconds: 0.0,
            operations,
            bytes,
        };
        let busy = Sum::of(&step(400, 1), 8.0, Some(peak));
        assert_eq!(busy.row("", "", 1).share, Some(0.5));
        let moving = Sum::of(&step(1, 20), 4.0, Some(peak));
        assert_eq!(moving.row("", "", 1).share, Some(0.5));
        assert_eq!(Sum::of(&step(1, 1), 1.0, None).row("", "", 1).share, None);
        let mut both = busy;
        both.add(moving);
        assert_eq!(both.row("", "", 1).share, Some(0.5));
        assert_eq!((both.steps, both.row("", "", 2).ms), (2, 6000.0));
    }
}
