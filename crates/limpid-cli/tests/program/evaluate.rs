//! What `limpid evaluate` writes and prints.

use crate::support::{Dir, Result, keys, photo};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// A grey PNG, of stored blocks.
fn png(width: u32, height: u32, grey: impl Fn(u32, u32) -> u8) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let fold = |crc: u32, b: &u8| {
            (0..8).fold(crc ^ u32::from(*b), |c, _| {
                (c >> 1) ^ (0xEDB8_8320 & (c & 1).wrapping_neg())
            })
        };
        !bytes.iter().fold(u32::MAX, fold)
    };
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        file.extend((data.len() as u32).to_be_bytes());
        let body = [kind, data].concat();
        file.extend(&body);
        file.extend(crc(&body).to_be_bytes());
    };
    let header = [
        &width.to_be_bytes()[..],
        &height.to_be_bytes(),
        &[8, 0, 0, 0, 0],
    ]
    .concat();
    chunk(b"IHDR", &header);
    let mut raw = Vec::new();
    for y in 0..height {
        raw.push(0);
        raw.extend((0..width).map(|x| grey(x, y)));
    }
    let (mut a, mut b) = (1u32, 0u32);
    for byte in &raw {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    let mut stream = vec![0x78, 0x01];
    let blocks = raw.chunks(65535).count();
    for (i, block) in raw.chunks(65535).enumerate() {
        stream.push(u8::from(i + 1 == blocks));
        let length = block.len() as u16;
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    stream.extend((b << 16 | a).to_be_bytes());
    chunk(b"IDAT", &stream);
    chunk(b"IEND", &[]);
    file
}

/// Width and height of a photograph.
fn size(name: &str) -> Result<(u32, u32)> {
    let image = limpid::Image::open(photo(name))?;
    Ok((image.width(), image.height()))
}

#[test]
fn two_reports_say_the_same() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "in/coffee.jpg")?;
    dir.add("cat.jpg", "in/cat & dog.jpg")?;
    let done = dir.run([
        "evaluate",
        "in",
        "--methods",
        "grad-cam,integrated-gradients",
        "--param",
        "steps=2",
        "--metrics",
        "deletion-10,completeness",
        "--out",
        "r/a.json",
        "--out",
        "r/b.html",
        "--seed",
        "3",
    ])?;
    done.good();
    assert!(
        done.out
            .contains("in/coffee.jpg: 967 espresso\n  grad-cam: deletion-10 0.")
    );
    assert!(
        done.out.ends_with("-> r/a.json, r/b.html\n"),
        "{}",
        done.out
    );
    assert_eq!(dir.files("r")?.len(), 2);
    let report = read(&dir.join("r/a.json"))?;
    let wanted =
        "version model model_sha256 device precision isa seed metrics methods pictures summary";
    assert_eq!(keys(&report), wanted.split(' ').collect());
    assert_eq!(report["seed"], 3);
    assert_eq!(report["model"], "tf_efficientnet_lite0");
    assert_eq!(
        keys(&report["metrics"]),
        BTreeSet::from(["completeness", "deletion-10"])
    );
    let deletion = &report["metrics"]["deletion-10"];
    assert_eq!(deletion["better"], "lower");
    assert_eq!(deletion["protocol"]["step"]["parts"], 10);
    let methods = &report["methods"];
    assert_eq!(methods["integrated-gradients"]["parameters"]["steps"], 2);
    assert_eq!(methods["grad-cam"]["parameters"]["layer"], "bn2");
    let pictures = report["pictures"].as_array().ok_or("no pictures")?;
    assert_eq!(pictures.len(), 2);
    let mut values = Vec::new();
    for picture in pictures {
        let wanted = "image target score probability regions results error";
        assert_eq!(keys(picture), wanted.split(' ').collect());
        let results = picture["results"].as_array().ok_or("no results")?;
        assert_eq!(results.len(), 2);
        let [cam, path] = &results[..] else {
            return Err("not two methods".into());
        };
        assert_eq!(cam["method"], "grad-cam");
        assert_eq!(cam["evaluations"]["gradients"], 1);
        assert_eq!(cam["metrics"]["completeness"], Value::Null);
        assert_eq!(cam["notes"]["completeness"], "the method has no path");
        assert!(cam["seconds"].as_f64().is_some());
        assert_eq!(
            cam["measuring"]["deletion-10"]["evaluations"]["forwards"],
            11
        );
        assert!(path["metrics"]["completeness"].as_f64().is_some());
        let curve = &cam["curves"]["deletion-10"];
        assert_eq!(curve["x"].as_array().map(Vec::len), Some(11));
        assert_eq!(curve["x"][10], 1.0);
        values.push(cam["metrics"]["deletion-10"].as_f64().ok_or("no number")?);
    }
    let summary = &report["summary"]["grad-cam"]["metrics"]["deletion-10"];
    let mean = summary["mean"].as_f64().ok_or("no mean")?;
    assert!((mean - (values[0] + values[1]) / 2.0).abs() < 1e-12);
    let error = summary["standard_error"].as_f64().ok_or("no error")?;
    assert!((error - (values[0] - values[1]).abs() / 2.0).abs() < 1e-12);
    assert_eq!(summary["count"], 2);

    let page = fs::read_to_string(dir.join("r/b.html"))?;
    // Nothing is fetched from anywhere, and no name is markup.
    assert!(!page.contains("http://") && !page.contains("https://"));
    assert!(page.contains("in/cat &amp; dog.jpg") && !page.contains("cat & dog"));
    assert_eq!(page.matches("<img ").count(), 2 * 3);
    assert_eq!(
        page.matches("src=\"data:image/png;base64,iVBORw0KGgo")
            .count(),
        6
    );
    assert_eq!(page.matches("<tr").count(), page.matches("</tr>").count());
    assert!(page.contains("Each map has its own colour scale."));
    assert!(page.trim_end().ends_with("</html>"));
    Ok(())
}

#[test]
fn masks_give_numbers_of_regions() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "in/deep/coffee.jpg")?;
    dir.add("cat.jpg", "in/cat.jpg")?;
    let (width, height) = size("coffee.jpg")?;
    // The left half is 1, a strip at the right is 2.
    let mask = png(width, height, |x, _| match x {
        x if x < width / 2 => 1,
        x if x > width * 3 / 4 => 2,
        _ => 0,
    });
    dir.write("masks/deep/coffee.png", &mask)?;
    dir.write(
        "masks/deep/coffee.top.png",
        &png(width, height, |_, y| u8::from(y < height / 2) * 9),
    )?;
    let run = |args: &[&str]| {
        let base = [
            "evaluate",
            "in",
            "--masks",
            "masks",
            "--metrics",
            "attribution-share,pointing-game",
            "--json",
            "--out",
            "o.json",
        ];
        dir.run([&base, args].concat())
    };
    let done = run(&["--regions", "1=left,2=strip"])?;
    done.says(0, &["in/cat.jpg", "masks has no mask of it"]);
    let lines = done.json()?;
    assert_eq!(lines.len(), 2);
    let coffee = lines
        .iter()
        .find(|l| l["image"] == "in/deep/coffee.jpg")
        .ok_or("no coffee")?;
    assert_eq!(
        keys(&coffee["regions"]),
        BTreeSet::from(["left", "strip", "top"])
    );
    let metrics = &coffee["results"][0]["metrics"];
    let share = |region: &str| {
        metrics[format!("attribution-share.{region}")]
            .as_f64()
            .ok_or("no share")
    };
    assert!(share("left")? + share("strip")? <= 1.0 && share("top")? > 0.0);
    let cat = lines
        .iter()
        .find(|l| l["image"] == "in/cat.jpg")
        .ok_or("no cat")?;
    let notes = &cat["results"][0]["notes"];
    assert_eq!(notes["pointing-game"], "the picture has no mask");
    let report = read(&dir.join("o.json"))?;
    let summary = &report["summary"]["grad-cam"]["metrics"]["attribution-share.left"];
    assert_eq!(summary["count"], 1);
    assert_eq!(
        report["metrics"]["attribution-share.left"]["better"],
        Value::Null
    );

    // A file can name the values; where nothing does, what is not black is the object.
    dir.write("masks/masks.json", br#"{"1": "object"}"#)?;
    let first = |done: &crate::support::Done| -> Result<Value> {
        let lines = done.json()?;
        let coffee = lines
            .into_iter()
            .find(|l| l["image"] == "in/deep/coffee.jpg");
        Ok(coffee.ok_or("no coffee")?["regions"].clone())
    };
    let done = run(&[])?;
    assert_eq!(keys(&first(&done)?), BTreeSet::from(["object", "top"]));
    let narrow = first(&done)?["object"].as_f64();
    fs::remove_file(dir.join("masks/masks.json"))?;
    let wide = first(&run(&[])?)?["object"].as_f64();
    assert!(wide > narrow);

    dir.write("masks/masks.json", b"[1]")?;
    run(&[])?.says(1, &["masks.json", "\"1\": \"object\""]);
    fs::remove_file(dir.join("masks/masks.json"))?;
    dir.write("masks/deep/coffee.png", &png(5, 7, |_, _| 1))?;
    let done = run(&[])?;
    assert_eq!(done.code, Some(1));
    assert!(done.out.contains("5 x 7 pixels"), "{}", done.out);
    Ok(())
}

#[test]
fn wrong_options_are_wrong_usage() -> Result<()> {
    let dir = Dir::new()?;
    let photo = photo("coffee.jpg").display().to_string();
    let wrong = |args: &[&str], parts: &[&str]| -> Result<()> {
        let done = dir.run([&["evaluate", &photo], args].concat())?;
        assert_eq!(done.code, Some(2), "{}", done.err);
        for part in parts {
            assert!(done.err.contains(part), "{part} is not in: {}", done.err);
        }
        assert!(!dir.join("limpid-out").exists());
        Ok(())
    };
    wrong(&["--metrics", "beauty"], &["beauty", "insertion", "road"])?;
    wrong(&["--metrics", "road,road"], &["road is named twice"])?;
    wrong(
        &["--metrics", "pointing-game"],
        &["pointing-game", "--masks"],
    )?;
    wrong(&["--methods", "grad-kam"], &["grad-kam", "grad-cam"])?;
    wrong(&["--out", "report.pdf"], &["report.pdf", ".json or .html"])?;
    wrong(&["--masks", "nowhere"], &["nowhere", "no such folder"])?;
    wrong(&["--regions", "1=a"], &["--masks"])?;
    wrong(&["--scale", "big"], &["big", "own", "shared"])?;
    wrong(&["--target", "top:0"], &["at least 1"])?;
    Ok(())
}

#[test]
fn a_picture_that_fails_is_in_the_report() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "coffee.jpg")?;
    dir.write("broken.png", b"no picture")?;
    let done = dir.run([
        "evaluate",
        "broken.png",
        "coffee.jpg",
        "--metrics",
        "completeness",
        "--scale",
        "shared",
    ])?;
    done.says(1, &["broken.png"]);
    let files = dir.files("limpid-out")?;
    assert_eq!(
        files,
        ["report.html", "report.json"].map(str::to_owned).into()
    );
    let report = read(&dir.join("limpid-out/report.json"))?;
    let [broken, coffee] = &report["pictures"].as_array().ok_or("no pictures")?[..] else {
        return Err("not two pictures".into());
    };
    assert_eq!(broken["image"], "broken.png");
    assert!(
        broken["error"]
            .as_str()
            .is_some_and(|e| e.contains("broken.png"))
    );
    assert_eq!(broken["target"], Value::Null);
    assert_eq!(coffee["error"], Value::Null);
    assert_eq!(
        report["summary"]["grad-cam"]["metrics"]["completeness"]["mean"],
        Value::Null
    );
    let page = fs::read_to_string(dir.join("limpid-out/report.html"))?;
    assert!(page.contains("1 failed") && page.contains("one colour scale"));
    Ok(())
}

#[test]
fn overlays_can_share_one_scale() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "coffee.jpg")?;
    dir.add("cat.jpg", "cat.jpg")?;
    let explain = |out: &str, pictures: &[&str], scale: &str| -> Result<()> {
        let options = [
            "--scale",
            scale,
            "--out",
            out,
            "--method",
            "grad-cam,gradient",
        ];
        let args = [&["explain"], pictures, &options].concat();
        dir.run(args)?.good();
        Ok(())
    };
    explain("own", &["coffee.jpg", "cat.jpg"], "own")?;
    explain("shared", &["coffee.jpg", "cat.jpg"], "shared")?;
    explain("alone", &["coffee.jpg"], "shared")?;
    let files = dir.files("own")?;
    assert_eq!(files.len(), 4);
    assert_eq!(dir.files("shared")?, files);
    let same = |a: &str, b: &str, name: &str| -> Result<bool> {
        Ok(fs::read(dir.join(a).join(name))? == fs::read(dir.join(b).join(name))?)
    };
    for method in ["grad-cam", "gradient"] {
        let of = |picture: &str| {
            let start = format!("{picture}.{method}.");
            files
                .iter()
                .find(|f| f.starts_with(&start))
                .ok_or("no overlay")
        };
        let (coffee, cat) = (of("coffee")?, of("cat")?);
        // The one with the larger values stays, the other one changes.
        let kept = [same("own", "shared", coffee)?, same("own", "shared", cat)?];
        assert_eq!(kept.iter().filter(|k| **k).count(), 1, "{method} {kept:?}");
        // A map alone shares with nobody.
        assert!(same("own", "alone", coffee)?);
    }
    Ok(())
}
