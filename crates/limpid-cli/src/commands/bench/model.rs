use super::{BUILD, Figures, of_numbers};
use crate::console::{self, Outcome, Reporter};
use crate::interrupt;
use crate::options::{self, DeviceChoice, Machine, PrecisionChoice};
use anyhow::anyhow;
use clap::Args;
use limpid::Session;
use limpid::measure::Work;
use limpid_cpu::Isa;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Measure a model's forward pass and its input gradient for every combination
/// of batches, threads and sides of the picture.
#[derive(Args)]
pub(crate) struct Options {
    /// A bundle directory, an .onnx file, or the name of an embedded model
    /// [default: the embedded ImageNet classifier]
    #[arg(long, value_name = "M")]
    model: Option<PathBuf>,

    /// The numbers that convolutions and products multiply
    #[arg(long, value_name = "f32|bf16|f16", default_value = "f32", value_parser = options::precision)]
    precision: PrecisionChoice,

    /// Where to compute; auto takes a graphics adapter that is hardware, else
    /// the processor
    #[arg(long, value_name = "auto|cpu|wgpu", default_value = "auto", value_parser = options::device, hide_possible_values = true)]
    device: DeviceChoice,

    /// Batches
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "8", value_parser = options::batch())]
    batch: Vec<u64>,

    /// Threads [default: all cores]
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = options::threads())]
    threads: Vec<u64>,

    /// Height and width of the pictures, in pixels [default: the model's]
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=4096))]
    side: Vec<u64>,

    /// The number of executions of each
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,

    /// The instruction set, for tests [default: the fastest that there is]
    #[arg(long, value_name = "NAME", hide = true)]
    isa: Option<Isa>,

    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    bench: &'static str,
    version: &'static str,
    build: &'static str,
    model: String,
    processor: String,
    isa: String,
    rounds: u32,
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    batch: usize,
    threads: usize,
    input: [usize; 3],
    /// Milliseconds an image.
    forward: Option<Figures<f64>>,
    /// Milliseconds an image, the forward pass included.
    gradient: Option<Figures<f64>>,
    /// Why there is no figure.
    skipped: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let cancel = interrupt::catch()?;
    let threads: Vec<Option<u64>> = match &options.threads[..] {
        [] => vec![None],
        some => some.iter().copied().map(Some).collect(),
    };
    let sessions = threads.into_iter().map(|threads| {
        let machine = Machine {
            model: options.model.clone(),
            device: options.device,
            precision: options.precision,
            threads,
            isa: options.isa,
            ..Machine::default()
        };
        machine.session()
    });
    let sessions = sessions.collect::<anyhow::Result<Vec<_>>>()?;
    let first = sessions.first().ok_or_else(|| anyhow!("no threads"))?;
    let [channels, height, width] = first.model().preprocess().input_size();
    let sides: Vec<[usize; 3]> = match &options.side[..] {
        [] => vec![[channels, height, width]],
        some => some
            .iter()
            .map(|s| [channels, *s as usize, *s as usize])
            .collect(),
    };
    let reporter = Reporter::new(options.json);
    let all = sides.len() * options.batch.len() * sessions.len();
    let mut points = Vec::with_capacity(all);
    for input in &sides {
        for batch in &options.batch {
            for session in &sessions {
                reporter.bar.label("point".to_owned(), "");
                reporter.bar.set(points.len() as u64, all as u64);
                points.push(point(session, *batch as usize, *input, options.rounds)?);
                if cancel.load(Ordering::Relaxed) {
                    return Ok(reporter.interrupted(""));
                }
            }
        }
    }
    let device = first.device().capabilities();
    let report = Report {
        bench: "model",
        version: env!("CARGO_PKG_VERSION"),
        build: BUILD,
        model: first.model().name().to_owned(),
        processor: device.name.clone(),
        isa: device.isa.clone(),
        rounds: options.rounds,
        points,
    };
    reporter.result(&report, || text(&report))?;
    Ok(reporter.finish())
}

/// One combination, the two kinds of work in turn; skipped where the model
/// does not take it.
fn point(session: &Session, batch: usize, input: [usize; 3], rounds: u32) -> anyhow::Result<Point> {
    let mut point = Point {
        batch,
        threads: session.device().capabilities().threads,
        input,
        forward: None,
        gradient: None,
        skipped: None,
    };
    let prepared = [Work::Forward, Work::Gradient].map(|w| session.workload(w, batch, input));
    let mut prepared = match prepared {
        [Ok(forward), Ok(gradient)] => [forward, gradient],
        [Err(error), _] | [_, Err(error)] => {
            point.skipped = Some(error.to_string());
            return Ok(point);
        }
    };
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for (workload, times) in prepared.iter_mut().zip(&mut times) {
            let start = Instant::now();
            workload.run()?;
            // The first one warms up.
            if round > 0 {
                times.push(1e3 * start.elapsed().as_secs_f64() / batch as f64);
            }
        }
    }
    let [forward, gradient] = times.map(of_numbers);
    (point.forward, point.gradient) = (forward, gradient);
    Ok(point)
}

fn text(report: &Report) -> String {
    let head = [
        "input",
        "batch",
        "threads",
        "forward",
        "and gradient",
        "ms an image",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for p in &report.points {
        let [_, h, w] = p.input;
        let ms = |f: &Option<Figures<f64>>| {
            f.as_ref().map_or_else(String::new, |f| {
                format!("{:.2} ({:.2} to {:.2})", f.median, f.min, f.max)
            })
        };
        rows.push(vec![
            format!("{h}x{w}"),
            p.batch.to_string(),
            p.threads.to_string(),
            ms(&p.forward),
            ms(&p.gradient),
            p.skipped
                .clone()
                .map_or_else(String::new, |r| format!("skipped: {r}")),
        ]);
    }
    let head = format!(
        "limpid {}, {} build, {} on {}, {}, {} rounds",
        report.version, report.build, report.model, report.processor, report.isa, report.rounds
    );
    let right = [true, true, true, true, true, false];
    format!(
        "{}\n{}",
        console::clean(&head),
        console::table(&rows, &right)
    )
}
