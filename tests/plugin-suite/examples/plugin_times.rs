//! Built-in methods and their plugins, timed in turn: `plugin_times ROUNDS
//! THREADS PHOTO` writes every sample as JSON. `cargo xtask bench plugins` runs
//! it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use limpid::methods::{self, MethodInfo};
use limpid::plugins::Plugin;
use limpid::{Device, Explainer, Image, Input, Model, ResolvedTarget, RunOptions, Session, Target};
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::error::Error;
use std::time::Instant;

/// The least seconds of a sample.
const LEAST: f64 = 0.2;

/// A method with its family, parameters and draws of noise.
type Work = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    Option<u64>,
);

const WORK: [Work; 6] = [
    ("gradient", "gradient", &[], None),
    ("blur-ig", "path", &[("steps", "16")], None),
    ("blur-ig", "path", &[("evaluations", "64")], Some(25)),
    ("grad-cam", "cam", &[], None),
    ("score-cam", "cam", &[("channels", "64")], None),
    ("rise", "perturbation", &[("masks", "64")], None),
];

/// What is explained.
struct Subject {
    session: Session,
    input: Input,
    targets: Vec<ResolvedTarget>,
}

impl Subject {
    fn new(photo: &str, threads: usize) -> Result<Self, Box<dyn Error>> {
        let session = Model::embedded()?.session(Device::cpu(Some(threads))?)?;
        let input = session.input(&Image::open(photo)?)?;
        let targets = session.resolve(&Target::Top(1), &session.logits(&input)?)?;
        Ok(Self {
            session,
            input,
            targets,
        })
    }

    /// The map's bits.
    fn explain(&self, method: &dyn Explainer) -> Result<Vec<u32>, limpid::Error> {
        let (options, targets) = (RunOptions::default(), &self.targets);
        let maps = self
            .session
            .explain_targets(&self.input, method, targets, &options)?;
        let values = maps.iter().flat_map(|m| m.attribution().map.data());
        Ok(values.map(|v| v.to_bits()).collect())
    }

    /// Seconds of one map.
    fn time(&self, method: &dyn Explainer, repeats: u32) -> Result<f64, limpid::Error> {
        let start = Instant::now();
        for _ in 0..repeats {
            self.explain(method)?;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(repeats))
    }
}

/// The same method of the family's plugin, which cargo has built with this.
fn of_plugin(family: &str, id: &str) -> Result<MethodInfo, Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(|f| f.parent()).ok_or("no folder")?;
    let file = format!("{DLL_PREFIX}limpid_plugin_{family}{DLL_SUFFIX}");
    let plugin = Plugin::load(&folder.join("deps").join(file), None)?;
    let id = format!("{}/{id}", plugin.id());
    Ok(methods::find(&plugin.methods(), &id)?.clone())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rounds, threads, photo] = &arguments[..] else {
        return Err("plugin_times ROUNDS THREADS PHOTO".into());
    };
    let rounds: usize = rounds.parse()?;
    let subject = Subject::new(photo, threads.parse()?)?;
    let mut groups = Vec::new();
    for (id, family, params, smooth) in WORK {
        let built_in = methods::info(id)?.build(params, smooth)?;
        let plugin = of_plugin(family, id)?.build(params, smooth)?;
        if subject.explain(&*built_in)? != subject.explain(&*plugin)? {
            return Err(format!("{id}: the plugin's map is another").into());
        }
        let once = subject.time(&*built_in, 1)?;
        let repeats = (LEAST / once).ceil().clamp(1.0, 1000.0) as u32;
        let mut seconds = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            // Who comes first changes with each round.
            for side in [round % 2, 1 - round % 2] {
                let method = [&built_in, &plugin][side];
                seconds[side].push(subject.time(&**method, repeats)?);
            }
        }
        let mut name = id.to_owned();
        for (key, value) in params {
            name += &format!(" {key}={value}");
        }
        if let Some(draws) = smooth {
            name += &format!(" --smooth {draws}");
        }
        eprintln!("{name}: {rounds} rounds of {repeats} maps");
        let [built_in, plugin] = seconds;
        groups.push(format!(
            r#"{{"method": "{name}", "maps_a_sample": {repeats}, "built_in": {built_in:?}, "plugin": {plugin:?}}}"#
        ));
    }
    println!("[{}]", groups.join(",\n"));
    Ok(())
}
