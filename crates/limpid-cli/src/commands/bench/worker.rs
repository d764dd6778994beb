use crate::console::{self, Outcome};
use crate::options::{self, DeviceChoice, Machine};
use anyhow::{anyhow, bail};
use clap::Args;
use limpid::measure::{Work, Workload, normals};
use limpid::{Explainer, Input, RunOptions, Session, Target, methods, render};
use limpid_cpu::Isa;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Measure what is asked for on standard input, a line of JSON for each sample,
/// so that this program and others can be measured in turn.
///
/// What a request needs is prepared and warmed up the first time, and kept
/// until a request names another model, work or batch.
#[derive(Args)]
pub(crate) struct Options {
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = options::threads())]
    threads: Option<u64>,

    /// The instruction set, for tests [default: the fastest that there is]
    #[arg(long, value_name = "NAME")]
    isa: Option<Isa>,
}

/// A sample to take. Keys that are not known are another program's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Request {
    /// A model as `--model` names it; the embedded one if absent.
    model: Option<PathBuf>,
    work: Kind,
    #[serde(default = "one")]
    batch: u64,
    /// As `--precision` takes it.
    #[serde(default = "f32")]
    precision: String,
    /// Height and width; the model's if absent.
    side: Option<usize>,
    /// Of `explain`.
    #[serde(default)]
    method: String,
    smooth: Option<u64>,
    #[serde(default)]
    params: BTreeMap<String, String>,
    /// A file of little-endian float32, the pictures; normal numbers if absent.
    input: Option<PathBuf>,
    /// Where to write the result, in the same form.
    output: Option<PathBuf>,
    /// The least seconds that a sample lasts; executions are repeated for it.
    #[serde(default)]
    least: f64,
}

impl Request {
    /// Requests that are made in turn have this in common.
    fn group(&self) -> (&Option<PathBuf>, Kind, u64) {
        (&self.model, self.work, self.batch)
    }
}

fn one() -> u64 {
    1
}

fn f32() -> String {
    "f32".to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// Seconds of a picture.
    Forward,
    /// Seconds of a picture.
    Gradient,
    /// Seconds of a blur.
    Blurs,
    /// Seconds of a gradient of the method.
    Explain,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Sample { seconds: f64, runs: u32 },
    Error { error: String },
}

/// The most bytes of a file of pictures.
const MAX_INPUT: u64 = 1 << 32;

/// Something that can be run again.
enum Prepared {
    Workload(Workload),
    Explanation {
        session: Box<Session>,
        input: Box<Input>,
        method: Box<dyn Explainer>,
    },
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let mut kept: Vec<(Request, Prepared)> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let answer = match sample(options, &mut kept, &line?) {
            Ok(answer) => answer,
            Err(error) => Answer::Error {
                error: error.to_string(),
            },
        };
        console::json(&answer)?;
    }
    Ok(Outcome::Good)
}

fn sample(
    options: &Options,
    kept: &mut Vec<(Request, Prepared)>,
    line: &str,
) -> anyhow::Result<Answer> {
    let request: Request =
        serde_json::from_str(line).map_err(|error| anyhow!("this is no request: {error}"))?;
    kept.retain(|(other, _)| other.group() == request.group());
    let at = match kept.iter().position(|(other, _)| *other == request) {
        Some(at) => at,
        None => {
            let mut prepared = prepare(options, &request)?;
            prepared.run()?;
            if let (Some(output), Prepared::Workload(workload)) = (&request.output, &prepared) {
                write(output, &workload.output()?)?;
            }
            kept.push((request, prepared));
            kept.len() - 1
        }
    };
    let (request, prepared) = &mut kept[at];
    let least = Duration::try_from_secs_f64(request.least.min(60.0)).unwrap_or_default();
    let (mut units, mut runs) = (0, 0);
    let start = Instant::now();
    loop {
        let done = prepared.run()?;
        units += done.unwrap_or(request.batch);
        runs += 1;
        if start.elapsed() >= least {
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64() / units.max(1) as f64;
    Ok(Answer::Sample { seconds, runs })
}

fn prepare(options: &Options, request: &Request) -> anyhow::Result<Prepared> {
    if !(1..=1024).contains(&request.batch) || request.side.is_some_and(|s| s == 0 || s > 4096) {
        bail!("batches are from 1 to 1024, sides from 1 to 4096");
    }
    let explain = request.work == Kind::Explain;
    let machine = Machine {
        model: request.model.clone(),
        device: DeviceChoice::Cpu,
        precision: options::precision(&request.precision).map_err(|e| anyhow!(e))?,
        threads: options.threads,
        isa: options.isa,
        batch: explain.then_some(request.batch),
        ..Machine::default()
    };
    let session = machine.session()?;
    let [channels, height, width] = session.model().preprocess().input_size();
    let [h, w] = request.side.map_or([height, width], |side| [side, side]);
    let dims = [channels, h, w];
    let work = match request.work {
        Kind::Forward => Work::Forward,
        Kind::Gradient => Work::Gradient,
        Kind::Blurs => Work::Blurs,
        Kind::Explain => {
            let params: Vec<(&str, &str)> = request
                .params
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect();
            let method = methods::build(&request.method, &params, request.smooth)?;
            let pixels = normals(dims.iter().product());
            let array = render::encode_npy(&dims, &pixels)?;
            return Ok(Prepared::Explanation {
                session: Box::new(session),
                input: Box::new(Input::from_npy_bytes(&array, "normal numbers")?),
                method,
            });
        }
    };
    let mut workload = session.workload(work, request.batch as usize, dims)?;
    if let Some(path) = &request.input {
        workload.write(&read(path, workload.picture_elements())?)?;
    }
    Ok(Prepared::Workload(workload))
}

impl Prepared {
    /// Runs once; how many units of work it did, where it knows.
    fn run(&mut self) -> anyhow::Result<Option<u64>> {
        match self {
            Self::Workload(workload) => {
                workload.run()?;
                Ok(None)
            }
            Self::Explanation {
                session,
                input,
                method,
            } => {
                let run = RunOptions::default();
                let maps = session.explain_input(input, &**method, &Target::Class(0), &run)?;
                let maps = maps.iter().map(|m| m.attribution().evaluations.gradients);
                Ok(Some(maps.sum()))
            }
        }
    }
}

/// The first `count` numbers of a file.
fn read(path: &Path, count: usize) -> anyhow::Result<Vec<f32>> {
    let fail = |reason: String| anyhow!("cannot read {}: {reason}", path.display());
    let size = std::fs::metadata(path)
        .map_err(|e| fail(e.to_string()))?
        .len();
    if size > MAX_INPUT || size < 4 * count as u64 {
        return Err(fail(format!("{size} bytes are not {count} float32")));
    }
    let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
    let values = bytes.chunks_exact(4).take(count);
    Ok(values
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}

fn write(path: &Path, values: &[f32]) -> anyhow::Result<()> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(path, bytes).map_err(|e| anyhow!("cannot write {}: {e}", path.display()))
}
