//! Bad files, bad models, bad places: one clear sentence, the right exit code,
//! and the other pictures are still explained.

use crate::support::{Dir, Done, Result, photo};
use std::fs;

/// A PNG file whose header says 60000 x 60000 pixels; the data is a few bytes.
fn huge_png() -> Vec<u8> {
    let mut header = 60_000_u32.to_be_bytes().repeat(2);
    header.extend([8, 2, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [
        (b"IHDR", &header[..]),
        (b"IDAT", &[0x78, 0x01, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01]),
        (b"IEND", &[]),
    ] {
        let chunk = [kind, data].concat();
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(&chunk);
        bytes.extend(crc32(&chunk).to_be_bytes());
    }
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| {
            (c >> 1) ^ (0xedb8_8320 * (c & 1))
        })
    })
}

/// Explains what is in `names` beside a good picture, which must succeed.
fn beside_a_good_one(dir: &Dir, names: &[&str]) -> Result<Done> {
    dir.add("coffee.jpg", "good.jpg")?;
    let done = dir.run([&["explain"], names, &["good.jpg"]].concat())?;
    assert_eq!(done.out.lines().count(), 1, "{}{}", done.out, done.err);
    assert!(dir.join("limpid-out/good.grad-cam.967.png").is_file());
    assert_eq!(dir.files("limpid-out")?.len(), 1);
    Ok(done)
}

#[test]
fn pictures_that_are_none() -> Result<()> {
    let dir = Dir::new()?;
    let whole = fs::read(photo("cat.jpg"))?;
    dir.write("cut.jpg", &whole[..whole.len() / 2])?;
    dir.write("huge.png", &huge_png())?;
    dir.write("text.jpg", b"This is not a picture.\n")?;
    dir.write("empty.jpg", b"")?;
    fs::create_dir(dir.join("folder"))?;
    beside_a_good_one(&dir, &["cut.jpg"])?.says(1, &["cut.jpg", "truncated"]);
    beside_a_good_one(&dir, &["huge.png"])?.says(1, &["huge.png", "60000 x 60000"]);
    beside_a_good_one(&dir, &["text.jpg"])?.says(1, &["text.jpg", "not a picture"]);
    beside_a_good_one(&dir, &["empty.jpg"])?.says(1, &["empty.jpg"]);
    beside_a_good_one(&dir, &["folder"])?.says(1, &["folder", "has no pictures"]);
    beside_a_good_one(&dir, &["missing.jpg"])?.says(1, &["missing.jpg", "cannot read"]);
    dir.write("array.npy", b"\x93NUMPY\x01\x00\xff\xff{'descr")?;
    beside_a_good_one(&dir, &["array.npy"])?.says(1, &["array.npy"]);
    // All of them at once, told to scripts.
    let args = [
        "explain", "--json", "cut.jpg", "folder", "good.jpg", "text.jpg",
    ];
    let done = dir.run(args)?;
    assert_eq!((done.code, done.err.as_str()), (Some(1), ""));
    let lines = done.json()?;
    let failed: Vec<_> = lines.iter().filter(|l| l["error"].is_string()).collect();
    let failed: Vec<_> = failed.iter().filter_map(|l| l["image"].as_str()).collect();
    assert_eq!(failed, ["folder", "cut.jpg", "text.jpg"]);
    assert_eq!(lines.len(), 4);
    Ok(())
}

#[test]
fn a_folder_without_pictures_is_an_error_of_its_own() -> Result<()> {
    let dir = Dir::new()?;
    dir.write("in/notes.txt", b"")?;
    dir.run(["explain", "in"])?.says(1, &["in has no pictures"]);
    dir.run(["predict", "in"])?.says(1, &["in has no pictures"]);
    assert!(!dir.join("limpid-out").exists());
    Ok(())
}

#[test]
fn labels_that_mean_no_class_or_several() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "a.jpg")?;
    dir.add("cat.jpg", "b.jpg")?;
    let with = |target: &str| dir.run(["explain", "a.jpg", "b.jpg", "--target", target]);
    // Once, not once for each picture.
    with("expresso")?.says(1, &["expresso", "espresso"]);
    with("crane")?.says(1, &["crane", "134", "517"]);
    with("1000")?.says(1, &["1000", "0 to 999"]);
    with("99999999999999999999999999")?.says(1, &["0 to 999"]);
    with("top:1001")?.says(1, &["top:1001", "1000"]);
    with("top:99999999999999999999999999")?.says(1, &["top:9999"]);
    with("top5")?.says(1, &["top5"]);
    with("")?.says(1, &["no class"]);
    assert!(!dir.join("limpid-out").exists());
    Ok(())
}

#[test]
fn models_that_are_none() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "a.jpg")?;
    let with = |model: &str| dir.run(["explain", "a.jpg", "--model", model]);
    with("missing")?.says(1, &["missing", "tf_efficientnet_lite0"]);
    with("a.jpg")?.says(1, &["a.jpg"]);
    fs::create_dir(dir.join("empty"))?;
    with("empty")?.says(1, &["empty", "model.safetensors"]);
    for length in [u64::MAX, 1 << 40, 7] {
        dir.bundle(|mut bytes| {
            bytes[..8].copy_from_slice(&length.to_le_bytes());
            Ok(bytes)
        })?;
        with("bundle")?.says(1, &["model.safetensors", "header"]);
    }
    dir.bundle(|bytes| Ok(bytes[..bytes.len() - 1000].to_vec()))?;
    with("bundle")?.says(1, &["model.safetensors"]);
    dir.bundle(|mut bytes| {
        let name = b"\"conv_stem.weight\"";
        let at = bytes.windows(name.len()).position(|w| w == name);
        bytes[at.ok_or("no such tensor")? + 1..][..4].copy_from_slice(b"Conv");
        Ok(bytes)
    })?;
    with("bundle")?.says(1, &["model.safetensors", "`conv_stem.weight` is missing"]);
    dir.bundle(Ok)?;
    dir.write("bundle/config.json", b"{\"architecture\": 7")?;
    with("bundle")?.says(1, &["config.json"]);
    dir.write("bundle/config.json", b"{\"architecture\": \"resnet9000\"}")?;
    with("bundle")?.says(1, &["config.json", "resnet9000"]);
    assert!(!dir.join("limpid-out").exists());
    Ok(())
}

/// What this run did not make is not its own to remove.
#[test]
fn an_empty_folder_of_results_stays_if_it_was_there() -> Result<()> {
    let dir = Dir::new()?;
    dir.write("bad.jpg", b"")?;
    fs::create_dir(dir.join("old"))?;
    for args in [&["explain"][..], &["predict", "--format", "npy"]] {
        let with = |out: &str, model: &str| {
            let rest = ["bad.jpg", "--out", out, "--model", model];
            dir.run([args, &rest].concat())
        };
        with("old", "missing")?.says(1, &["missing"]);
        assert!(dir.join("old").is_dir());
        with("new/deep", "missing")?.says(1, &["missing"]);
        assert!(!dir.join("new").exists());
    }
    let done = dir.run(["explain", "bad.jpg", "--out", "old"])?;
    done.says(1, &["bad.jpg"]);
    assert!(dir.join("old").is_dir());
    Ok(())
}

#[test]
fn a_layer_that_is_none() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "a.jpg")?;
    let with = |layer: &str| dir.run(["explain", "a.jpg", "--param", &format!("layer={layer}")]);
    with("block.9")?.says(1, &["a.jpg", "block.9"]);
    with("classifier")?.says(1, &["a.jpg", "layer `classifier` has shape [1000]"]);
    Ok(())
}

#[test]
fn a_place_that_cannot_be_written() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "a.jpg")?;
    dir.add("cat.jpg", "b.jpg")?;
    dir.write("file", b"")?;
    let with = |out: &str| dir.run(["explain", "a.jpg", "b.jpg", "--out", out]);
    // Once, before any work.
    with("file")?.says(1, &["file", "--out"]);
    with("file/below")?.says(1, &["file/below", "--out"]);
    // What is in the way of one picture is not in the way of the other.
    dir.add("coffee.jpg", "in/x/a.jpg")?;
    dir.add("coffee.jpg", "in/y/a.jpg")?;
    dir.write("limpid-out/x", b"")?;
    let done = dir.run(["explain", "in"])?;
    done.says(1, &["in/x/a.jpg", "limpid-out/x"]);
    assert!(done.out.starts_with("in/y/a.jpg: "));
    assert!(dir.join("limpid-out/y/a.grad-cam.967.png").is_file());
    let done = dir.run(["predict", "a.jpg", "--format", "npy", "--out", "file"])?;
    done.says(1, &["file", "--out"]);
    Ok(())
}

/// A file system that takes no more than a few kilobytes of a file.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full() -> Result<()> {
    use std::process::{Command, Stdio};
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "a.jpg")?;
    dir.add("cat.jpg", "b.jpg")?;
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" explain a.jpg b.jpg --format npy,png";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_limpid")])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()?;
    let err = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{err}");
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 2, "{err}");
    for (line, name) in lines.iter().zip(["a", "b"]) {
        let start = format!("limpid: {name}.jpg: cannot write limpid-out/{name}.grad-cam.");
        assert!(line.starts_with(&start), "{err}");
    }
    // Nothing half written is left.
    let left = if dir.join("limpid-out").exists() {
        dir.files("limpid-out")?
    } else {
        Default::default()
    };
    assert!(
        left.iter()
            .all(|f| !f.ends_with(".png") && !f.ends_with(".tmp")),
        "{left:?}"
    );
    Ok(())
}

/// Standard output that cannot be written is an error, not a panic.
#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output() -> Result<()> {
    let dir = Dir::new()?;
    for name in ["a.jpg", "b.jpg"] {
        dir.add("coffee.jpg", name)?;
    }
    for args in [
        &["explain", "a.jpg", "b.jpg"][..],
        &["predict", "a.jpg", "b.jpg", "--json"],
        &["methods", "--json"],
        &["licenses"],
        &["model", "inspect"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full")?;
        let output = dir.program().args(args).stdout(full).output()?;
        let err = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(
            err.starts_with("limpid: cannot write to standard output: "),
            "{err}"
        );
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    Ok(())
}

#[test]
fn memory_that_is_too_little() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "a.jpg")?;
    for args in [
        &["explain", "a.jpg"][..],
        &["explain", "a.jpg", "--method", "gradient", "--smooth", "2"],
        &["predict", "a.jpg"],
    ] {
        let done = dir.run([args, &["--memory", "64K"]].concat())?;
        done.says(1, &["a.jpg", "65536", "--memory"]);
        assert_eq!(done.out, "");
    }
    Ok(())
}

#[test]
fn options_that_are_wrong() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "a.jpg")?;
    let wrong = |args: &[&str], part: &str| -> Result<()> {
        let done = dir.run([&["explain", "a.jpg"], args].concat())?;
        assert_eq!(done.code, Some(2), "{}", done.err);
        assert_eq!(done.out, "");
        assert!(done.err.contains(part), "{part} is not in: {}", done.err);
        Ok(())
    };
    wrong(&["--device", "cuda"], "cuda is not built into this version")?;
    wrong(&["--device", "tpu"], "there are auto, cpu and wgpu")?;
    wrong(&["--device", "wgpu:x"], "such as wgpu:1")?;
    wrong(
        &["--precision", "f8"],
        "there are f32, bf16 (cpu) and f16 (wgpu)",
    )?;
    let cpu = ["--device", "cpu", "--precision", "f16"];
    wrong(&cpu, "give --precision bf16 or f32, or --device wgpu")?;
    let wgpu = ["--device", "wgpu", "--precision", "bf16"];
    wrong(&wgpu, "give --precision f16 or f32, or --device cpu")?;
    let threads = ["--device", "wgpu", "--threads", "1"];
    wrong(&threads, "leave them out with --device wgpu")?;
    wrong(&["--threads", "0"], "--threads")?;
    wrong(&["--batch", "0"], "--batch")?;
    wrong(&["--memory", "0"], "--memory")?;
    wrong(&["--memory", "12X"], "--memory")?;
    wrong(&["--smooth", "0"], "--smooth")?;
    for target in ["top:0", "top:00", "top:", "top:abc", "top:-1", "top:+1"] {
        wrong(&["--target", target], "at least 1")?;
    }
    wrong(&["--param", "steps"], "KEY=VALUE")?;
    wrong(&["--format", "jpg"], "--format")?;
    wrong(&["--plugin", "missing.so"], "missing.so")?;
    wrong(&["--insulate"], "--insulate")?;
    assert!(!dir.join("limpid-out").exists());
    for threads in ["0", "1025"] {
        let done = dir.run(["bench", "start", "--threads", threads])?;
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
        assert!(done.err.contains("1..=1024"), "{}", done.err);
    }
    Ok(())
}
