//! Measurements: that they are made, not what they are.

use crate::support::{Dir, Result, photo};
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;

#[test]
fn the_start_is_measured() -> Result<()> {
    let dir = Dir::new()?;
    let photo = photo("rocket.jpg").display().to_string();
    let done = dir.run(["bench", "start", &photo, "--runs", "2", "--json"])?;
    let report = &done.good().json()?[0];
    assert_eq!(report["bench"], "start");
    assert_eq!(report["image"], photo);
    assert_eq!(report["runs"], 2);
    let figure = |key: &str, which: &str| report[key][which].as_f64();
    let seconds = ["min", "median", "max"].map(|which| figure("seconds", which));
    assert!(seconds.is_sorted() && seconds[0] > Some(0.0), "{report}");
    if cfg!(target_os = "linux") {
        // At least the weights.
        assert!(figure("peak_bytes", "min") > Some(10e6), "{report}");
    }
    let done = dir.run(["bench", "start", "--runs", "1"])?;
    assert!(done.good().out.contains("peak memory"), "{}", done.out);
    let done = dir.run(["bench", "start", "missing.jpg"])?;
    done.says(1, &["missing.jpg"]);
    assert_eq!(dir.files(".")?.len(), 0);
    Ok(())
}

#[test]
fn each_step_is_measured() -> Result<()> {
    let dir = Dir::new()?;
    let args = [
        "bench",
        "layers",
        "--batch",
        "1",
        "--rounds",
        "1",
        "--forward",
        "--json",
    ];
    let done = dir.run(args)?;
    let report = &done.good().json()?[0];
    assert_eq!(
        (&report["batch"], &report["rounds"]),
        (&json!(1), &json!(1))
    );
    let steps = report["steps"].as_array().ok_or("no steps")?;
    let stem = steps.iter().find(|s| s["op"] == "Conv").ok_or("no stem")?;
    // The stem runs with the depthwise convolution and the projection behind
    // it: 32 sums of 27 products, 32 of 9 and 16 of 32 at 112 x 112 positions.
    assert_eq!(stem["output"], json!([1, 16, 112, 112]));
    let products = f64::from(112 * 112 * (32 * 27 + 32 * 9 + 16 * 32));
    let done_of = |row: &Value| Some(1e6 * row["ms"].as_f64()? * row["gflops"].as_f64()?);
    let operations = done_of(stem).ok_or("no figures")?;
    assert!((operations / (2.0 * products) - 1.0).abs() < 1e-6);
    let kernels = report["kernels"].as_array().ok_or("no kernels")?;
    let counted: u64 = kernels.iter().filter_map(|k| k["steps"].as_u64()).sum();
    assert_eq!(counted, steps.len() as u64);
    assert!(report["peak"]["gflops"]["min"].as_f64() > Some(0.0));
    let done = dir.run(["bench", "layers", "--batch", "1", "--rounds", "1"])?;
    assert!(
        done.good().out.contains("forward and gradient, batch 1"),
        "{}",
        done.out
    );
    Ok(())
}

#[test]
fn combinations_are_measured() -> Result<()> {
    let dir = Dir::new()?;
    let args = [
        "bench", "model", "--batch", "1,2", "--side", "64,32", "--rounds", "1",
    ];
    let done = dir.run([&args[..], &["--json"]].concat())?;
    let report = &done.good().json()?[0];
    let points = report["points"].as_array().ok_or("no points")?;
    assert_eq!(points.len(), 4);
    for point in points {
        assert_eq!(point["skipped"], Value::Null);
        assert!(point["gradient"]["median"].as_f64() > Some(0.0), "{point}");
    }
    assert_eq!(points[3]["input"], json!([3, 32, 32]));
    let text = dir.run(args)?;
    assert!(text.good().out.contains("64x64"), "{}", text.out);
    Ok(())
}

#[test]
fn an_instruction_set_can_be_forced() -> Result<()> {
    let dir = Dir::new()?;
    let photo = photo("rocket.jpg").display().to_string();
    let done = dir.run(["explain", &photo, "--isa", "scalar", "--json"])?;
    assert_eq!(done.good().json()?[0]["isa"], "scalar");
    let done = dir.run(["predict", &photo, "--isa", "mmx"])?;
    assert_eq!(done.code, Some(2));
    let known = "choose one of avx512, avx2, neon and scalar";
    assert!(done.err.contains(known), "{}", done.err);
    Ok(())
}

#[test]
fn a_worker_answers_line_by_line() -> Result<()> {
    let dir = Dir::new()?;
    let pictures: Vec<u8> = (0..3 * 32 * 32)
        .flat_map(|i| (i as f32).sin().to_le_bytes())
        .collect();
    dir.write("in.f32", &pictures)?;
    let requests = [
        json!({"work": "forward", "side": 32, "input": "in.f32", "output": "out.f32"}),
        json!({"work": "gradient", "side": 32, "batch": 2}),
        json!({"work": "blurs", "side": 32, "batch": 4}),
        json!({"work": "explain", "method": "gradient"}),
        json!({"work": "forward", "side": 4097}),
        json!({"work": "forward", "side": 64, "input": "in.f32"}),
        json!({"work": "forward", "model": "missing"}),
        json!({"work": "explain", "method": "missing"}),
        json!({"work": "missing"}),
    ];
    let mut worker = dir
        .program()
        .args(["bench", "worker", "--threads", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = worker.stdin.take().ok_or("no pipe")?;
    for request in &requests {
        writeln!(stdin, "{request}")?;
    }
    drop(stdin);
    let output = worker.wait_with_output()?;
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout)?;
    let answers: Vec<Value> = answers
        .lines()
        .map(serde_json::from_str)
        .collect::<std::result::Result<_, _>>()?;
    assert_eq!(answers.len(), requests.len());
    for (answer, request) in answers.iter().zip(&requests[..4]) {
        assert!(
            answer["seconds"].as_f64() > Some(0.0),
            "{request}: {answer}"
        );
    }
    for (answer, request) in answers.iter().zip(&requests).skip(4) {
        assert!(answer["error"].is_string(), "{request}: {answer}");
    }
    assert_eq!(std::fs::read(dir.join("out.f32"))?.len(), 4000);
    Ok(())
}
