//! What the tests of the plugin interface share.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// A library of the workspace, as cargo has built it beside this test.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn built(package: &str) -> PathBuf {
    let name = package.replace('-', "_");
    let file = format!(
        "{}{name}{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    );
    let test = env::current_exe().expect("a test has a file");
    let folder = test.parent().expect("a file has a folder");
    let library = folder.join(file);
    assert!(library.exists(), "{} was not built", library.display());
    library
}

/// A copy of a library in a folder of its own, where its manifest can lie.
///
/// # Errors
/// When it cannot be copied.
pub fn installed(library: &Path, folder: &Path) -> io::Result<PathBuf> {
    let name = library.file_stem().unwrap_or_default();
    let own = folder.join(name);
    fs::create_dir_all(&own)?;
    let copy = own.join(library.file_name().unwrap_or_default());
    fs::copy(library, &copy)?;
    Ok(copy)
}
