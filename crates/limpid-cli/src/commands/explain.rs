use super::shared_scale::SharedScale;
use crate::console::{self, Outcome, Reporter};
use crate::folder::OutFolder;
use crate::inputs::{self, Picture};
use crate::loader::{self, Loaded};
use crate::options::{Common, Format, Scale};
use crate::selection::{self, Param};
use crate::{commands, interrupt, plugins};
use clap::Args;
use limpid::{
    ExplainError, Explainer, Explanation, Image, Input, Manifest, ResolvedTarget, RunOptions,
    Session, Target,
};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Show what the model looks at in pictures.
#[derive(Args)]
#[command(after_help = "\
Results are named <picture>.<method>.<class index>.png, .npy and .json, with
+smoothgrad after the method where it is smoothed, and .stderr.npy for the
standard error where one is estimated; what is found in a folder keeps its place
below --out. A plugin's are named <picture>.<plugin>.<method>.<class index>.

Examples:
  limpid explain photo.jpg
  limpid explain photos/ --target top:3 --format png,json
  limpid explain photo.jpg --method grad-cam,blur-ig --smooth 10 --param steps=20
  limpid explain photo.jpg --plugin acme/libacme.so --method acme/edges --isolate")]
pub(crate) struct Options {
    /// Pictures, arrays (.npy, [C,H,W] float32, taken as the normalised
    /// input), and folders, which are searched for both
    #[arg(value_name = "IMAGE|DIR", required = true)]
    inputs: Vec<PathBuf>,

    /// The methods; `limpid methods` lists them and their parameters
    #[arg(
        long = "method",
        value_name = "NAME[,NAME...]",
        value_delimiter = ',',
        default_value = "grad-cam"
    )]
    methods: Vec<String>,

    /// What to explain: top1, the best class; top:K, a map for each of the K
    /// best; an index; a label, whole or one of its synonyms, case ignored;
    /// "A vs B", why A rather than B; probability:T, the probability in place
    /// of the score; tags or tags:P, each tag that is probable (at least P).
    /// Several --target make a map for each
    #[arg(
        long = "target",
        value_name = "T",
        default_value = "top1",
        value_parser = target
    )]
    targets: Vec<String>,

    /// Average gradient methods over N noisy copies of the picture; sums along a
    /// path take 200 gradients, each with a copy of its own, unless evaluations,
    /// tolerance or steps say otherwise; other methods are left alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    smooth: Option<u64>,

    /// A parameter: steps=20 goes to each method of --method that has steps,
    /// blur-ig.steps=20 to one
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = Param::parse)]
    params: Vec<Param>,

    /// The files to write for each map: the overlay, the raw map (float32),
    /// the manifest
    #[arg(
        long = "format",
        value_name = "png,npy,json",
        value_enum,
        value_delimiter = ',',
        default_value = "png",
        help_heading = "Options of every run",
        hide_possible_values = true
    )]
    formats: Vec<Format>,

    /// The colour scale of overlays: each map's own, or one for all maps of a
    /// method, which are drawn at the end then
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
    common: Common,

    /// Say at the end, on standard error, how much memory was used at most
    #[arg(long, hide = true)]
    report_peak: bool,
}

/// What all pictures of a call have in common.
struct Run<'a> {
    options: &'a Options,
    session: &'a Session,
    methods: &'a [Box<dyn Explainer>],
    targets: &'a [Target],
    cancel: &'a AtomicBool,
    reporter: &'a Reporter,
    shared: Option<RefCell<SharedScale>>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let all = options
        .plugins
        .methods(&options.methods, &options.common.machine)?;
    let selection = selection::select(&all, &options.methods, &options.params, options.smooth)?;
    let out = &options.common.out;
    let found = inputs::find(&options.inputs, out);
    inputs::check_names(&found.pictures)?;
    let cancel = interrupt::catch()?;
    let reporter = Reporter::new(options.common.json);
    for note in selection.notes.iter().chain(&found.notes) {
        reporter.note(note);
    }
    for (folder, error) in &found.failures {
        reporter.failure(folder, error)?;
    }
    if found.pictures.is_empty() {
        return Ok(reporter.finish());
    }
    let _folder = OutFolder::prepare(out)?;
    thread::scope(|scope| {
        // The first picture is decoded while the model is opened.
        let loaded = loader::start(scope, &found.pictures);
        let session = options.common.machine.session()?;
        let run = Run {
            options,
            session: &session,
            methods: &selection.methods,
            targets: &known_targets(&session, &options.targets)?,
            cancel,
            reporter: &reporter,
            shared: match options.scale {
                Scale::Shared => Some(RefCell::new(SharedScale::new(out)?)),
                Scale::Own => None,
            },
        };
        for (i, (picture, loaded)) in loaded.iter().enumerate() {
            if cancel.load(Ordering::Relaxed) {
                break;
            }
            let place = format!("{}/{}", i + 1, found.pictures.len());
            let done = loaded
                .map_err(|e| limpid::Error::from(e).into())
                .and_then(|loaded| run.picture(picture, &loaded, &place));
            if let Err(error) = done {
                reporter.failure(&picture.path, &error)?;
            }
        }
        if let Some(shared) = run.shared {
            let failed = |path: &Path, error: &_| reporter.failure(path, error);
            shared.into_inner().draw(&session, failed)?;
        }
        anyhow::Ok(())
    })?;
    if options.report_peak {
        commands::bench::report_peak();
    }
    Ok(match cancel.load(Ordering::Relaxed) {
        true => reporter.interrupted(interrupt::KEPT),
        false => reporter.finish(),
    })
}

/// What `--target` takes; whether the model has such a class shows later.
pub(super) fn target(text: &str) -> Result<String, String> {
    match text.strip_prefix("top:") {
        Some(k) if k.bytes().all(|b| b == b'0') || !k.bytes().all(|b| b.is_ascii_digit()) => {
            Err("K of top:K must be a whole number and at least 1, as in top:3".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

/// The targets, once it is known that the model has such classes: they are the
/// same for all pictures.
pub(super) fn known_targets(session: &Session, texts: &[String]) -> anyhow::Result<Vec<Target>> {
    let targets: Vec<Target> = texts.iter().map(|t| Target::parse(t)).collect();
    let classes: Vec<f32> = (0..session.model().labels().len())
        .map(|i| i as f32)
        .collect();
    for target in &targets {
        match session.resolve(target, &classes) {
            // What depends on the picture shows when there is one.
            Ok(_) | Err(limpid::Error::SameClass { .. } | limpid::Error::NoProbableTag { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(targets)
}

impl Run<'_> {
    /// Explains a picture by each method; one that fails does not keep the
    /// others from it.
    fn picture(&self, picture: &Picture, loaded: &Loaded, place: &str) -> anyhow::Result<()> {
        let input = loader::input(self.session, loaded)?;
        let logits = self.session.logits(&input)?;
        let image = match self.options.formats.contains(&Format::Png) {
            true => Some(loader::drawable(self.session, loaded)?),
            false => None,
        };
        let mut targets: Vec<ResolvedTarget> = Vec::new();
        for target in self.targets {
            for found in self.session.resolve(target, &logits)? {
                // Two targets may mean the same class of this picture.
                if !targets.iter().any(|t| t.slug() == found.slug()) {
                    targets.push(found);
                }
            }
        }
        for method in self.methods {
            let label = format!("{} {}", picture.path.display(), method.id());
            self.reporter.bar.label(place.to_owned(), &label);
            let done = self.explain(&input, &**method, &targets).and_then(|maps| {
                maps.into_iter()
                    .try_for_each(|map| self.write(picture, image.as_ref(), map))
            });
            match done {
                Err(error) if is_cancelled(&error) => return Ok(()),
                Err(error) => self.reporter.failure(&picture.path, &error)?,
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn explain(
        &self,
        input: &Input,
        method: &dyn Explainer,
        targets: &[ResolvedTarget],
    ) -> anyhow::Result<Vec<Explanation>> {
        let bar = &self.reporter.bar;
        let options = RunOptions {
            seed: self.options.common.machine.seed,
            progress: Some(&|p| bar.set(p.done, p.total)),
            note: Some(&|text| bar.note(text)),
            cancel: Some(self.cancel),
        };
        let maps = self
            .session
            .explain_targets(input, method, targets, &options)?;
        Ok(maps)
    }

    /// Writes a map's files and tells of it.
    fn write(
        &self,
        picture: &Picture,
        image: Option<&Image>,
        mut map: Explanation,
    ) -> anyhow::Result<()> {
        let suffix = map.file_suffix();
        let wanted = |f| self.options.formats.contains(&f);
        let kinds = [
            (Format::Png, "png"),
            (Format::Npy, "npy"),
            (Format::Json, "json"),
        ];
        let files: Vec<(Format, PathBuf)> = kinds
            .into_iter()
            .filter(|(format, _)| wanted(*format))
            .map(|(format, ending)| (format, picture.result(&format!("{suffix}.{ending}"))))
            .collect();
        map.manifest_mut().files = files.iter().map(|(_, name)| slashes(name)).collect();
        let error = match map.standard_error_npy() {
            Some(bytes) if wanted(Format::Npy) => {
                Some((picture.result(&format!("{suffix}.stderr.npy")), bytes?))
            }
            _ => None,
        };
        if let Some((name, bytes)) = &error {
            let manifest = map.manifest_mut();
            manifest.files.push(slashes(name));
            if let Some(estimate) = &mut manifest.standard_error {
                estimate.file = Some(slashes(name));
            }
            interrupt::write(&self.options.common.out.join(name), bytes)
                .map_err(limpid::Error::from)?;
        }
        for (format, name) in &files {
            if let (Format::Png, Some(shared)) = (format, &self.shared) {
                let path = self.options.common.out.join(name);
                shared.borrow_mut().add(picture, &map, path)?;
                continue;
            }
            let bytes = match (format, image) {
                (Format::Png, Some(image)) => map.overlay(image)?.png()?,
                (Format::Npy, _) => map.npy()?,
                (Format::Json, _) => {
                    let mut text = serde_json::to_vec_pretty(map.manifest())?;
                    text.push(b'\n');
                    text
                }
                (Format::Png, None) => continue,
            };
            interrupt::write(&self.options.common.out.join(name), &bytes)
                .map_err(limpid::Error::from)?;
        }
        let text = || self.text(picture, map.manifest(), &map.method());
        self.reporter.result(map.manifest(), text)
    }

    /// A map in a line for people.
    fn text(&self, picture: &Picture, m: &Manifest, method: &str) -> String {
        let mut text = format!(
            "{}: {method} for {} {} ({:.1} %)",
            picture.path.display(),
            m.target.index,
            m.target.label,
            100.0 * m.probability
        );
        if let Some(other) = &m.target.against {
            let _ = write!(text, " rather than {} {}", other.index, other.label);
        }
        if let Some(error) = &m.standard_error {
            let _ = write!(text, ", standard error {:.1} %", 100.0 * error.relative);
        }
        if let Some(c) = m.completeness {
            let _ = write!(text, ", gap {:+.3} of {:.3}", c.gap, c.expected);
        }
        let out = self.options.common.out.display();
        let files: Vec<String> = m.files.iter().map(|f| format!("{out}/{f}")).collect();
        let _ = write!(text, " -> {}", files.join(", "));
        console::clean(&text) + "\n"
    }
}

/// A relative path as manifests spell it on every system.
fn slashes(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|p| p.to_string_lossy()).collect();
    parts.join("/")
}

pub(super) fn is_cancelled(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<limpid::Error>(),
        Some(limpid::Error::Explain(ExplainError::Cancelled))
    )
}
