mod html;
mod masks;
mod sheet;

use super::explain;
use crate::console::{self, Outcome, Reporter, Usage};
use crate::folder::OutFolder;
use crate::inputs::{self, Picture};
use crate::loader::{self, Loaded};
use crate::options::{Machine, Scale};
use crate::selection::{self, Param};
use crate::{interrupt, plugins};
use clap::Args;
use limpid::metrics::{self, Metric, Needs};
use limpid::{Evaluation, PictureResult, Report, RunOptions, Session, Target, render};
use masks::{Masks, RegionName};
use sheet::Sheet;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The metrics where none are named, without and with masks.
const METRICS: [&str; 4] = ["insertion", "deletion", "road", "completeness"];
const REGION_METRICS: [&str; 2] = ["attribution-share", "pointing-game"];

/// Measure how good the maps of methods are.
#[derive(Args)]
#[command(after_help = metrics_help())]
pub(crate) struct Options {
    /// Pictures, arrays (.npy, [C,H,W] float32, taken as the normalised
    /// input), and folders, which are searched for both
    #[arg(value_name = "IMAGE|DIR", required = true)]
    inputs: Vec<PathBuf>,

    /// The methods; `limpid methods` lists them and their parameters
    #[arg(
        long = "methods",
        alias = "method",
        value_name = "NAME[,NAME...]",
        value_delimiter = ',',
        default_value = "grad-cam"
    )]
    methods: Vec<String>,

    /// The metrics, or all [default: insertion,deletion,road,completeness; with
    /// --masks also attribution-share,pointing-game]
    #[arg(long, value_name = "NAME[,NAME...]", value_delimiter = ',')]
    metrics: Vec<String>,

    /// What to explain; as for `limpid explain`
    #[arg(long, value_name = "T", default_value = "top1", value_parser = explain::target)]
    target: String,

    /// Average gradient methods over N noisy copies of the picture; others are
    /// left alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    smooth: Option<u64>,

    /// A parameter: steps=20 goes to each method that has steps,
    /// blur-ig.steps=20 to one
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = Param::parse)]
    params: Vec<Param>,

    /// A folder of masks of the pictures' sizes: <picture>.png, where what is
    /// not black is the region `object`, and <picture>.<region>.png; those of a
    /// walked folder's pictures are in the same place below DIR
    #[arg(long, value_name = "DIR")]
    masks: Option<PathBuf>,

    /// What the grey values of <picture>.png mean; also a file masks.json in the
    /// folder of masks, {"1": "object", "2": "face"}
    #[arg(
        long,
        value_name = "VALUE=NAME[,...]",
        value_delimiter = ',',
        value_parser = RegionName::parse,
        requires = "masks"
    )]
    regions: Vec<RegionName>,

    /// The reports, .json or .html
    #[arg(
        long = "out",
        value_name = "FILE.json|FILE.html",
        value_delimiter = ',',
        default_value = "limpid-out/report.json,limpid-out/report.html",
        value_parser = Output::parse
    )]
    outputs: Vec<Output>,

    /// The most results that the contact sheet of an .html report shows
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u64).range(0..=1000))]
    sheet: u64,

    /// The colour scale of the contact sheet: each map's own, or one for all
    /// maps of a method
    #[arg(
        long,
        value_name = "own|shared",
        value_enum,
        default_value = "own",
        hide_possible_values = true
    )]
    scale: Scale,

    #[command(flatten)]
    plugins: plugins::Chosen,

    #[command(flatten)]
    machine: Machine,

    /// Print one line of JSON for each result instead of text
    #[arg(long, help_heading = "Options of every run")]
    json: bool,
}

/// A report's file.
#[derive(Debug, Clone)]
struct Output {
    path: PathBuf,
    html: bool,
}

impl Output {
    fn parse(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let html = match path.extension().and_then(|e| e.to_str()) {
            Some(e) if e.eq_ignore_ascii_case("html") => true,
            Some(e) if e.eq_ignore_ascii_case("json") => false,
            _ => return Err("a report is a file that ends in .json or .html".to_owned()),
        };
        Ok(Self { path, html })
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }
}

fn metrics_help() -> String {
    let rows: Vec<Vec<String>> = metrics::all()
        .iter()
        .map(|m| vec![format!("  {}", m.id()), m.summary().to_owned()])
        .collect();
    format!(
        "Metrics:\n{}\nExamples:\n  limpid evaluate photos/ --methods grad-cam,blur-ig --smooth 10\n  limpid evaluate photos/ --methods grad-cam --masks masks/ --out report.html",
        console::table(&rows, &[])
    )
}

/// The metrics of a call.
fn selected(options: &Options) -> anyhow::Result<Vec<Box<dyn Metric>>> {
    let masks = options.masks.is_some();
    let names: Vec<&str> = match &options.metrics[..] {
        [] if masks => METRICS.into_iter().chain(REGION_METRICS).collect(),
        [] => METRICS.to_vec(),
        [all] if all == "all" => {
            let all = metrics::all().into_iter();
            return Ok(all
                .filter(|m| masks || m.needs() != Needs::Regions)
                .collect());
        }
        names => names.iter().map(String::as_str).collect(),
    };
    if let Some(twice) = (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
        return Err(Usage(format!("{} is named twice by --metrics", names[twice])).into());
    }
    let mut selected = Vec::new();
    for name in names {
        let metric = metrics::metric(name).map_err(limpid::Error::from)?;
        if metric.needs() == Needs::Regions && !masks {
            let message = format!("{name} compares maps with masks: give --masks DIR");
            return Err(Usage(message).into());
        }
        selected.push(metric);
    }
    Ok(selected)
}

/// What all pictures of a call have in common.
struct Run<'a> {
    session: &'a Session,
    target: Target,
    masks: Option<&'a Masks>,
    cancel: &'a AtomicBool,
    reporter: &'a Reporter,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let all = options
        .plugins
        .methods(&options.methods, &options.machine)?;
    let selection = selection::select(&all, &options.methods, &options.params, options.smooth)?;
    let metrics = selected(options)?;
    let masks = options.masks.as_deref();
    let masks = masks
        .map(|folder| Masks::open(folder, &options.regions))
        .transpose()?;
    let folders: BTreeSet<&Path> = options.outputs.iter().map(Output::folder).collect();
    let first = options
        .outputs
        .first()
        .map_or(Path::new("."), Output::folder);
    let found = inputs::find(&options.inputs, first);
    let cancel = interrupt::catch()?;
    let reporter = Reporter::new(options.json);
    for note in selection.notes.iter().chain(&found.notes) {
        reporter.note(note);
    }
    for (folder, error) in &found.failures {
        reporter.failure(folder, error)?;
    }
    if found.pictures.is_empty() {
        return Ok(reporter.finish());
    }
    let _folders = folders
        .into_iter()
        .map(OutFolder::prepare)
        .collect::<anyhow::Result<Vec<_>>>()?;
    thread::scope(|scope| {
        // The first picture is decoded while the model is opened.
        let loaded = loader::start(scope, &found.pictures);
        let session = options.machine.session()?;
        let target = explain::known_targets(&session, std::slice::from_ref(&options.target))?;
        let run = Run {
            session: &session,
            target: target.into_iter().next().unwrap_or(Target::Top(1)),
            masks: masks.as_ref(),
            cancel,
            reporter: &reporter,
        };
        let seed = options.machine.seed;
        let mut evaluation = Evaluation::new(&session, &selection.methods, &metrics, seed);
        for (folder, error) in &found.failures {
            evaluation.failed(folder.display().to_string(), error.to_string());
        }
        let wanted = options.outputs.iter().any(|o| o.html);
        let room = if wanted { options.sheet as usize } else { 0 };
        let mut sheet = Sheet::new(room, options.scale);
        for (i, (picture, loaded)) in loaded.iter().enumerate() {
            if cancel.load(Ordering::Relaxed) {
                break;
            }
            let place = format!("{}/{}", i + 1, found.pictures.len());
            let path = picture.path.display().to_string();
            reporter.bar.label(place, &path);
            let done = loaded
                .map_err(|e| limpid::Error::from(e).into())
                .and_then(|loaded| run.picture(picture, &loaded, &mut evaluation, &mut sheet));
            match done {
                Ok(()) => {}
                Err(error) if explain::is_cancelled(&error) => break,
                Err(error) => {
                    reporter.failure(&picture.path, &error)?;
                    evaluation.failed(path, error.to_string());
                }
            }
        }
        let report = evaluation.report();
        if report.pictures.is_empty() {
            return Ok(());
        }
        for output in &options.outputs {
            let text = match output.html {
                true => html::page(&report, &sheet)?,
                false => serde_json::to_string_pretty(&report)? + "\n",
            };
            interrupt::write(&output.path, text.as_bytes()).map_err(limpid::Error::from)?;
        }
        if !options.json {
            console::print(&conclusion(&report, &options.outputs))?;
        }
        anyhow::Ok(())
    })?;
    Ok(match cancel.load(Ordering::Relaxed) {
        true => reporter.interrupted(interrupt::KEPT),
        false => reporter.finish(),
    })
}

impl Run<'_> {
    /// Measures a picture.
    fn picture(
        &self,
        picture: &Picture,
        loaded: &Loaded,
        evaluation: &mut Evaluation<'_>,
        sheet: &mut Sheet,
    ) -> anyhow::Result<()> {
        let input = loader::input(self.session, loaded)?;
        let regions = match self.masks {
            Some(masks) => masks.regions(picture)?,
            None => Vec::new(),
        };
        if let Some(masks) = self.masks.filter(|_| regions.is_empty()) {
            let (folder, path) = (masks.folder().display(), picture.path.display());
            self.reporter
                .note(&format!("{path}: the folder {folder} has no mask of it"));
        }
        let bar = &self.reporter.bar;
        let options = RunOptions {
            progress: Some(&|p| bar.set(p.done, p.total)),
            note: Some(&|text| bar.note(text)),
            cancel: Some(self.cancel),
            ..RunOptions::default()
        };
        for evaluated in evaluation.picture(&input, &self.target, &regions, &options)? {
            self.tell(picture, &evaluated.result)?;
            if sheet.has_room() {
                let seen = loader::seen(self.session, loaded, &input)?;
                sheet.add(seen, &evaluated)?;
            }
        }
        Ok(())
    }

    /// Tells of a result; a method that failed is told as a failure.
    fn tell(&self, picture: &Picture, result: &PictureResult) -> anyhow::Result<()> {
        for method in &result.results {
            if let Some(error) = &method.error {
                let error = anyhow::anyhow!("{}: {error}", method.method);
                self.reporter.failure(&picture.path, &error)?;
            }
        }
        self.reporter.result(result, || {
            let mut text = picture.path.display().to_string();
            if let Some(target) = &result.target {
                let _ = write!(text, ": {} {}", target.index, target.label);
            }
            let mut text = console::clean(&text) + "\n";
            for method in result.results.iter().filter(|m| m.error.is_none()) {
                let numbers: Vec<String> = method
                    .metrics
                    .iter()
                    .map(|(name, value)| match value {
                        Some(value) => format!("{name} {}", render::format_value(*value)),
                        None => format!("{name} -"),
                    })
                    .collect();
                let _ = writeln!(text, "  {}: {}", method.method, numbers.join(", "));
            }
            text
        })
    }
}

/// The means over all pictures, as a table for people.
fn conclusion(report: &Report, outputs: &[Output]) -> String {
    let names = report.summary.iter().map(|s| s.method.clone());
    let mut rows = vec![[String::new()].into_iter().chain(names).collect::<Vec<_>>()];
    for (i, (name, _)) in report.metrics.iter().enumerate() {
        let best = report.best(name);
        let cells = report.summary.iter().map(|method| {
            let (_, found) = &method.metrics[i];
            let mark = if best.contains(&&*method.method) {
                " *"
            } else {
                ""
            };
            match (found.mean, found.standard_error) {
                (Some(mean), Some(error)) => format!(
                    "{} \u{b1} {}{mark}",
                    render::format_value(mean),
                    render::format_value(error)
                ),
                (Some(mean), None) => format!("{}{mark}", render::format_value(mean)),
                (None, _) => "-".to_owned(),
            }
        });
        rows.push([name.clone()].into_iter().chain(cells).collect());
    }
    let costs = report.summary.iter().map(|s| match s.seconds {
        Some(seconds) => format!("{seconds:.2}"),
        None => "-".to_owned(),
    });
    rows.push(
        ["seconds a map".to_owned()]
            .into_iter()
            .chain(costs)
            .collect(),
    );
    let files: Vec<String> = outputs
        .iter()
        .map(|o| o.path.display().to_string())
        .collect();
    let files = console::clean(&files.join(", "));
    format!("\n{}-> {files}\n", console::table(&rows, &[]))
}
