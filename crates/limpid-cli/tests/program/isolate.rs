//! Plugins that end their process, or never end.

use crate::support::{Dir, Done, Result};
use limpid_plugin_suite::built;
use std::process::{Command, Output, Stdio};

/// A folder with two pictures and the plugin that misbehaves.
fn dir() -> Result<Dir> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "in/a.jpg")?;
    dir.add("cat.jpg", "in/b.jpg")?;
    let library = built("limpid-plugin-misbehaving");
    let pack = ["plugins".as_ref(), "pack".as_ref(), library.as_os_str()];
    dir.run([&pack[..], &["--to".as_ref(), "plugins".as_ref()]].concat())?
        .good();
    Ok(dir)
}

/// Arguments that explain both pictures by Grad-CAM, the plugin's method and
/// Grad-CAM's relative.
fn args(method: &str) -> Vec<String> {
    let methods = format!("grad-cam,misbehaving/{method},hires-cam");
    let args = ["explain", "in", "--isolate", "--method", &methods];
    let plugin = ["--plugin", "plugins/misbehaving"];
    args.into_iter().chain(plugin).map(str::to_owned).collect()
}

/// Checks that each picture's other maps are there, and that the plugin's failure
/// is told for each with this sentence.
#[track_caller]
fn costs_its_own_maps(dir: &Dir, done: &Done, sentence: &str) -> Result<()> {
    assert_eq!(done.code, Some(1), "{}", done.err);
    let told = done.err.lines().filter(|l| l.starts_with("limpid: "));
    let expected = ["in/a.jpg", "in/b.jpg"].map(|p| format!("limpid: {p}: {sentence}"));
    assert_eq!(told.collect::<Vec<_>>(), expected, "{}", done.err);
    let files = dir.files("limpid-out")?;
    let names = ["a.grad-cam.", "a.hires-cam.", "b.grad-cam.", "b.hires-cam."];
    assert_eq!(files.len(), names.len(), "{files:?}");
    for name in names {
        assert!(files.iter().any(|f| f.starts_with(name)), "{files:?}");
    }
    Ok(())
}

#[test]
fn an_exit_costs_its_own_maps() -> Result<()> {
    let dir = dir()?;
    let done = dir.run(args("exit"))?;
    let sentence = "plugin misbehaving: ended with exit code 0 before it answered";
    costs_its_own_maps(&dir, &done, sentence)
}

#[test]
fn a_method_that_behaves_runs_beside_those_that_do_not() -> Result<()> {
    let dir = dir()?;
    let mut args = args("exit,misbehaving/good");
    args.extend(["--target", "top:2", "--format", "npy"].map(str::to_owned));
    let done = dir.run(args)?;
    assert_eq!(done.code, Some(1), "{}", done.err);
    let files = dir.files("limpid-out")?;
    let good = files.iter().filter(|f| f.contains("misbehaving.good."));
    assert_eq!(good.count(), 4, "{files:?}");
    Ok(())
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::io::{BufRead, BufReader, Read};

    fn done(output: Output) -> Result<Done> {
        Ok(Done {
            code: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    #[test]
    fn an_abort_costs_its_own_maps() -> Result<()> {
        let dir = dir()?;
        let done = dir.run(args("abort"))?;
        let sentence = "plugin misbehaving: ended by signal 6 (aborted)";
        costs_its_own_maps(&dir, &done, sentence)
    }

    #[test]
    fn a_segmentation_fault_costs_its_own_maps() -> Result<()> {
        let dir = dir()?;
        let done = dir.run(args("segfault"))?;
        let sentence = "plugin misbehaving: ended by signal 11 (segmentation fault)";
        costs_its_own_maps(&dir, &done, sentence)
    }

    /// The bound on the worker's memory is the machine's or what is inherited,
    /// which is less here, for the machine's sake.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_plugin_that_takes_all_memory_costs_its_own_maps() -> Result<()> {
        let dir = dir()?;
        let program = dir.program();
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -v 4000000; exec \"$@\"", "sh"]);
        shell.arg(program.get_program()).args(args("exhaust"));
        shell.args(["--threads", "2"]).current_dir(dir.path());
        shell.env_remove("RUST_BACKTRACE").stdin(Stdio::null());
        let sentence = "plugin misbehaving: ended by signal 6 (aborted)";
        costs_its_own_maps(&dir, &done(shell.output()?)?, sentence)
    }

    /// Starts a run whose second map never comes, and waits for the first.
    fn hanging(dir: &Dir) -> Result<std::process::Child> {
        let mut program = dir.program();
        program.args(args("hang"));
        let piped = program.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn()?;
        let mut first = String::new();
        let out = child.stdout.as_mut().ok_or("no pipe")?;
        BufReader::with_capacity(1, out).read_line(&mut first)?;
        assert!(first.starts_with("in/a.jpg: grad-cam"), "{first}");
        Ok(child)
    }

    fn signal(name: &str, id: u32) -> Result<()> {
        let kill = Command::new("kill")
            .args([name, &id.to_string()])
            .status()?;
        assert!(kill.success());
        Ok(())
    }

    #[test]
    fn an_endless_method_ends_by_an_interruption() -> Result<()> {
        let dir = dir()?;
        let child = hanging(&dir)?;
        signal("-INT", child.id())?;
        let done = done(child.wait_with_output()?)?;
        done.says(1, &["interrupted; what was finished is kept"]);
        assert_eq!(dir.files("limpid-out")?.len(), 1);
        Ok(())
    }

    /// Standard error is the worker's, too: it ends when both have ended.
    #[test]
    fn a_worker_ends_with_who_started_it() -> Result<()> {
        let dir = dir()?;
        let mut child = hanging(&dir)?;
        signal("-KILL", child.id())?;
        let mut text = String::new();
        let err = child.stderr.as_mut().ok_or("no pipe")?;
        err.read_to_string(&mut text)?;
        assert_eq!(text, "");
        child.wait()?;
        Ok(())
    }
}
