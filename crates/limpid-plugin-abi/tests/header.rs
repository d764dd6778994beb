//! The C header says what the crate says, and C and C++ compile it.

#![allow(clippy::print_stdout, reason = "a test that is left out says why")]

use cbindgen::{Builder, Config};
use limpid_plugin_abi as abi;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Text of rustdoc as text of C.
fn plain(text: &str) -> String {
    let text = text.replace("[`", "`").replace("`]", "`");
    text.replace("::", ".")
}

/// The crate's rules as the header's opening comment.
fn opening() -> String {
    let source = fs::read_to_string(folder().join("src/lib.rs")).unwrap();
    let lines = source.lines().map_while(|l| l.strip_prefix("//!"));
    // The first paragraph is about the crate.
    let rest = lines.skip_while(|l| !l.is_empty());
    let rest: String = rest.map(|l| format!("//{l}\n")).collect();
    let guard = "#ifndef LIMPID_PLUGIN_H\n#define LIMPID_PLUGIN_H";
    format!("// The C interface between Limpid and plugins.\n{rest}\n{guard}")
}

/// What has no form in Rust that C could be made of.
fn macros() -> String {
    format!(
        r#"
// The name of `limpid_attentions`.
#define LIMPID_ATTENTIONS "{}"

// Before a function or table that is visible outside of the library.
#if defined(_WIN32)
#define LIMPID_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define LIMPID_EXPORT __attribute__((visibility("default")))
#else
#define LIMPID_EXPORT
#endif

// Initialises the head of a struct of a type.
#define LIMPID_HEAD(type) {{ (uint32_t)sizeof(type), LIMPID_ABI_MAJOR, LIMPID_ABI_MINOR }}

// Whether a table, by its pointer, has a function: one that is older than this
// header may end before it.
#define LIMPID_HAS(table, function)                                                       \
    ((uint64_t)((const char *)(&(table)->function + 1) - (const char *)(table)) <=        \
         (table)->head.struct_size &&                                                     \
     (table)->function != 0)

// Initialises a `limpid_str` by a literal.
#define LIMPID_TEXT(literal) {{ (literal), sizeof(literal) - 1 }}"#,
        abi::LIMPID_ATTENTIONS
    )
}

fn made() -> String {
    let mut config = Config::from_file(folder().join("cbindgen.toml")).unwrap();
    config.header = Some(opening());
    config.after_includes = Some(macros());
    let header = Builder::new()
        .with_src(folder().join("src/lib.rs"))
        .with_config(config)
        .generate()
        .unwrap();
    let mut text = Vec::new();
    header.write(&mut text);
    plain(&String::from_utf8(text).unwrap())
}

#[test]
fn header_is_that_of_the_crate() {
    let file = folder().join("include/limpid_plugin.h");
    let made = made();
    let rust = ["Growing", "Option", "usize"];
    assert!(!rust.iter().any(|word| made.contains(word)));
    if env::var_os("LIMPID_UPDATE_HEADER").is_some_and(|v| v == "1") {
        fs::write(&file, made).unwrap();
        return;
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == made,
        "{} is not what the crate says: run this test with LIMPID_UPDATE_HEADER=1",
        file.display()
    );
}

/// Every struct, constant and alias of the crate is in the header.
#[test]
fn header_has_every_name() {
    let header = fs::read_to_string(folder().join("include/limpid_plugin.h")).unwrap();
    let sources = ["basic", "host", "plugin", "request"];
    let mut names = 0;
    for source in sources {
        let file = folder().join("src").join(source).with_extension("rs");
        let text = fs::read_to_string(file).unwrap();
        for line in text.lines() {
            let kinds = ["pub struct ", "pub const ", "pub type "];
            let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind));
            let name = rest.and_then(|r| r.split([' ', ':', ';']).next());
            // The entry symbol's name is for the host alone.
            let Some(name) =
                name.filter(|n| n.to_lowercase().starts_with("limpid_") && *n != "LIMPID_ENTRY")
            else {
                continue;
            };
            names += 1;
            let words = |c: char| !(c.is_alphanumeric() || c == '_');
            assert!(header.split(words).any(|w| w == name), "{name} is missing");
        }
    }
    assert!(names > 60, "{names}");
}

/// Compiles a file with every warning as an error.
fn compile(compiler: &str, arguments: &[&str], source: &Path) {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("header.o");
    let warnings = [
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-pedantic",
        "-Werror",
        "-c",
    ];
    let mut command = Command::new(compiler);
    command.args(arguments).args(warnings).arg(source);
    command
        .arg("-o")
        .arg(out)
        .arg("-I")
        .arg(folder().join("include"));
    match command.output() {
        Ok(done) => {
            let words = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{command:?}: {words}");
        }
        Err(error) => println!("left out: `{compiler}` cannot be run: {error}"),
    }
}

#[test]
fn c_and_cpp_compile_it() {
    let source = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("header.c");
    let text = r#"#include "limpid_plugin.h"
#include "limpid_plugin.h"

static const limpid_head head = LIMPID_HEAD(limpid_plugin);
static const limpid_str text = LIMPID_TEXT("text");

const limpid_plugin *limpid_plugin_entry(const limpid_host *host, limpid_sink error) {
    if (host->head.abi_major == head.abi_major && error.write && LIMPID_HAS(host, emit)) {
        error.write(error.target, text);
    }
    return 0;
}
"#;
    fs::write(&source, text).unwrap();
    compile("cc", &["-std=c99"], &source);
    compile("cc", &["-std=c17"], &source);
    compile("c++", &["-x", "c++", "-std=c++11"], &source);
}
