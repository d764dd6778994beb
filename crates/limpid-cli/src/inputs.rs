//! Pictures as the command line names them: files, and folders that are
//! searched for files.

use crate::console::Usage;
use anyhow::anyhow;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The endings of pictures in a folder, in lower case.
const ENDINGS: [&str; 9] = [
    "jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "npy",
];

/// A picture to work on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Its path: as given, or below the folder that was given.
    pub(crate) path: PathBuf,
    /// The folder of its results, relative to `--out`.
    pub(crate) folder: PathBuf,
}

/// What was found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) pictures: Vec<Picture>,
    /// Folders that could not be used, and why.
    pub(crate) failures: Vec<(PathBuf, anyhow::Error)>,
    /// Remarks for people.
    pub(crate) notes: Vec<String>,
}

impl Picture {
    /// Whether it is an array, taken as a normalised input.
    pub(crate) fn is_array(&self) -> bool {
        ending(&self.path).is_some_and(|e| e == "npy")
    }

    /// The start of its results' names, relative to `--out`.
    pub(crate) fn stem(&self) -> PathBuf {
        let stem = self.path.file_stem().or(self.path.file_name());
        self.folder.join(stem.unwrap_or("picture".as_ref()))
    }

    /// The name of one of its results, relative to `--out`.
    pub(crate) fn result(&self, suffix: &str) -> PathBuf {
        let mut name: OsString = self.stem().into();
        name.push(".");
        name.push(suffix);
        name.into()
    }
}

fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

fn has_picture_ending(path: &Path) -> bool {
    ending(path).is_some_and(|e| ENDINGS.contains(&e.as_str()))
}

/// The pictures of files and folders, in the order given; those of a folder
/// in byte order of their paths. `out` is the folder of results, which is not
/// searched where it lies within another one.
pub(crate) fn find(given: &[PathBuf], out: &Path) -> Found {
    let mut found = Found::default();
    let out = out.canonicalize().ok();
    for path in given {
        if path.is_dir() {
            walk(path, out.as_deref(), &mut found);
        } else {
            found.pictures.push(Picture {
                path: path.clone(),
                folder: PathBuf::new(),
            });
        }
    }
    found
}

/// Searches a folder and those below it. Links to folders are not followed:
/// they may lead round in circles.
fn walk(root: &Path, out: Option<&Path>, found: &mut Found) {
    let failures = found.failures.len();
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        let below = !folder.as_os_str().is_empty();
        if below && out.is_some() && path.canonicalize().ok().as_deref() == out {
            let path = path.display();
            let note = format!("{path} is where results go; it is not searched for pictures");
            found.notes.push(note);
            continue;
        }
        let mut cannot = |error: std::io::Error| {
            let error = anyhow!("cannot read the folder {}: {error}", path.display());
            found.failures.push((path.clone(), error));
        };
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => {
                cannot(error);
                continue;
            }
        };
        for entry in entries {
            let kind = entry.and_then(|e| Ok((folder.join(e.file_name()), e.file_type()?)));
            match kind {
                Ok((name, kind)) if kind.is_dir() => folders.push(name),
                Ok((name, kind)) => {
                    let linked_folder = kind.is_symlink() && root.join(&name).is_dir();
                    if has_picture_ending(&name) && !linked_folder {
                        files.push(name);
                    }
                }
                Err(error) => {
                    cannot(error);
                    break;
                }
            }
        }
    }
    if files.is_empty() && found.failures.len() == failures {
        let endings = ENDINGS.join(", ");
        let error = anyhow!(
            "the folder {} has no pictures: no file ends in {endings}",
            root.display()
        );
        found.failures.push((root.to_owned(), error));
    }
    files.sort_by(|a, b| {
        let bytes = |p: &Path| p.as_os_str().as_encoded_bytes().to_vec();
        bytes(a).cmp(&bytes(b))
    });
    found.pictures.extend(files.into_iter().map(|name| Picture {
        path: root.join(&name),
        folder: name.parent().map(Path::to_owned).unwrap_or_default(),
    }));
}

/// Refuses two pictures whose results would have the same names.
pub(crate) fn check_names(pictures: &[Picture]) -> Result<(), Usage> {
    let mut seen: HashMap<PathBuf, &Path> = HashMap::new();
    for picture in pictures {
        if let Some(other) = seen.insert(picture.stem(), &picture.path) {
            return Err(Usage(format!(
                "{} and {} would both write {}.*; rename one, or run limpid once for each with its own --out",
                other.display(),
                picture.path.display(),
                picture.stem().display()
            )));
        }
    }
    Ok(())
}
