//! What the tests of the plugin interface share.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a test that is left out says why")]

use std::path::{Path, PathBuf};
use std::process::Command;
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

/// The folder of the header of the newest interface.
#[must_use]
pub fn newest_header() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/limpid-plugin-abi/include")
}

/// Builds a plugin of plain C99 with the system's compiler, every warning being
/// an error. `None`, and a line that says so, where there is no compiler.
///
/// # Panics
/// When the compiler refuses the source.
#[must_use]
pub fn compiled(source: &Path, header: &Path, folder: &Path) -> Option<PathBuf> {
    let name = source.file_stem().unwrap_or_default();
    let library = folder.join(name).with_extension(env::consts::DLL_EXTENSION);
    let mut command = Command::new("cc");
    command.args([
        "-std=c99",
        "-O2",
        "-Wall",
        "-Wextra",
        "-pedantic",
        "-Werror",
    ]);
    command.args(["-shared", "-fPIC", "-I"]).arg(header);
    command.arg(source).arg("-o").arg(&library);
    match command.output() {
        Ok(done) => {
            let words = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{}: {words}", source.display());
            Some(library)
        }
        Err(error) => {
            // What must pass before anything lands leaves nothing out.
            let must = env::var_os("NEXTEST_PROFILE").is_some_and(|p| p == "ci");
            assert!(!must, "`cc` cannot be run: {error}");
            println!("left out: `cc` cannot be run: {error}");
            None
        }
    }
}
