use crate::console::{self, Outcome, Reporter};
use crate::folder::OutFolder;
use crate::options::Common;
use crate::{inputs, interrupt, loader};
use clap::{Args, ValueEnum};
use limpid::{Prediction, render};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;

/// Say what the model takes pictures for.
#[derive(Args)]
pub(crate) struct Options {
    /// Pictures, arrays (.npy, [C,H,W] float32, taken as the normalised
    /// input), and folders, which are searched for both
    #[arg(value_name = "IMAGE|DIR", required = true)]
    inputs: Vec<PathBuf>,

    /// The number of classes to name
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    top: u64,

    /// Also write files: npy stands for logits.npy, [N,classes] float32, and
    /// images.json, the order of its rows
    #[arg(
        long = "format",
        value_name = "npy",
        value_enum,
        value_delimiter = ',',
        help_heading = "Options of every run",
        hide_possible_values = true
    )]
    formats: Vec<Format>,

    #[command(flatten)]
    common: Common,
}

/// A kind of file that `predict` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Logits and their order
    Npy,
}

#[derive(Serialize)]
struct Top<'a> {
    image: &'a str,
    top: &'a [Prediction],
}

/// The logits so far, and whose they are.
#[derive(Default)]
struct Rows {
    logits: Vec<f32>,
    images: Vec<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let common = &options.common;
    let found = inputs::find(&options.inputs, &common.out);
    let cancel = interrupt::catch()?;
    let reporter = Reporter::new(common.json);
    for note in &found.notes {
        reporter.note(note);
    }
    for (folder, error) in &found.failures {
        reporter.failure(folder, error)?;
    }
    if found.pictures.is_empty() {
        return Ok(reporter.finish());
    }
    let keep = options.formats.contains(&Format::Npy);
    let _folder = match keep {
        true => Some(OutFolder::prepare(&common.out)?),
        false => None,
    };
    let top = usize::try_from(options.top).unwrap_or(usize::MAX);
    let total = found.pictures.len();
    thread::scope(|scope| {
        // The first picture is decoded while the model is opened.
        let loaded = loader::start(scope, &found.pictures);
        let session = common.machine.session()?;
        let mut rows = Rows::default();
        for (i, (picture, loaded)) in loaded.iter().enumerate() {
            if cancel.load(Ordering::Relaxed) {
                break;
            }
            let image = picture.path.display().to_string();
            reporter.bar.label("predict".to_owned(), &image);
            reporter.bar.set(i as u64, total as u64);
            let logits = loaded
                .map_err(|e| limpid::Error::from(e).into())
                .and_then(|loaded| loader::input(&session, &loaded))
                .and_then(|input| Ok(session.logits(&input)?));
            let logits = match logits {
                Ok(logits) => logits,
                Err(error) => {
                    reporter.failure(&picture.path, &error)?;
                    continue;
                }
            };
            let top = session.rank(&logits, top);
            let document = Top {
                image: &image,
                top: &top,
            };
            reporter.result(&document, || text(&image, &top))?;
            if keep {
                rows.logits.extend(&logits);
                rows.images.push(image);
            }
        }
        if keep {
            rows.write(&common.out, session.model().labels().len())?;
        }
        anyhow::Ok(())
    })?;
    Ok(match cancel.load(Ordering::Relaxed) {
        true => reporter.interrupted(interrupt::KEPT),
        false => reporter.finish(),
    })
}

impl Rows {
    fn write(&self, out: &std::path::Path, classes: usize) -> anyhow::Result<()> {
        let npy = render::encode_npy(&[self.images.len(), classes], &self.logits)
            .map_err(limpid::Error::from)?;
        let mut images = serde_json::to_vec_pretty(&self.images)?;
        images.push(b'\n');
        for (name, bytes) in [("logits.npy", npy), ("images.json", images)] {
            interrupt::write(&out.join(name), &bytes).map_err(limpid::Error::from)?;
        }
        Ok(())
    }
}

/// A picture's classes for people.
fn text(image: &str, top: &[Prediction]) -> String {
    let rows: Vec<Vec<String>> = top
        .iter()
        .map(|p| {
            vec![
                format!("  {:.2} %", 100.0 * p.probability),
                format!("score {:.3}", p.score),
                p.index.to_string(),
                p.label.clone(),
            ]
        })
        .collect();
    let table = console::table(&rows, &[true, true, true, false]);
    format!("{}\n{table}", console::clean(image))
}
