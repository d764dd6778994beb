//! `limpid predict`.

use crate::support::{Dir, Result, keys, npy, photo};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

#[test]
fn it_names_the_best_classes() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "coffee.jpg")?;
    let done = dir.run(["predict", "coffee.jpg"])?;
    let lines: Vec<&str> = done.good().out.lines().collect();
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[0], "coffee.jpg");
    assert!(lines[1].ends_with("967  espresso"), "{}", lines[1]);
    let done = dir.run(["predict", "coffee.jpg", "--top", "3", "--json"])?;
    let lines = done.good().json()?;
    assert_eq!(lines.len(), 1);
    assert_eq!(keys(&lines[0]), BTreeSet::from(["image", "top"]));
    assert_eq!(lines[0]["image"], "coffee.jpg");
    let top = lines[0]["top"].as_array().ok_or("no list")?;
    assert_eq!(top.len(), 3);
    for class in top {
        assert_eq!(
            keys(class),
            BTreeSet::from(["index", "label", "score", "probability"])
        );
    }
    assert_eq!(top[0]["index"], 967);
    assert_eq!(top[0]["label"], "espresso");
    let scores: Vec<f64> = top.iter().filter_map(|c| c["score"].as_f64()).collect();
    assert!(scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b));
    assert!(!dir.join("limpid-out").exists());
    Ok(())
}

#[test]
fn logits_are_written_in_the_order_of_the_pictures() -> Result<()> {
    let dir = Dir::new()?;
    // In byte order capitals go before small letters, and `-` before `/`.
    for name in ["in/b.jpg", "in/B.JPG", "in/a/z.jpg", "in/a-b/z.jpg"] {
        dir.add("rocket.jpg", name)?;
    }
    dir.add("coffee.jpg", "in/a.jpeg")?;
    dir.write("in/broken.png", b"no picture")?;
    dir.write("in/notes.txt", b"no picture either")?;
    let done = dir.run(["predict", "in", "--format", "npy", "--json", "--out", "o"])?;
    assert_eq!((done.code, done.err.as_str()), (Some(1), ""));
    let order = [
        "in/B.JPG",
        "in/a-b/z.jpg",
        "in/a.jpeg",
        "in/a/z.jpg",
        "in/b.jpg",
    ];
    let lines = done.json()?;
    let (good, bad): (Vec<&Value>, Vec<&Value>) = lines.iter().partition(|l| l["error"].is_null());
    let images: Vec<&str> = good.iter().filter_map(|l| l["image"].as_str()).collect();
    assert_eq!(images, order);
    assert_eq!(bad.len(), 1);
    assert_eq!(keys(bad[0]), BTreeSet::from(["error", "image"]));
    assert_eq!(bad[0]["image"], "in/broken.png");
    let images: Vec<String> = serde_json::from_slice(&fs::read(dir.join("o/images.json"))?)?;
    assert_eq!(images, order);
    let (shape, logits) = npy(&dir.join("o/logits.npy"))?;
    assert_eq!(shape, [5, 1000]);
    for (row, line) in logits.chunks(1000).zip(good) {
        let best = &line["top"][0];
        let index = best["index"].as_u64().ok_or("no index")? as usize;
        let score = best["score"].as_f64().ok_or("no score")?;
        assert_eq!(row[index], score as f32);
        assert!(row.iter().all(|v| *v <= row[index]));
    }
    assert_eq!(dir.files("o")?.len(), 2);
    Ok(())
}

#[test]
fn the_first_photograph_is_espresso_by_the_bundle_too() -> Result<()> {
    let dir = Dir::new()?;
    let bundle = dir.bundle(Ok)?;
    let run = |model: &str| {
        let photo = photo("coffee.jpg");
        dir.run([
            "predict".as_ref(),
            photo.as_os_str(),
            "--model".as_ref(),
            model.as_ref(),
            "--json".as_ref(),
        ])
    };
    let embedded = run("tf_efficientnet_lite0")?;
    let bundle = run(bundle.to_str().ok_or("no text")?)?;
    assert!(embedded.good().out.contains("espresso"));
    assert_eq!(bundle.good().out, embedded.out);
    Ok(())
}
