use crate::console::{self, Outcome};
use crate::options::Machine;
use crate::plugins::{self, Named};
use clap::{Args, Subcommand};
use limpid::isolate::{IsolatedPlugin, Launcher};
use limpid::plugins::{Found, discover, install, pack};
use serde::Serialize;
use std::path::PathBuf;

/// List the plugins that are found, or pack one.
///
/// Each is loaded in a process of its own, so that one that crashes is listed as
/// such.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
A plugin is a folder with a library and its plugin.toml. Plugins are looked for in
  the files and folders of --plugin,
  the folders of LIMPID_PLUGIN_PATH, which must be absolute,
  limpid/plugins in the user's data folder (~/.local/share on Linux),
  plugins and ../lib/limpid/plugins beside this program,
and never in the current folder.

Examples:
  limpid plugins
  limpid plugins pack target/release/libacme.so --to ~/.local/share/limpid/plugins"
)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    named: Named,

    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    Pack(Pack),
}

/// Write a plugin's plugin.toml; its library is loaded for it, so trust it.
#[derive(Args)]
struct Pack {
    /// The library
    #[arg(value_name = "FILE")]
    library: PathBuf,

    /// Copy the library into the folder DIR/<plugin> first, which is made where
    /// it is missing [default: the library's own folder]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// A plugin as it is listed.
#[derive(Serialize)]
struct Entry {
    path: String,
    source: &'static str,
    id: Option<String>,
    version: Option<String>,
    abi: Option<String>,
    /// Those that can be used, as `<plugin>/<method>`.
    methods: Vec<String>,
    status: &'static str,
    reason: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    if let Some(Command::Pack(pack)) = &options.command {
        return packed(pack);
    }
    let launcher = plugins::launcher(&Machine::default())?;
    let found = discover(&options.named.files);
    let entries = found.iter().map(|found| entry(found, &launcher));
    if options.json {
        console::json(&entries.collect::<Vec<_>>())?;
        return Ok(Outcome::Good);
    }
    if found.is_empty() {
        console::print("no plugin was found; `limpid plugins --help` says where they belong\n")?;
    }
    for entry in entries {
        console::print(&text(&entry))?;
    }
    Ok(Outcome::Good)
}

fn packed(options: &Pack) -> anyhow::Result<Outcome> {
    let done = match &options.to {
        Some(folder) => install(&options.library, folder),
        None => pack(&options.library),
    };
    let (file, manifest) = done.map_err(limpid::Error::from)?;
    let methods = manifest.methods.iter();
    let methods: Vec<String> = methods.map(|m| format!("{}/{m}", manifest.id)).collect();
    let text = format!(
        "{} {} ({}): {} -> {}",
        manifest.id,
        manifest.version,
        manifest.library,
        methods.join(", "),
        file.display()
    );
    console::print(&(console::clean(&text) + "\n"))?;
    Ok(Outcome::Good)
}

fn entry(found: &Found, launcher: &Launcher) -> Entry {
    let mut entry = Entry {
        path: found.path.display().to_string(),
        source: found.source.name(),
        id: None,
        version: None,
        abi: None,
        methods: Vec::new(),
        status: "refused",
        reason: None,
    };
    let verified = match &found.verified {
        Ok(verified) => verified,
        Err(error) => {
            entry.reason = Some(error.to_string());
            return entry;
        }
    };
    let manifest = &verified.manifest;
    entry.id = Some(manifest.id.clone());
    entry.version = Some(manifest.version.clone());
    entry.abi = Some(manifest.abi.clone());
    match IsolatedPlugin::open(launcher, verified) {
        Ok(plugin) => {
            entry.status = "usable";
            entry.methods = plugin.methods().iter().map(|m| m.id.to_string()).collect();
            let refused = plugin.refused().iter();
            let refused = refused.map(|r| format!("{}/{}: {}", manifest.id, r.method, r.reason));
            let refused: Vec<String> = refused.collect();
            entry.reason = (!refused.is_empty()).then(|| refused.join("; "));
        }
        Err(error) => entry.reason = Some(error.to_string()),
    }
    entry
}

fn text(entry: &Entry) -> String {
    let head = match (&entry.id, &entry.version, &entry.abi) {
        (Some(id), Some(version), Some(abi)) => format!("{id} {version}, interface {abi}"),
        _ => "a plugin".to_owned(),
    };
    let row = |key: &str, value: &str| vec![format!("  {key}"), value.to_owned()];
    let mut rows = vec![row("path", &entry.path), row("found", entry.source)];
    if !entry.methods.is_empty() {
        rows.push(row("methods", &entry.methods.join(", ")));
    }
    if let Some(reason) = &entry.reason {
        rows.push(row("reason", reason));
    }
    let head = console::clean(&format!("{head}, {}", entry.status));
    format!("{head}\n{}", console::table(&rows, &[]))
}
