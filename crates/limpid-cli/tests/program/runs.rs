//! Repeated, piped, interrupted, and on file systems with surprises.

use crate::support::{Dir, Result};
use std::fs;

#[test]
fn maps_are_the_same_to_the_bit() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "in/coffee.jpg")?;
    dir.add("cat.jpg", "in/cat.jpg")?;
    let run = |out: &str, options: &[&str]| -> Result<()> {
        let methods = "gradient,grad-cam,integrated-gradients,blur-ig";
        let args = [
            "explain", "in", "--method", methods, "--smooth", "3", "--param", "steps=3",
            "--format", "npy", "--out", out,
        ];
        let done = dir.run([&args, options].concat())?;
        assert_eq!(done.code, Some(0), "{}", done.err);
        Ok(())
    };
    run("first", &["--threads", "1", "--batch", "1"])?;
    let files = dir.files("first")?;
    assert_eq!(files.len(), 8);
    let mut others = vec![("again", &["--threads", "1", "--batch", "1"][..])];
    others.push(("threads", &["--threads", "2", "--batch", "1"]));
    others.push(("batch", &["--threads", "1", "--batch", "8"]));
    others.push(("default", &[]));
    for (out, options) in others {
        run(out, options)?;
        assert_eq!(dir.files(out)?, files);
        for file in &files {
            let same =
                fs::read(dir.join(out).join(file))? == fs::read(dir.join("first").join(file))?;
            assert!(same, "{file} differs: {options:?}");
        }
    }
    run("seed", &["--seed", "1"])?;
    let of = |out: &str, file: &str| fs::read(dir.join(out).join(file));
    for file in files {
        let smoothed = file.contains("+smoothgrad");
        assert_eq!(
            of("seed", &file)? != of("first", &file)?,
            smoothed,
            "{file}"
        );
    }
    Ok(())
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::ffi::OsStr;
    use std::io::{BufRead, BufReader};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::process::{Child, ChildStdout, Command, Stdio};

    #[test]
    fn a_closed_pipe_ends_quietly() -> Result<()> {
        let dir = Dir::new()?;
        for i in 0..4 {
            dir.add("coffee.jpg", format!("in/{i}.jpg"))?;
        }
        for args in [
            &["predict", "in", "--json"][..],
            &["explain", "in"],
            &["licenses"],
        ] {
            let mut child = dir
                .program()
                .args(args)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let mut line = String::new();
            let mut out = BufReader::with_capacity(64, child.stdout.take().ok_or("no pipe")?);
            out.read_line(&mut line)?;
            drop(out);
            let output = child.wait_with_output()?;
            assert_eq!(String::from_utf8(output.stderr)?, "", "{args:?}");
            assert_eq!(output.status.code(), Some(0), "{args:?}");
            assert!(!line.is_empty());
        }
        Ok(())
    }

    /// Starts a run whose second map would take minutes, and waits for the
    /// first.
    fn started(dir: &Dir, options: &[&str]) -> Result<(Child, BufReader<ChildStdout>)> {
        for i in 0..3 {
            dir.add("coffee.jpg", format!("in/{i}.jpg"))?;
        }
        let args = ["explain", "in", "--method", "grad-cam,blur-ig"];
        let mut child = dir
            .program()
            .args(args)
            .args(["--smooth", "1000"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut out = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut first = String::new();
        out.read_line(&mut first)?;
        assert!(first.starts_with("in/0.jpg: grad-cam"), "{first}");
        Ok((child, out))
    }

    fn interrupt(child: &Child) -> Result<()> {
        let id = child.id().to_string();
        let kill = Command::new("kill").args(["-INT", &id]).status()?;
        assert!(kill.success());
        Ok(())
    }

    #[test]
    fn an_interrupted_run_keeps_what_is_finished() -> Result<()> {
        let dir = Dir::new()?;
        let (child, mut out) = started(&dir, &[])?;
        interrupt(&child)?;
        let mut rest = String::new();
        out.read_line(&mut rest)?;
        let output = child.wait_with_output()?;
        let err = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(
            err.ends_with("limpid: interrupted; what was finished is kept\n"),
            "{err}"
        );
        assert_eq!(rest, "");
        let files: Vec<String> = dir.files("limpid-out")?.into_iter().collect();
        assert_eq!(files, ["0.grad-cam.967.png"]);
        Ok(())
    }

    /// The run is within a large batch when it is interrupted, so that the
    /// first interruption takes a while and the second may come before.
    #[test]
    fn a_run_that_is_interrupted_twice_leaves_no_temporary_file() -> Result<()> {
        let dir = Dir::new()?;
        let (child, _out) = started(&dir, &["--batch", "32"])?;
        interrupt(&child)?;
        // It may have ended already.
        let id = child.id().to_string();
        Command::new("kill").args(["-INT", &id]).output()?;
        let output = child.wait_with_output()?;
        let err = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("limpid: interrupted"), "{err}");
        let files: Vec<String> = dir.files("limpid-out")?.into_iter().collect();
        assert_eq!(files, ["0.grad-cam.967.png"]);
        Ok(())
    }

    #[test]
    fn links_in_folders() -> Result<()> {
        let dir = Dir::new()?;
        dir.add("coffee.jpg", "in/a.jpg")?;
        dir.add("rocket.jpg", "elsewhere/b.jpg")?;
        symlink(dir.join("in"), dir.join("in/loop"))?;
        symlink(dir.join("elsewhere"), dir.join("in/folder.jpg"))?;
        symlink(dir.join("elsewhere/b.jpg"), dir.join("in/link.jpg"))?;
        symlink(dir.join("nowhere"), dir.join("in/broken.jpg"))?;
        let done = dir.run(["predict", "in", "--json"])?;
        assert_eq!((done.code, done.err.as_str()), (Some(1), ""));
        let lines = done.json()?;
        let images: Vec<_> = lines.iter().filter_map(|l| l["image"].as_str()).collect();
        assert_eq!(images, ["in/a.jpg", "in/broken.jpg", "in/link.jpg"]);
        assert!(lines[1]["error"].is_string());
        Ok(())
    }

    #[test]
    fn a_pipe_named_like_a_picture_is_not_waited_for() -> Result<()> {
        let dir = Dir::new()?;
        fs::create_dir(dir.join("in"))?;
        let made = Command::new("mkfifo")
            .arg(dir.join("in/pipe.jpg"))
            .status()?;
        assert!(made.success());
        dir.run(["predict", "in"])?
            .says(1, &["in/pipe.jpg", "not a regular file"]);
        Ok(())
    }

    /// Names of files are bytes; these are no UTF-8 and would colour a terminal.
    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_no_text() -> Result<()> {
        let dir = Dir::new()?;
        let name = OsStr::from_bytes(b"in/caf\xe9\x1b[31m.jpg");
        dir.add("coffee.jpg", name)?;
        let done = dir.run(["explain", "in", "--format", "png,json", "--json"])?;
        let line = &done.good().json()?[0];
        assert_eq!(line["image"], "in/caf\u{fffd}\u{1b}[31m.jpg");
        let written = OsStr::from_bytes(b"limpid-out/caf\xe9\x1b[31m.grad-cam.967.json");
        assert!(dir.join(written).is_file());
        let done = dir.run([OsStr::new("predict"), name])?;
        assert!(
            done.good()
                .out
                .starts_with("in/caf\u{fffd}\\u{1b}[31m.jpg\n"),
            "{}",
            done.out
        );
        Ok(())
    }
}
