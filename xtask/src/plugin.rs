//! `cargo xtask plugin`: crates of plugins, from a template.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use crate::cargo;

/// Plugins of Limpid.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    New(New),
}

/// Make a crate of a plugin: a method with a parameter and a test, which uses
/// this copy of Limpid.
#[derive(Args)]
struct New {
    /// The crate's name, which is the plugin's id: its methods are NAME/...
    name: String,

    /// The new folder [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

/// The template's files. Each is a file of a crate `my-plugin`.
const FILES: [(&str, &str); 4] = [
    (
        "Cargo.toml",
        include_str!("../template/plugin/Cargo.toml.in"),
    ),
    ("src/lib.rs", include_str!("../template/plugin/src/lib.rs")),
    ("README.md", include_str!("../template/plugin/README.md")),
    (".gitignore", include_str!("../template/plugin/gitignore")),
];

pub(crate) fn run(options: &Options) -> Result<bool> {
    match &options.command {
        Command::New(new) => make(new)?,
    }
    Ok(true)
}

fn make(new: &New) -> Result<()> {
    check_name(&new.name)?;
    let folder = new.path.clone().unwrap_or_else(|| PathBuf::from(&new.name));
    let empty = match fs::read_dir(&folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !folder.exists(),
    };
    let shown = folder.display();
    ensure!(
        empty,
        "{shown} exists and is no empty folder: name another one with --path"
    );
    let root = cargo::root();
    let root = root.to_str().context("the path of Limpid is no UTF-8")?;
    for (file, text) in FILES {
        let file = folder.join(file);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        write(&file, &fill(text, &new.name, root))?;
    }
    // The versions of the dependencies that are at hand here.
    let lock = Path::new(root).join("Cargo.lock");
    let lock = fs::read_to_string(&lock).with_context(|| format!("no {}", lock.display()))?;
    write(&folder.join("Cargo.lock"), &lock)?;
    println!(
        "{shown}: a plugin with the method {0}/strongest. Next:\n",
        new.name
    );
    println!("  cd {shown}");
    for line in next(&fill(FILES[2].1, &new.name, root)) {
        println!("  {line}");
    }
    println!("\nLimpid's docs/plugins.md goes on from there.");
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The commands of the readme's first block.
fn next(readme: &str) -> impl Iterator<Item = &str> {
    let lines = readme.lines().skip_while(|l| !l.starts_with("```"));
    lines.skip(1).take_while(|l| !l.starts_with("```"))
}

/// A file of the template as one of the crate `name`, `root` being Limpid's.
fn fill(text: &str, name: &str, root: &str) -> String {
    let library = name.replace('-', "_");
    // A string of TOML may be written as one of JSON.
    let sdk = Path::new(root).join("crates").join("limpid-plugin");
    let sdk = serde_json::json!(sdk.to_string_lossy()).to_string();
    let library = format!("{DLL_PREFIX}{library}{DLL_SUFFIX}");
    // Paths last: they may have the words that names take the place of.
    text.replace("libmy_plugin.so", &library)
        .replace("my-plugin", name)
        .replace("\"/path/to/limpid/crates/limpid-plugin\"", &sdk)
        .replace("/path/to/limpid", root)
}

/// A name must do for a crate and for a plugin's id.
fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        name.chars().all(fits) && name.starts_with(|c: char| c.is_ascii_lowercase()),
        "`{}` is no name of a plugin: take lower-case letters, digits and `-`, a letter first",
        name.escape_default()
    );
    ensure!(
        name.len() <= 64 && !name.ends_with('-'),
        "`{name}` is no name of a plugin: at most 64 characters, the last no `-`"
    );
    ensure!(
        !name.starts_with("limpid"),
        "`{name}` is no name of a plugin: Limpid's own crates and plugins begin so"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_for_crates_and_ids() {
        for good in ["a", "acme", "edge-maps-2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "a".repeat(65);
        let bad = [
            "",
            "-a",
            "a-",
            "2d",
            "Acme",
            "a_b",
            "a/b",
            "..",
            "é",
            "a b",
            "limpid",
            "limpid-cam",
            &long,
        ];
        for bad in bad {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_of_the_template_s_names_is_left() {
        for (file, text) in FILES {
            let made = fill(text, "acme-maps", "/opt/li\"mpid");
            for left in ["my-plugin", "my_plugin", "/path/to"] {
                assert!(!made.contains(left), "{left} in {file}");
            }
        }
        let manifest = fill(FILES[0].1, "acme-maps", "/opt/li\"mpid");
        assert!(manifest.contains(r#"path = "/opt/li\"mpid/crates/limpid-plugin""#));
        let readme = fill(FILES[2].1, "acme-maps", "/opt/limpid");
        assert_eq!(next(&readme).count(), 4);
    }
}
