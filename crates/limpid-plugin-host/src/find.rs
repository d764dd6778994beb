//! Where plugins are looked for.

use crate::{MANIFEST, PluginError, Verified};
use std::collections::HashMap;
use std::env::consts::DLL_EXTENSION;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// How a plugin was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// It was named by the caller.
    Named,
    /// In a folder of the variable `LIMPID_PLUGIN_PATH`.
    Environment,
    /// In the user's data folder.
    User,
    /// Beside the program.
    Program,
}

impl Source {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Environment => "LIMPID_PLUGIN_PATH",
            Self::User => "user folder",
            Self::Program => "beside the program",
        }
    }
}

/// A plugin that was found.
#[derive(Debug)]
pub struct Found {
    /// The library; its folder, or the file that was named, where it is not known.
    pub path: PathBuf,
    /// How it was found.
    pub source: Source,
    /// What it is, or why it is not used.
    pub verified: Result<Verified, PluginError>,
}

/// All plugins: first those named, then those of the folders of
/// `LIMPID_PLUGIN_PATH`, of the user's data folder (`limpid/plugins` there) and
/// of `plugins` and `../lib/limpid/plugins` beside the program. A folder is one
/// plugin, or holds folders that are. The current folder is never searched. Of
/// several plugins with one id the first is used. Nothing is executed.
#[must_use]
pub fn discover(named: &[PathBuf]) -> Vec<Found> {
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(Path::parent);
    search(
        named,
        std::env::var_os("LIMPID_PLUGIN_PATH"),
        user_folder(),
        program,
    )
}

/// The folder of a user's own plugins.
fn user_folder() -> Option<PathBuf> {
    use etcetera::BaseStrategy as _;
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(folders.data_dir().join("limpid").join("plugins"))
}

fn search(
    named: &[PathBuf],
    variable: Option<OsString>,
    user: Option<PathBuf>,
    program: Option<&Path>,
) -> Vec<Found> {
    let mut all = Vec::new();
    for path in named {
        all.push(found(path, Source::Named));
    }
    for folder in std::env::split_paths(&variable.unwrap_or_default()) {
        if folder.is_absolute() {
            all.extend(inside(&folder, Source::Environment));
        } else if !folder.as_os_str().is_empty() {
            all.push(Found {
                path: folder.clone(),
                source: Source::Environment,
                verified: Err(PluginError::Relative { path: folder }),
            });
        }
    }
    if let Some(folder) = user.filter(|f| f.is_absolute()) {
        all.extend(inside(&folder, Source::User));
    }
    if let Some(program) = program {
        let beside = [
            program.join("plugins"),
            program
                .join("..")
                .join("lib")
                .join("limpid")
                .join("plugins"),
        ];
        for folder in beside {
            all.extend(inside(&folder, Source::Program));
        }
    }
    once(all)
}

/// The plugins of a folder, in byte order.
fn inside(folder: &Path, source: Source) -> Vec<Found> {
    let mut folders = vec![folder.to_owned()];
    if let Ok(entries) = fs::read_dir(folder) {
        let entries = entries.filter_map(Result::ok).map(|e| e.path());
        let mut entries: Vec<PathBuf> = entries.filter(|p| p.is_dir()).collect();
        entries.sort();
        folders.extend(entries);
    }
    let plugins = folders.into_iter().filter_map(|f| match f.join(MANIFEST) {
        manifest if manifest.exists() => Some(f),
        // A library that nobody has packed is told of rather than passed over.
        _ => library_in(&f),
    });
    plugins.map(|f| found(&f, source)).collect()
}

/// The first library of a folder, in byte order.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let files = files.map(|e| e.path()).filter(|path| {
        let ending = path.extension().is_some_and(|e| e == DLL_EXTENSION);
        ending && path.is_file()
    });
    files.min()
}

fn found(path: &Path, source: Source) -> Found {
    let verified = Verified::open(path);
    let library = verified.as_ref().map(|v| v.library.clone());
    Found {
        path: library.unwrap_or_else(|_| path.to_owned()),
        source,
        verified,
    }
}

/// The same with errors in place of plugins whose id another one has already.
/// One that was found twice is listed once.
fn once(all: Vec<Found>) -> Vec<Found> {
    let mut known: HashMap<String, PathBuf> = HashMap::new();
    let mut kept = Vec::with_capacity(all.len());
    for mut found in all {
        if let Ok(plugin) = &found.verified {
            let id = plugin.manifest.id.clone();
            match known.get(&id) {
                Some(first) if *first == found.path => continue,
                Some(first) => {
                    found.verified = Err(PluginError::Twice {
                        path: found.path.clone(),
                        id,
                        first: first.clone(),
                    });
                }
                None => {
                    known.insert(id, found.path.clone());
                }
            }
        }
        kept.push(found);
    }
    kept
}
