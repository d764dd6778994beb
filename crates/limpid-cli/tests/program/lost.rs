//! A driver gives its device up while the program waits for it.

use crate::support::{Dir, Done, Result, root};
use limpid::Adapter;
use std::process::Command;

#[test]
fn a_lost_device_is_an_error_in_one_line() -> Result<()> {
    let required = std::env::var_os("LIMPID_REQUIRE_WGPU").is_some();
    if Adapter::all().is_empty() {
        assert!(!required, "no adapter");
        return Ok(());
    }
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "a.jpg")?;
    let library = dir.join("lost.so");
    let source = root().join("crates/limpid-cli/tests/program/lost.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-Wall", "-Werror", "-shared", "-fPIC"]);
    // Rust's own linker on this system.
    let compiled = compiler.arg(source).arg("-o").arg(&library).output()?;
    let words = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{words}");
    let run = |waits: &str| -> Result<Done> {
        let mut program = dir.program();
        program.env("LD_PRELOAD", &library).env("LOSE_AFTER", waits);
        let args = ["predict", "a.jpg", "--device", "wgpu", "--model"];
        let bundle = root().join("tests/fixtures/smooth-network");
        Done::of(program.args(args).arg(bundle).output()?)
    };
    // At once, and while there is work.
    for waits in ["0", "2"] {
        let done = run(waits)?;
        assert_eq!((done.code, &*done.out), (Some(1), ""), "{}", done.err);
        let mut errors = done.err.lines().filter(|l| !l.contains("note:"));
        let error = errors.next().unwrap_or_default();
        assert!(error.contains("was lost"), "{}", done.err);
        assert_eq!(errors.next(), None, "{}", done.err);
    }
    // It is the failing that loses it.
    assert_eq!(run("1000000")?.code, Some(0));
    Ok(())
}
