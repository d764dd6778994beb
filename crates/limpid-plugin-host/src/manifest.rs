//! `plugin.toml`: what is known of a library before it is opened.

use crate::{Plugin, PluginError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The manifest's file name; it lies in the library's folder, which holds one
/// plugin.
pub const MANIFEST: &str = "plugin.toml";

/// The largest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 1 << 16;

/// The content of a `plugin.toml`.
///
/// ```
/// let text = r#"
/// id = "acme"
/// name = "Acme's methods"
/// version = "0.1.0"
/// abi = "1.0"
/// library = "libacme.so"
/// sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/// methods = ["edges"]
/// "#;
/// let manifest = limpid_plugin_host::Manifest::parse(text)?;
/// assert_eq!(manifest.methods, ["edges"]);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What comes before the `/` in its methods' names.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of the interface that it was built for, `major.minor`.
    pub abi: String,
    /// The library's file name.
    pub library: String,
    /// The library's SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// Its methods' ids.
    pub methods: Vec<String>,
}

/// Whether a plugin or method may have this id.
pub(crate) fn is_id(id: &str, others: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || others.contains(c);
    let first = id.chars().next();
    first.is_some_and(|c| c.is_ascii_alphanumeric()) && id.len() <= 64 && id.chars().all(fits)
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        if !is_id(&manifest.id, "-") {
            return Err(format!(
                "the id `{}` is not made of lower-case letters, digits and `-`",
                manifest.id.escape_default()
            ));
        }
        if let Some(id) = manifest.methods.iter().find(|m| !is_id(m, "-+")) {
            return Err(format!("the method `{}` is no id", id.escape_default()));
        }
        let plain = Path::new(&manifest.library).file_name() == Some(manifest.library.as_ref());
        if !plain {
            return Err(format!(
                "the library `{}` is not the name of a file in the same folder",
                manifest.library.escape_default()
            ));
        }
        let major = manifest.abi.split('.').next().and_then(|v| v.parse().ok());
        if major != Some(limpid_plugin_abi::LIMPID_ABI_MAJOR) {
            return Err(format!(
                "it was built for version {} of the plugin interface; this Limpid has {}",
                manifest.abi,
                crate::abi_version()
            ));
        }
        Ok(manifest)
    }
}

/// A plugin whose manifest and digest are right, not yet opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The library, as an absolute path without links.
    pub library: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Verified {
    /// Reads the manifest beside a library, or in a folder, and compares the
    /// library's digest with it. Nothing is executed.
    ///
    /// # Errors
    /// When either is missing, every user may write to it, or they do not fit.
    pub fn open(path: &Path) -> Result<Self, PluginError> {
        let path = path.canonicalize().map_err(PluginError::io(path))?;
        let folder = match (path.is_dir(), path.parent()) {
            (false, Some(parent)) => parent,
            _ => &path,
        };
        let file = folder.join(MANIFEST);
        if !file.exists() {
            return Err(PluginError::NoManifest { path });
        }
        private(folder)?;
        private(&file)?;
        let wrong = |message| PluginError::Manifest {
            path: file.clone(),
            message,
        };
        let text = text_of(&file).map_err(PluginError::io(&file))?;
        let manifest = Manifest::parse(&text).map_err(wrong)?;
        let library = folder.join(&manifest.library);
        let library = library.canonicalize().map_err(PluginError::io(&library))?;
        if path != folder && path != file && path != library {
            return Err(wrong(format!(
                "it describes {}, not {}: a folder holds one plugin",
                manifest.library,
                path.display()
            )));
        }
        private(&library)?;
        let found = digest(&library)?;
        if !found.eq_ignore_ascii_case(&manifest.sha256) {
            return Err(PluginError::Changed {
                path: library,
                expected: manifest.sha256,
                found,
            });
        }
        Ok(Self { library, manifest })
    }
}

/// Writes the manifest of a library beside it; the library is loaded for it.
/// Returns what was written.
///
/// # Errors
/// When the library is no plugin, every user may write to it, or its folder
/// holds another one.
pub fn pack(library: &Path) -> Result<(PathBuf, Manifest), PluginError> {
    let library = library.canonicalize().map_err(PluginError::io(library))?;
    let manifest = described(&library)?;
    let folder = library.parent().unwrap_or(&library);
    if let Some(before) = manifest_in(folder)
        && before.library != manifest.library
    {
        return Err(PluginError::Manifest {
            path: folder.join(MANIFEST),
            message: format!(
                "it describes {}: a folder holds one plugin, so give {} one of its own, as --to does",
                before.library, manifest.library
            ),
        });
    }
    Ok((write(folder, &manifest)?, manifest))
}

/// Copies a library into the folder of its id in `folder`, which is made where
/// it is missing, and writes its manifest there. What was installed there
/// before is replaced. Returns what was written.
///
/// # Errors
/// As [`pack`], or when files cannot be written.
pub fn install(library: &Path, folder: &Path) -> Result<(PathBuf, Manifest), PluginError> {
    let library = library.canonicalize().map_err(PluginError::io(library))?;
    let manifest = described(&library)?;
    let own = folder.join(&manifest.id);
    fs::create_dir_all(&own).map_err(PluginError::io(&own))?;
    private(&own)?;
    if let Some(before) = manifest_in(&own)
        && before.id != manifest.id
    {
        return Err(PluginError::Manifest {
            path: own.join(MANIFEST),
            message: format!("it is of the plugin `{}`", before.id),
        });
    }
    let copy = own.join(&manifest.library);
    if copy.canonicalize().is_ok_and(|c| c == library) {
        return Ok((write(&own, &manifest)?, manifest));
    }
    // Who has the old one loaded keeps its file.
    let new = own.join(format!(".{}.new", manifest.library));
    let copied = fs::copy(&library, &new).and_then(|_| fs::rename(&new, &copy));
    if let Err(error) = copied {
        let _ = fs::remove_file(&new);
        return Err(PluginError::io(&copy)(error));
    }
    Ok((write(&own, &manifest)?, manifest))
}

/// The manifest in a folder, if there is one that can be read.
fn manifest_in(folder: &Path) -> Option<Manifest> {
    Manifest::parse(&text_of(&folder.join(MANIFEST)).ok()?).ok()
}

/// The text of a manifest.
fn text_of(file: &Path) -> io::Result<String> {
    let data = fs::metadata(file)?;
    if !data.is_file() || data.len() > MAX_MANIFEST {
        return Err(io::Error::other(format!(
            "is no file of at most {MAX_MANIFEST} bytes"
        )));
    }
    let mut text = String::new();
    File::open(file)?
        .take(MAX_MANIFEST)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The manifest of a library, which is loaded for it.
fn described(library: &Path) -> Result<Manifest, PluginError> {
    let Some(name) = library.file_name().and_then(|n| n.to_str()) else {
        return Err(PluginError::Interface {
            path: library.to_owned(),
            message: "a plugin is a file with a name in UTF-8".into(),
        });
    };
    private(library)?;
    let sha256 = digest(library)?;
    let plugin = Plugin::load(library, None)?;
    Ok(Manifest {
        id: plugin.id().to_owned(),
        name: plugin.name().to_owned(),
        version: plugin.version().to_owned(),
        abi: plugin.abi().to_owned(),
        library: name.to_owned(),
        sha256,
        methods: plugin.method_ids(),
    })
}

fn write(folder: &Path, manifest: &Manifest) -> Result<PathBuf, PluginError> {
    let file = folder.join(MANIFEST);
    private(folder)?;
    let text = toml::to_string(manifest).map_err(|e| PluginError::Manifest {
        path: file.clone(),
        message: e.to_string(),
    })?;
    let text = format!("# Written by `limpid plugins pack`.\n{text}");
    fs::write(&file, text).map_err(PluginError::io(&file))?;
    Ok(file)
}

/// The SHA-256 of a file, in hexadecimal digits.
fn digest(path: &Path) -> Result<String, PluginError> {
    if !path.is_file() {
        let wrong = io::Error::other("is no file");
        return Err(PluginError::io(path)(wrong));
    }
    let mut file = File::open(path).map_err(PluginError::io(path))?;
    let mut hash = Hasher(Sha256::new());
    io::copy(&mut file, &mut hash).map_err(PluginError::io(path))?;
    let mut text = String::new();
    for byte in hash.0.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// A digest as something to write to.
struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// That not every user may write to a file. (Windows keeps such rights in lists
/// that are inherited from the folder; there nothing is checked.)
#[cfg(unix)]
fn private(path: &Path) -> Result<(), PluginError> {
    use std::os::unix::fs::PermissionsExt as _;
    let data = fs::metadata(path).map_err(PluginError::io(path))?;
    match data.permissions().mode() & 0o002 {
        0 => Ok(()),
        _ => Err(PluginError::Writable {
            path: path.to_owned(),
        }),
    }
}

#[cfg(not(unix))]
fn private(_path: &Path) -> Result<(), PluginError> {
    Ok(())
}
