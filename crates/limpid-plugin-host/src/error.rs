use std::path::PathBuf;

/// Why a plugin is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is no manifest beside the library.
    #[error(
        "{}: there is no plugin.toml beside it: write one with `limpid plugins pack {}`, if you trust the file",
        path.display(), path.display()
    )]
    NoManifest {
        /// The library.
        path: PathBuf,
    },
    /// The manifest is not sound.
    #[error("{}: {message}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The library is not the one that the manifest describes.
    #[error(
        "{}: its SHA-256 is {found}, plugin.toml says {expected}: if you built it anew, run `limpid plugins pack` again",
        path.display()
    )]
    Changed {
        /// The library.
        path: PathBuf,
        /// The digest of the manifest.
        expected: String,
        /// The library's.
        found: String,
    },
    /// Everybody may write to a file or its folder.
    #[error("{}: every user may write to it, so anybody could have changed it: run `chmod o-w` on it", path.display())]
    Writable {
        /// The file or folder.
        path: PathBuf,
    },
    /// The system cannot load the library.
    #[error("{}: cannot be loaded: {message}", path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// What the system says.
        message: String,
    },
    /// The library breaks the interface's rules.
    #[error("{}: {message}", path.display())]
    Interface {
        /// The library.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A folder of the search path is not absolute.
    #[error(
        "{}: a folder of LIMPID_PLUGIN_PATH must be absolute: plugins are never looked for relative to the current folder",
        path.display()
    )]
    Relative {
        /// The folder.
        path: PathBuf,
    },
    /// A plugin of the same id was found before.
    #[error("{}: the plugin `{id}` of {} comes first", path.display(), first.display())]
    Twice {
        /// The library.
        path: PathBuf,
        /// The id of both.
        id: String,
        /// The first one's library.
        first: PathBuf,
    },
}

impl PluginError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
