//! The commands that list, and how the program is called.

use crate::support::{Dir, Done, Result, keys, root};
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn methods_say_what_they_take() -> Result<()> {
    let dir = Dir::new()?;
    let done = dir.run(["methods", "--json"])?;
    let documents = done.good().json()?;
    assert_eq!(documents.len(), 1);
    let methods = documents[0].as_array().ok_or("no list")?;
    let ids: BTreeSet<&str> = methods.iter().filter_map(|m| m["id"].as_str()).collect();
    let wanted = [
        "blur-ig",
        "grad-cam",
        "gradient",
        "integrated-gradients",
        "smoothgrad",
    ];
    assert!(wanted.iter().all(|id| ids.contains(id)), "{ids:?}");
    for method in methods {
        assert_eq!(
            keys(method),
            BTreeSet::from(["id", "kind", "output", "params", "plugin"])
        );
        assert_eq!(method["plugin"], Value::Null);
        for (name, param) in method["params"].as_object().ok_or("no params")? {
            let wanted = ["type", "default", "min", "max", "values", "help"];
            assert_eq!(keys(param), BTreeSet::from(wanted), "{name}");
        }
    }
    let text = dir.run(["methods"])?;
    for id in &ids {
        assert!(text.good().out.contains(id), "{id}");
    }
    assert!(text.out.contains("midpoint"));
    Ok(())
}

#[test]
fn devices_say_what_they_have() -> Result<()> {
    let dir = Dir::new()?;
    let done = dir.run(["devices", "--json"])?;
    let documents = done.good().json()?;
    let devices = documents[0].as_array().ok_or("no list")?;
    for device in devices {
        let wanted = "id kind name driver available reason limits features";
        assert_eq!(keys(device), wanted.split(' ').collect());
    }
    let cpu = devices
        .iter()
        .find(|d| d["id"] == "cpu")
        .ok_or("no processor")?;
    assert_eq!(cpu["available"], true);
    assert!(cpu["limits"]["threads"].as_u64() > Some(0));
    assert!(
        dir.run(["devices"])?
            .good()
            .out
            .starts_with("cpu (cpu), available\n")
    );
    // What each adapter is, and why one is not taken.
    for device in devices.iter().filter(|d| d["kind"] == "wgpu") {
        let class = device["features"][0].as_str();
        if device["available"] == false {
            assert!(device["reason"].is_string());
        } else if class == Some("software") {
            let reason = device["reason"].as_str().unwrap_or_default();
            assert!(reason.contains("auto never takes"), "{reason}");
        } else {
            assert!(["discrete", "integrated"].map(Some).contains(&class));
            assert!(device["reason"].is_null());
        }
    }
    assert!(devices.iter().any(|d| d["id"] == "wgpu"));
    Ok(())
}

/// Vulkan's loader takes no driver but those of a file that there is not.
#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_adapters_says_so() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "a.jpg")?;
    let run = |args: &[&str]| -> Result<Done> {
        let mut program = dir.program();
        program.env("VK_DRIVER_FILES", "/nonexistent");
        program.env("VK_ICD_FILENAMES", "/nonexistent");
        Done::of(program.args(args).output()?)
    };
    let done = run(&["devices", "--json"])?;
    let documents = done.good().json()?;
    let wgpu = &documents[0][1];
    assert_eq!(
        (&wgpu["id"], &wgpu["available"]),
        (&"wgpu".into(), &false.into())
    );
    assert!(wgpu["name"].is_null() && wgpu["driver"].is_null());
    let reason = "this machine has no driver for Vulkan";
    assert!(wgpu["reason"].as_str().unwrap_or_default().contains(reason));
    assert!(run(&["devices"])?.good().out.contains(reason));

    let done = run(&["predict", "a.jpg", "--device", "wgpu"])?;
    assert_eq!((done.code, &*done.out), (Some(1), ""));
    assert!(done.err.contains(reason), "{}", done.err);
    assert_eq!(done.err.lines().count(), 1, "{}", done.err);
    let done = run(&["predict", "a.jpg", "--device", "wgpu:3"])?;
    assert_eq!(done.code, Some(1), "{}", done.err);
    let done = run(&["predict", "a.jpg", "--precision", "f16"])?;
    assert_eq!(done.code, Some(2), "{}", done.err);
    assert!(done.err.contains("auto found no graphics adapter"));
    run(&["predict", "a.jpg"])?.good();
    Ok(())
}

/// An adapter in software is used when it is asked for, with one note.
#[test]
fn an_adapter_in_software_is_used_on_request_alone() -> Result<()> {
    let dir = Dir::new()?;
    dir.add("coffee.jpg", "a.jpg")?;
    let done = dir.run(["devices", "--json"])?;
    let documents = done.good().json()?;
    let best = &documents[0][1];
    if best["available"] == false || best["features"][0] != "software" {
        let required = std::env::var_os("LIMPID_REQUIRE_WGPU").is_some();
        assert!(!required || best["available"] == true, "no adapter");
        return Ok(());
    }
    let bundle = root().join("tests/fixtures/smooth-network");
    let run = |device: &str| {
        let model = bundle.as_os_str();
        let args = [
            "explain", "a.jpg", "--method", "gradient", "--json", "--device",
        ];
        let args = args.map(std::ffi::OsStr::new);
        dir.run([&args[..], &[device.as_ref(), "--model".as_ref(), model]].concat())
    };
    let done = run("wgpu")?;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let notes = |err: &str| err.lines().filter(|l| l.contains("note:")).count();
    let line = &done.json()?[0];
    assert_eq!(
        (&line["device"], &line["precision"]),
        (&"wgpu".into(), &"f32".into())
    );
    assert_eq!(line["isa"], best["driver"]);
    assert_eq!(notes(&done.err), 1, "{}", done.err);
    assert!(done.err.contains("computes in software"), "{}", done.err);
    let done = run("auto")?;
    assert_eq!(done.good().json()?[0]["device"], "cpu");
    assert_eq!(notes(&done.err), 0, "{}", done.err);
    Ok(())
}

#[test]
fn the_embedded_model_is_laid_open() -> Result<()> {
    let dir = Dir::new()?;
    let done = dir.run(["model", "inspect", "tf_efficientnet_lite0", "--json"])?;
    let model = &done.good().json()?[0];
    let wanted = "model architecture sha256 classes input parameters multiply_adds cam_layer \
        layers preprocess";
    assert_eq!(keys(model), wanted.split_whitespace().collect());
    assert_eq!(model["classes"], 1000);
    assert_eq!(model["input"], serde_json::json!([3, 224, 224]));
    // As timm 1.0.31 counts them.
    assert_eq!(model["parameters"], 4_652_008);
    let layers = model["layers"].as_array().ok_or("no list")?;
    for layer in layers {
        let wanted = "name op shape parameters multiply_adds cam grid";
        assert_eq!(keys(layer), wanted.split(' ').collect());
    }
    let cam = layers
        .iter()
        .find(|l| l["name"] == model["cam_layer"])
        .ok_or("no CAM layer")?;
    assert_eq!(cam["cam"], true);
    assert_eq!(
        cam["shape"].as_array().map(|s| &s[1..]),
        Some(&[7.into(), 7.into()][..])
    );
    assert_eq!(model["preprocess"]["interpolation"], "bicubic");
    let text = dir.run(["model", "inspect"])?;
    for part in [
        "conv_stem",
        "default",
        "multiply-adds",
        "bicubic to 224x224",
    ] {
        assert!(text.good().out.contains(part), "{part}");
    }
    dir.run(["model", "inspect", "missing"])?
        .says(1, &["missing is not a model"]);
    Ok(())
}

#[test]
fn licences_of_all_that_is_built_in() -> Result<()> {
    let dir = Dir::new()?;
    let done = dir.run(["licenses"])?;
    for part in [
        "MIT License",
        "Apache License",
        "tf_efficientnet_lite0",
        "DejaVu",
        "SIL OPEN FONT LICENSE",
        "safetensors",
    ] {
        assert!(done.good().out.contains(part), "{part}");
    }
    Ok(())
}

#[test]
fn the_program_says_how_it_is_called() -> Result<()> {
    let dir = Dir::new()?;
    let version = dir.run(["--version"])?;
    assert_eq!(
        version.good().out,
        concat!("limpid ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let help = dir.run(["help"])?;
    for command in [
        "explain", "predict", "model", "methods", "plugins", "devices", "licenses", "bench",
    ] {
        assert!(
            help.good().out.contains(&format!("\n  {command} ")),
            "{}",
            help.out
        );
    }
    assert!(!help.out.contains("worker"), "{}", help.out);
    let help = dir.run(["explain", "--help"])?;
    for part in [
        "[default: grad-cam]",
        "--smooth <N>",
        "--isolate",
        "[default: limpid-out]",
    ] {
        assert!(help.good().out.contains(part), "{}", help.out);
    }
    for args in [&[][..], &["model"], &["bench"], &["explain"], &["evaluate"]] {
        let done = dir.run(args)?;
        assert_eq!(done.code, Some(2), "{args:?}");
        assert!(
            done.out.is_empty() && done.err.contains("Usage: limpid"),
            "{}",
            done.err
        );
    }
    Ok(())
}
