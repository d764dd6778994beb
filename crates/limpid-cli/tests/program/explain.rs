//! What `limpid explain` writes and prints.

use crate::support::{Dir, Result, keys, npy, npy_bytes, photo};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

#[test]
fn without_options_an_overlay_of_grad_cam_is_written() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "coffee.jpg")?;
    let done = dir.run(["explain", "coffee.jpg"])?;
    done.good();
    assert_eq!(done.out.lines().count(), 1);
    for part in [
        "coffee.jpg: grad-cam for 967 espresso (",
        "limpid-out/coffee.grad-cam.967.png",
    ] {
        assert!(done.out.contains(part), "{}", done.out);
    }
    assert_eq!(dir.files("limpid-out")?, set(&["coffee.grad-cam.967.png"]));
    let png = fs::read(dir.join("limpid-out/coffee.grad-cam.967.png"))?;
    assert!(png.starts_with(b"\x89PNG"));
    Ok(())
}

#[test]
fn the_manifest_has_every_key() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("cat.jpg", "in/deep/cat.jpg")?;
    let done = dir.run([
        "explain",
        "in",
        "--method",
        "grad-cam,blur-ig",
        "--smooth",
        "2",
        "--param",
        "steps=2",
        "--param",
        "spread=0.1",
        "--seed",
        "7",
        "--format",
        "json,npy",
        "--json",
        "--out",
        "o",
    ])?;
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        done.err,
        "limpid: --smooth leaves grad-cam alone: it is no gradient method\n"
    );
    let lines = done.json()?;
    assert_eq!(lines.len(), 2);
    for line in &lines {
        let wanted = "image sha256 model model_sha256 method parameters target score probability \
            completeness standard_error evaluations seed device precision isa seconds crop files \
            version";
        assert_eq!(keys(line), wanted.split_whitespace().collect());
        assert_eq!(
            keys(&line["target"]),
            BTreeSet::from(["against", "index", "label", "readout"])
        );
        assert_eq!(
            keys(&line["evaluations"]),
            BTreeSet::from(["forwards", "gradients"])
        );
        assert_eq!(
            keys(&line["crop"]),
            BTreeSet::from(["height", "width", "x", "y"])
        );
        assert_eq!(line["image"], "in/deep/cat.jpg");
        assert_eq!(line["model"], "tf_efficientnet_lite0");
        assert_eq!(line["seed"], 7);
        assert_eq!(line["device"], "cpu");
        assert_eq!(line["precision"], "f32");
        assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(line["standard_error"], Value::Null);
        for key in ["sha256", "model_sha256"] {
            let hex = line[key].as_str().ok_or("no text")?;
            assert!(
                hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()),
                "{hex}"
            );
        }
        // The file says what the line says.
        let files = line["files"].as_array().ok_or("no files")?;
        let json = files
            .iter()
            .filter_map(Value::as_str)
            .find(|f| f.ends_with(".json"));
        let file = fs::read_to_string(dir.join("o").join(json.ok_or("no manifest")?))?;
        assert!(!file.contains("NaN"));
        assert_eq!(serde_json::from_str::<Value>(&file)?, *line);
        for file in files.iter().filter_map(Value::as_str) {
            assert!(dir.join("o").join(file).is_file(), "{file}");
        }
    }
    let [cam, blur] = &lines[..] else {
        return Err("not two lines".into());
    };
    assert_eq!(cam["method"], "grad-cam");
    assert_eq!(cam["completeness"], Value::Null);
    assert_eq!(cam["parameters"]["layer"], "bn2");
    assert_eq!(blur["method"], "blur-ig");
    assert_eq!(
        keys(&blur["completeness"]),
        BTreeSet::from(["attributed", "expected", "gap"])
    );
    let number = |key: &str| blur["completeness"][key].as_f64().ok_or("no number");
    let difference = number("attributed")? - number("expected")?;
    assert!((number("gap")? - difference).abs() < 1e-9 * difference.abs());
    assert_eq!(blur["parameters"]["steps"], 2);
    assert_eq!(blur["parameters"]["smooth"], 2);
    assert_eq!(blur["parameters"]["spread"], 0.1);
    assert_eq!(blur["evaluations"]["gradients"], 4);
    let class = |line: &Value| line["target"]["index"].as_u64().ok_or("no class");
    let expected: BTreeSet<String> = ["json", "npy"]
        .iter()
        .flat_map(|ending| {
            let name = |method, line| Ok(format!("deep/cat.{method}.{}.{ending}", class(line)?));
            [name("grad-cam", cam), name("blur-ig+smoothgrad", blur)]
        })
        .collect::<Result<_>>()?;
    assert_eq!(dir.files("o")?, expected);
    let (shape, values) = npy(&dir.join(format!("o/deep/cat.grad-cam.{}.npy", class(cam)?)))?;
    assert_eq!(shape, [7, 7]);
    assert!(values.iter().all(|v| *v >= 0.0) && values.iter().any(|v| *v > 0.0));
    let blur_file = format!("o/deep/cat.blur-ig+smoothgrad.{}.npy", class(blur)?);
    let (shape, values) = npy(&dir.join(blur_file))?;
    assert_eq!(shape, [3, 224, 224]);
    let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
    assert!((sum - number("attributed")?).abs() < 1e-6);
    Ok(())
}

#[test]
fn targets_name_classes() -> Result<()> {
    let dir = Dir::new()?;
    let photo = photo("coffee.jpg").display().to_string();
    let of = |target: &str| -> Result<Vec<u64>> {
        let done = dir.run([
            "explain", &photo, "--target", target, "--json", "--format", "json",
        ])?;
        let lines = done.good().json()?;
        let index = |l: &Value| l["target"]["index"].as_u64().ok_or("no index");
        Ok(lines
            .iter()
            .map(index)
            .collect::<std::result::Result<_, _>>()?)
    };
    assert_eq!(of("top1")?, [967]);
    let top = of("top:3")?;
    assert_eq!((top.len(), top[0]), (3, 967));
    for class in &top {
        assert!(
            dir.join(format!("limpid-out/coffee.grad-cam.{class}.json"))
                .is_file()
        );
    }
    assert_eq!(of("504")?, [504]);
    assert_eq!(of("Coffee MUG")?, [504]);
    Ok(())
}

#[test]
fn an_array_is_taken_as_the_normalised_input() -> Result<()> {
    let dir = Dir::new()?;
    let values: Vec<f32> = (0..3 * 224 * 224)
        .map(|i| ((i % 97) as f32 - 48.0) / 48.0)
        .collect();
    dir.write("x.NPY", &npy_bytes("3, 224, 224", &values))?;
    let done = dir.run(["explain", "x.NPY", "--json", "--format", "png,npy"])?;
    let line = &done.good().json()?[0];
    assert_eq!(line["crop"], Value::Null);
    assert_eq!(line["image"], "x.NPY");
    assert_eq!(dir.files("limpid-out")?.len(), 2);
    dir.write("small.npy", &npy_bytes("3, 8, 8", &values[..192]))?;
    let done = dir.run(["explain", "small.npy"])?;
    done.says(1, &["small.npy", "[3, 8, 8]", "[3, 224, 224]"]);
    Ok(())
}

#[test]
fn parameters_go_to_the_methods_that_have_them() -> Result<()> {
    let dir = Dir::new()?;
    let photo = photo("rocket.jpg").display().to_string();
    let done = dir.run([
        "explain",
        &photo,
        "--method",
        "integrated-gradients,blur-ig,smoothgrad,gradient",
        "--param",
        "blur-ig.steps=1",
        "--param",
        "steps=2",
        "--param",
        "mode=pair",
        "--param",
        "spread=0.05",
        "--param",
        "baseline=white",
        "--format",
        "json",
        "--json",
    ])?;
    let lines = done.good().json()?;
    let parameters: Vec<&Value> = lines.iter().map(|l| &l["parameters"]).collect();
    assert_eq!(parameters[0]["steps"], 2);
    assert_eq!(parameters[0]["baseline"], "white");
    assert_eq!(parameters[1]["steps"], 1);
    assert_eq!(parameters[1]["mode"], "pair");
    assert_eq!(parameters[2]["spread"], 0.05);
    assert_eq!(parameters[2]["smooth"], 25);
    assert_eq!(parameters[3]["spread"], Value::Null);
    Ok(())
}

#[test]
fn wrong_parameters_are_wrong_usage() -> Result<()> {
    let dir = Dir::new()?;
    let photo = photo("rocket.jpg").display().to_string();
    let wrong = |args: &[&str], parts: &[&str]| -> Result<()> {
        let done = dir.run([&["explain", &photo], args].concat())?;
        done.says(2, parts);
        assert!(!dir.join("limpid-out").exists());
        Ok(())
    };
    wrong(&["--method", "grad-kam"], &["grad-kam", "grad-cam"])?;
    wrong(
        &["--param", "steps=2"],
        &["steps", "grad-cam has layer, relu"],
    )?;
    wrong(&["--param", "blur-ig.steps=2"], &["blur-ig is not named"])?;
    wrong(&["--param", "grad-cam.steps=2"], &["steps"])?;
    wrong(
        &["--param", "relu=maybe"],
        &["relu", "maybe", "true or false"],
    )?;
    wrong(
        &["--method", "gradient", "--param", "spread=1"],
        &["spread", "--smooth"],
    )?;
    wrong(
        &["--method", "blur-ig", "--param", "steps=0"],
        &["steps", "1 to 10000"],
    )?;
    wrong(
        &["--method", "gradient,gradient"],
        &["gradient is named twice"],
    )?;
    Ok(())
}

#[test]
fn two_pictures_of_one_name_are_refused_before_any_work() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("cat.jpg", "a/x.jpg")?;
    dir.add("cat.jpg", "b/x.png")?;
    let done = dir.run(["explain", "a/x.jpg", "b/x.png"])?;
    done.says(2, &["a/x.jpg", "b/x.png", "both write x.*"]);
    let done = dir.run(["explain", "a", "b"])?;
    done.says(2, &["both write x.*"]);
    assert!(!dir.join("limpid-out").exists());
    // From one folder they keep their own.
    let done = dir.run(["explain", "."])?;
    done.good();
    assert_eq!(done.out.lines().count(), 2);
    let files = dir.files("limpid-out")?;
    assert!(
        files.iter().any(|f| f.starts_with("a/x.grad-cam.")),
        "{files:?}"
    );
    assert!(
        files.iter().any(|f| f.starts_with("b/x.grad-cam.")),
        "{files:?}"
    );
    // The results of the last run are no pictures of this one.
    let done = dir.run(["explain", "."])?;
    done.says(0, &["limpid-out", "not searched"]);
    assert_eq!(dir.files("limpid-out")?, files);
    Ok(())
}

#[test]
fn a_joint_sampling_writes_its_error() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("cat.jpg", "cat.jpg")?;
    let sampled = ["explain", "cat.jpg", "--method", "blur-ig", "--smooth", "1"];
    let done = dir.run(sampled.iter().copied().chain([
        "--param",
        "evaluations=20",
        "--format",
        "npy",
        "--json",
        "--out",
        "o",
    ]))?;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let line = &done.json()?[0];
    let name = "cat.blur-ig+smoothgrad.282";
    assert_eq!(line["standard_error"]["file"], format!("{name}.stderr.npy"));
    assert!(line["standard_error"]["relative"].as_f64() > Some(0.0));
    assert_eq!(line["parameters"]["sampling"], "joint");
    // Whole rounds of eight replicates.
    assert_eq!(line["evaluations"]["gradients"], 24);
    let (error, _) = npy(&dir.join(format!("o/{name}.stderr.npy")))?;
    let (map, _) = npy(&dir.join(format!("o/{name}.npy")))?;
    assert_eq!(error, map);
    let both = dir.run(sampled.iter().copied().chain([
        "--param",
        "evaluations=20",
        "--param",
        "steps=4",
    ]))?;
    assert_eq!(both.code, Some(2), "{}", both.err);
    assert!(both.err.contains("give one"), "{}", both.err);
    Ok(())
}

#[test]
fn a_class_can_be_compared_with_another() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("cat.jpg", "cat.jpg")?;
    let done = dir.run([
        "explain",
        "cat.jpg",
        "--target",
        "tiger cat vs tabby",
        "--target",
        "probability:top1",
        "--json",
        "--out",
        "o",
    ])?;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let lines = done.json()?;
    assert_eq!(lines[0]["target"]["against"]["index"], 281);
    assert_eq!(lines[0]["files"][0], "cat.grad-cam.282-vs-281.png");
    assert_eq!(lines[1]["target"]["readout"], "softmax");
    assert_eq!(lines[1]["score"], lines[1]["probability"]);
    Ok(())
}
