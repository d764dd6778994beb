use super::report::{Measured, Report, Samples};
use super::rows::{self, Group, Peer, Work};
use super::worker::Worker;
use super::{machine, python, statistics};
use crate::{cargo, dist};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// Measure Limpid, PyTorch, onnxruntime, OpenCV, PAIR's saliency and captum in
/// turn, and write a table.
///
/// All stay warm and take turns, so that a machine whose speed drifts slows all
/// of them; what counts is the ratio. Before they are timed they must put out
/// the same numbers. Installs what benches/peers/requirements.txt lists into an
/// environment of its own in the target folder.
#[derive(Args)]
pub(crate) struct Options {
    /// The number of turns
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// The networks [default: all]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    models: Vec<String>,

    /// What to measure [default: all]
    #[arg(long, value_name = "WORK,...", value_delimiter = ',')]
    work: Vec<Work>,

    /// Few short turns with resnet18, to see that everything works
    #[arg(long)]
    quick: bool,

    /// Threads of each program
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,

    /// A Python interpreter that has what is required, in place of an
    /// environment of its own
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,

    /// Where to write [default: benches/runs/<date>-<processor>-<threads>threads]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// How large the error is after how many gradients, as
    /// `limpid`'s example `sampling` writes it [default: the newest of benches/runs]
    #[arg(long, value_name = "FILE")]
    sampling: Option<PathBuf>,
}

/// The least seconds of a sample.
const LEAST: f64 = 0.2;

/// Threads of the last one spin for some milliseconds more.
const PAUSE: Duration = Duration::from_millis(30);

pub(crate) fn run(options: &Options) -> Result<bool> {
    let names = chosen(options)?;
    let target = cargo::target_folder()?;
    let limpid = dist::build()?;
    let python = match &options.python {
        Some(python) => python.clone(),
        None => python::environment(&target)?,
    };
    let versions = python::versions(&python)?;
    let folder = target.join("peers");
    python::succeed(
        python::script(&python, "models.py", options.threads)
            .arg(&folder)
            .args(&names),
    )?;
    let mut arena = Arena {
        limpid,
        python,
        folder,
        threads: options.threads,
        rounds: if options.quick { 3 } else { options.rounds },
        workers: BTreeMap::new(),
    };
    let mut measured = Vec::new();
    for group in arena.groups(options, &names) {
        println!("\n{}", group.title);
        let done = arena.measure(group)?;
        print!("{}", done.lines());
        measured.push(done);
    }
    let start = match wants(options, Work::Start) {
        true => Some(arena.start(if options.quick { 2 } else { 20 })?),
        false => None,
    };
    let lscpu = machine::lscpu().unwrap_or_default();
    let processor = machine::processor(&lscpu).unwrap_or("unknown processor");
    let report = Report {
        date: machine::today(),
        processor: processor.to_owned(),
        threads: options.threads,
        rounds: arena.rounds,
        versions,
        measured,
        start,
        gradients: gradients(options.sampling.as_deref())?,
    };
    let out = options
        .out
        .clone()
        .unwrap_or_else(|| machine::results(processor, options.threads));
    let table = report.markdown();
    println!("\n{table}");
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    fs::write(out.join("peers.md"), &table)?;
    let mut document = report.document();
    document["lscpu"] = json!(lscpu);
    let text = serde_json::to_string_pretty(&document)?;
    fs::write(out.join("peers.json"), text + "\n")?;
    println!("written to {}", out.display());
    Ok(report.is_good())
}

fn wants(options: &Options, work: Work) -> bool {
    options.work.is_empty() || options.work.contains(&work)
}

/// The networks that are wanted.
fn chosen(options: &Options) -> Result<Vec<&'static str>> {
    let known: Vec<&str> = rows::networks().collect();
    if let Some(other) = options.models.iter().find(|m| !known.contains(&m.as_str())) {
        bail!("{other} is not compared; there are {}", known.join(", "));
    }
    if options.models.is_empty() && options.quick {
        return Ok(vec![rows::EXPLAINED]);
    }
    let wanted =
        |name: &&str| options.models.is_empty() || options.models.iter().any(|m| m == name);
    Ok(known.into_iter().filter(wanted).collect())
}

/// The programs and where they meet.
struct Arena {
    limpid: PathBuf,
    python: PathBuf,
    folder: PathBuf,
    threads: usize,
    rounds: u32,
    workers: BTreeMap<Peer, Worker>,
}

impl Arena {
    /// What is to be measured, a network after the other.
    fn groups(&self, options: &Options, names: &[&'static str]) -> Vec<Group> {
        let least = if options.quick { 0.0 } else { LEAST };
        let input = self.folder.join("input.f32");
        let request =
            |name: &str| json!({"model": self.folder.join(name), "input": input, "least": least});
        let batches: &[usize] = if options.quick { &[8] } else { &[8, 1] };
        let mut groups = Vec::new();
        for name in names {
            for &batch in batches {
                if wants(options, Work::Gradient) {
                    groups.push(rows::gradient(name, &request(name), batch));
                }
                if wants(options, Work::Forward) {
                    groups.push(rows::forward(name, &request(name), batch));
                }
            }
        }
        let there = names.contains(&rows::EXPLAINED);
        if wants(options, Work::Blurs) && there {
            groups.push(rows::blurs(&request(rows::EXPLAINED)));
        }
        if wants(options, Work::Explain) && there {
            let gradients = if options.quick { 48 } else { 200 };
            groups.push(rows::smoothed(&request(rows::EXPLAINED), gradients));
            groups.extend(rows::libraries(&request(rows::EXPLAINED)));
        }
        groups
    }

    /// The program, started where it is not running yet.
    fn worker(&mut self, peer: Peer) -> Result<&mut Worker> {
        if !self.workers.contains_key(&peer) {
            let script = |name| python::script(&self.python, name, self.threads);
            let threads = self.threads.to_string();
            let (name, mut command) = match peer {
                Peer::Limpid => {
                    let mut command = Command::new(&self.limpid);
                    command.args(["bench", "worker", "--threads"]);
                    ("limpid", command)
                }
                Peer::Torch => ("torch_peer", script("torch_peer.py")),
                Peer::Onnxruntime => ("onnxruntime_peer", script("onnxruntime_peer.py")),
                Peer::Blur => ("blur_peer", script("blur_peer.py")),
                Peer::Explain => ("explain_peer", script("explain_peer.py")),
            };
            command.arg(threads);
            let log = self.folder.join(name).with_extension("log");
            self.workers
                .insert(peer, Worker::start(name, command, &log)?);
        }
        self.workers.get_mut(&peer).context("no worker")
    }

    /// Prepares the contestants of a group, compares what they put out, and
    /// lets them take turns.
    fn measure(&mut self, group: Group) -> Result<Measured> {
        let mut samples = Vec::new();
        let mut requests = Vec::new();
        for (i, contestant) in group.contestants.iter().enumerate() {
            let mut request = contestant.request.clone();
            let output = self.folder.join(format!("output-{i}.f32"));
            request["output"] = json!(output);
            // What was put out before is another group's.
            fs::remove_file(&output).ok();
            let first = self.worker(contestant.peer)?.ask(&request)?;
            requests.push(request);
            samples.push(Samples {
                seconds: Vec::new(),
                failure: first.err(),
                distance: None,
            });
        }
        let output = |i: usize| read(&self.folder.join(format!("output-{i}.f32")));
        if let Some(expected) = output(0) {
            for (i, sample) in samples.iter_mut().enumerate() {
                sample.distance = output(i).map(|found| statistics::distance(&found, &expected));
            }
        }
        for (i, bound) in &group.same {
            let sample = &mut samples[*i];
            if sample.failure.is_some() {
                continue;
            }
            // No output at all is another one as well.
            let distance = sample.distance.unwrap_or(f64::INFINITY);
            if distance > *bound {
                sample.failure = Some(format!(
                    "it computes something else: a relative distance of {distance:.2e}, over {bound:.0e}"
                ));
            }
        }
        for _ in 0..self.rounds {
            for (i, contestant) in group.contestants.iter().enumerate() {
                if samples[i].failure.is_some() {
                    continue;
                }
                thread::sleep(PAUSE);
                match self.worker(contestant.peer)?.ask(&requests[i])? {
                    Ok(seconds) => samples[i].seconds.push(seconds),
                    Err(failure) => samples[i].failure = Some(failure),
                }
            }
        }
        Ok(Measured { group, samples })
    }

    /// What `limpid bench start` says.
    fn start(&self, runs: u32) -> Result<Value> {
        println!("\nfrom the start of the process to an overlay on disk");
        let output = Command::new(&self.limpid)
            .args([
                "bench",
                "start",
                "--json",
                "--threads",
                &self.threads.to_string(),
            ])
            .args(["--runs", &runs.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start limpid")?;
        ensure!(output.status.success(), "limpid bench start failed");
        serde_json::from_slice(&output.stdout).context("limpid wrote no valid JSON")
    }
}

/// The numbers of a file of little-endian float32.
fn read(path: &Path) -> Option<Vec<f32>> {
    let bytes = fs::read(path).ok()?;
    let values = bytes.chunks_exact(4);
    Some(
        values
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
    )
}

/// How many gradients of joint sampling have the error of nested loops, by the
/// loops' name, such as 10x20.
fn gradients(file: Option<&Path>) -> Result<Vec<(String, f64)>> {
    let Some(file) = file.map(Path::to_path_buf).or_else(newest_sampling) else {
        return Ok(Vec::new());
    };
    let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let document: Value = serde_json::from_slice(&text)
        .with_context(|| format!("{} is no valid JSON", file.display()))?;
    Ok(equal_error(&document).unwrap_or_default())
}

/// The `sampling.json` of the last run that has one.
fn newest_sampling() -> Option<PathBuf> {
    let runs = fs::read_dir(cargo::root().join("benches/runs")).ok()?;
    let files = runs.filter_map(|run| Some(run.ok()?.path().join("sampling.json")));
    files.filter(|file| file.exists()).max()
}

/// Of the one picture of a `sampling.json`.
fn equal_error(document: &Value) -> Option<Vec<(String, f64)>> {
    let picture = document.as_object()?.values().next()?;
    let mean = |of: &Value| {
        let errors: Vec<f64> = of["error"]
            .as_array()?
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        Some(errors.iter().sum::<f64>() / errors.len() as f64)
    };
    let joint = picture["joint"].as_object()?.iter();
    let joint = joint.map(|(count, of)| Some((count.parse().ok()?, mean(of)?)));
    let joint: Vec<(f64, f64)> = joint.collect::<Option<_>>()?;
    let nested = picture["nested"].as_object()?.iter();
    let crossing = |(name, of): (&String, &Value)| {
        Some((name.clone(), statistics::crossing(&joint, mean(of)?)?))
    };
    nested.map(crossing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_of_equal_error() {
        let joint = json!({"100": {"error": [0.3, 0.5]}, "400": {"error": [0.2]}});
        let nested = json!({"10x20": {"error": [0.4, 0.4]}, "20x20": {"error": [0.2]}});
        let document = json!({"a picture": {"joint": joint, "nested": nested}});
        let found = equal_error(&document).unwrap();
        let expected = [("10x20", 100.0), ("20x20", 400.0)];
        for ((name, count), (expected, exactly)) in found.iter().zip(expected) {
            assert_eq!(name, expected);
            assert!((count / exactly - 1.0).abs() < 1e-12);
        }
        assert_eq!(equal_error(&json!({"a picture": {}})), None);
    }
}
