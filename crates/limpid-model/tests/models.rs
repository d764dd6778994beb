//! Weights, configurations, descriptions and bundles, sound and damaged.

use limpid_model::{Config, CropMode, Description, Interpolation, LabelError, Labels, Model};
use limpid_model::{ModelError, Weights};
use limpid_tensor::TensorError;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// A safetensors file with this header in front of `data`.
fn safetensors(header: &Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn weights(bytes: Vec<u8>) -> Result<Weights, ModelError> {
    Weights::from_bytes(bytes, "m.safetensors")
}

#[test]
fn every_floating_type_is_read() {
    let values = [1.0f32, -0.5, 3.25, 1024.0];
    let f16: Vec<u8> = [0x3C00u16, 0xB800, 0x4280, 0x6400]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let bf16: Vec<u8> = values
        .iter()
        .flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes())
        .collect();
    let f64s: Vec<u8> = values
        .iter()
        .flat_map(|&v| f64::from(v).to_le_bytes())
        .collect();
    let header = json!({
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "F16", "shape": [4], "data_offsets": [16, 24]},
        "c": {"dtype": "BF16", "shape": [4, 1], "data_offsets": [24, 32]},
        "d": {"dtype": "F64", "shape": [1, 4], "data_offsets": [32, 64]},
        "n": {"dtype": "I64", "shape": [], "data_offsets": [64, 72]},
    });
    let data = [f32s(&values), f16, bf16, f64s, vec![0; 8]].concat();
    let w = weights(safetensors(&header, &data)).unwrap();
    assert_eq!(w.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(w.tensor(name).unwrap().data(), values, "{name}");
    }
    assert_eq!(w.shape("c"), Some(&[4, 1][..]));
    let error = w.tensor("n").unwrap_err().to_string();
    assert!(error.contains("tensor `n` is of type I64"), "{error}");
}

#[test]
fn lying_headers_are_refused() {
    let data = f32s(&[1.0, 2.0]);
    let one = |dtype: &str, shape: Value, offsets: Value| {
        safetensors(
            &json!({"t": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}),
            &data,
        )
    };
    let two = |a: Value, b: Value| {
        safetensors(
            &json!({"a": {"dtype": "F32", "shape": [1], "data_offsets": a},
                    "b": {"dtype": "F32", "shape": [1], "data_offsets": b}}),
            &data,
        )
    };
    let mut huge = u64::MAX.to_le_bytes().to_vec();
    huge.extend(b"{}");
    let big = 1u64 << 62;
    for (bytes, message) in [
        (vec![1, 2, 3], "fewer than 8 bytes"),
        (huge, "its header claims 18446744073709551615 bytes"),
        (
            [&5u64.to_le_bytes()[..], b"{\"a\":"].concat(),
            "its header is not sound",
        ),
        (
            one("F32", json!([2]), json!([0, 4096])),
            "tensor `t` claims the bytes 0 to 4096 of 8",
        ),
        (
            one("F32", json!([2]), json!([8, 0])),
            "tensor `t` claims the bytes 8 to 0",
        ),
        (
            one("F32", json!([3]), json!([0, 8])),
            "needs 12 bytes and claims 8",
        ),
        (
            one("F32", json!([big, big]), json!([0, 8])),
            "tensor `t` of shape",
        ),
        (
            one("F32", json!([1]), json!([0, 4])),
            "cover 4 of the 8 bytes",
        ),
        (one("F32", json!(vec![1; 9]), json!([0, 4])), "9 axes"),
        (
            one("F99", json!([2]), json!([0, 8])),
            "its header is not sound",
        ),
        (
            one("F32", json!([-2]), json!([0, 8])),
            "its header is not sound",
        ),
        (
            two(json!([0, 4]), json!([0, 4])),
            "tensor `b` begins at byte 0",
        ),
        (
            two(json!([0, 4]), json!([2, 6])),
            "tensor `b` begins at byte 2",
        ),
        (
            b"\x80\0\0\0\0\0\0\0"
                .iter()
                .copied()
                .chain(vec![b'['; 128])
                .collect(),
            "not sound",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.safetensors");
        std::fs::write(&path, &bytes).unwrap();
        for result in [weights(bytes), Weights::open(&path)] {
            let error = result.unwrap_err().to_string();
            assert!(
                error.contains("m.safetensors") && error.contains(message),
                "{error}"
            );
        }
    }
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let header = json!({"conv.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}});
    let w = weights(safetensors(&header, &f32s(&[0.0, f32::INFINITY]))).unwrap();
    let error = w.tensor("conv.weight").unwrap_err().to_string();
    assert!(
        error.contains("tensor `conv.weight` holds inf at element 1"),
        "{error}"
    );
}

#[test]
fn configurations() {
    let parse = |v: Value| Config::from_bytes(v.to_string().as_bytes(), "config.json").unwrap();
    let none = serde_json::Map::new();
    let nested = parse(json!({
        "architecture": "resnet50.a1_in1k", "num_classes": 2, "label_names": ["a", "b"],
        "label_descriptions": {"a": "x"},
        "pretrained_cfg": {"input_size": [3, 160, 176], "interpolation": "lanczos", "crop_pct": 0.95,
            "crop_mode": "squash", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "num_classes": 1000},
    }));
    assert_eq!(nested.architecture().unwrap(), Some("resnet50"));
    assert_eq!(nested.num_classes().unwrap(), Some(2));
    assert_eq!(nested.label_names().unwrap().unwrap(), ["a", "b"]);
    let p = nested.preprocess(&none, None).unwrap();
    assert_eq!(p.input_size(), [3, 160, 176]);
    assert_eq!(p.interpolation(), Interpolation::Lanczos);
    assert_eq!(p.crop_mode(), CropMode::Squash);
    assert_eq!((p.crop_pct(), p.mean()), (0.95, &[0.5; 3][..]));
    // The older form, and what an architecture adds to it.
    let flat = parse(json!({"input_size": [3, 96, 96], "crop_pct": 0.9, "pretrained_cfg": null}));
    let defaults = json!({"crop_pct": 1.0, "interpolation": "bilinear", "crop_mode": null});
    let p = flat
        .preprocess(defaults.as_object().unwrap(), None)
        .unwrap();
    assert_eq!((p.input_size(), p.crop_pct()), ([3, 96, 96], 0.9));
    assert_eq!(p.interpolation(), Interpolation::Bilinear);
    assert_eq!(p.mean(), [0.485, 0.456, 0.406]);
    // Without a word: ImageNet's.
    let p = parse(json!({})).preprocess(&none, None).unwrap();
    assert_eq!(p, limpid_model::Preprocess::default());
}

#[test]
fn wrong_configurations_are_refused() {
    let none = serde_json::Map::new();
    let all = |v: &Value| -> Result<(), ModelError> {
        let c = Config::from_bytes(v.to_string().as_bytes(), "config.json")?;
        c.architecture()?;
        c.num_classes()?;
        c.label_names()?;
        c.preprocess(&none, None).map(|_| ())
    };
    for (value, message) in [
        (json!([1]), "is not an object"),
        (
            json!({"pretrained_cfg": 3}),
            "key `pretrained_cfg` must be an object",
        ),
        (json!({"architecture": 3}), "key `architecture`"),
        (json!({"num_classes": -1}), "key `num_classes`"),
        (
            json!({"pretrained_cfg": {"num_classes": 1e30}}),
            "key `pretrained_cfg.num_classes`",
        ),
        (json!({"label_names": {"0": "a"}}), "key `label_names`"),
        (json!({"label_names": ["a", 1]}), "key `label_names`"),
        (json!({"input_size": [3, 224]}), "key `input_size`"),
        (json!({"input_size": [3, 0, 224]}), "key `input_size`"),
        (
            json!({"input_size": [3, 900000, 900000]}),
            "key `input_size`",
        ),
        (
            json!({"interpolation": "best"}),
            "must be one of nearest, box, bilinear",
        ),
        (json!({"crop_pct": "x"}), "key `crop_pct`"),
        (json!({"crop_pct": 1e-300}), "key `crop_pct`"),
        (
            json!({"crop_mode": "middle"}),
            "must be center, border or squash",
        ),
        (json!({"mean": [1, 2]}), "key `mean`"),
        (json!({"std": [0, 0, 0]}), "key `std`"),
        (json!({"input_size": [1, 8, 8]}), "key `mean` is missing"),
    ] {
        let error = all(&value).unwrap_err().to_string();
        assert!(
            error.starts_with("config.json") && error.contains(message),
            "{error}"
        );
    }
    let deep = [b"{\"a\":".repeat(5000), b"1".to_vec(), b"}".repeat(5000)].concat();
    let error = Config::from_bytes(&deep, "config.json")
        .unwrap_err()
        .to_string();
    assert!(error.contains("recursion limit"), "{error}");
}

#[test]
fn labels_are_found() {
    let labels = Labels::new(
        [
            "tench, Tinca tinca",
            "maillot",
            "maillot, tank suit",
            "Crane",
            "crane",
            "3 bears",
        ]
        .map(String::from)
        .to_vec(),
    );
    assert_eq!(labels.find("tinca TINCA"), Ok(0));
    assert_eq!(labels.find("Tench, tinca tinca"), Ok(0));
    assert_eq!(labels.find("tank suit"), Ok(2));
    assert_eq!(labels.find(" 4 "), Ok(4));
    assert_eq!(labels.find("3 bears"), Ok(5));
    let error = labels.find("crane").unwrap_err();
    assert!(
        error.to_string().contains("3 (Crane), 4 (crane)"),
        "{error}"
    );
    assert!(matches!(
        labels.find("maillot"),
        Err(LabelError::Ambiguous { .. })
    ));
    let error = labels.find("6").unwrap_err();
    assert!(
        error.to_string().contains("has 6 classes, 0 to 5"),
        "{error}"
    );
    let error = labels.find("tensh").unwrap_err();
    assert!(error.to_string().contains("\"tench\""), "{error}");
    assert!(matches!(labels.find(""), Err(LabelError::Unknown { .. })));
    assert!(labels.find("99999999999999999999999").is_err());
    assert_eq!(Labels::unnamed(7).display(6), "class 6");
}

#[test]
fn the_embedded_model_is_whole() {
    let model = Model::embedded().unwrap();
    assert_eq!(model.labels().len(), 1000);
    assert_eq!(model.labels().find("espresso"), Ok(967));
    assert_eq!(model.preprocess().input_size(), [3, 224, 224]);
    assert_eq!(model.architecture(), "tf_efficientnet_lite0");
    assert_eq!(model.sha256().len(), 64);
    let elements: usize = model
        .tensors()
        .values()
        .map(|c| c.shape().iter().product::<usize>())
        .sum();
    // timm: 4 652 008 parameters, and a mean and a variance for each of the
    // 21 008 channels that are normalised.
    assert_eq!(elements, 4_652_008 + 2 * 21_008);
    assert!(model.notes().is_empty(), "{:?}", model.notes());
    let graph = model.graph(2).unwrap();
    assert_eq!(graph.fact(graph.inputs()[0]).shape.dims(), [2, 3, 224, 224]);
    assert_eq!(graph.fact(graph.outputs()[0]).shape.dims(), [2, 1000]);
    let head = graph.layer("bn2").unwrap();
    assert_eq!(graph.fact(head).shape.dims(), [2, 1280, 7, 7]);
}

#[test]
fn every_description_is_sound() {
    let known: Vec<&str> = Description::known().collect();
    assert!(known.contains(&"tf_efficientnet_lite0"));
    for name in known {
        let description = Description::built_in(name).unwrap().unwrap();
        assert!(!description.tensor_names().is_empty());
        Config::empty("none")
            .preprocess(description.defaults(), None)
            .unwrap();
    }
}

/// A network of one fully connected layer on 1 x 2 pixels.
fn tiny_graph() -> Value {
    json!({
        "format": "limpid-graph/1",
        "inputs": [{"name": "x", "shape": [3, 1, 2]}],
        "nodes": [
            {"name": "flat", "op": "Flatten", "attrs": {"axis": 1}, "inputs": ["x"], "outputs": ["flat"]},
            {"name": "fc", "op": "Gemm", "attrs": {"trans_b": true},
             "inputs": ["flat", "fc.weight", "fc.bias"], "outputs": ["fc"]},
        ],
        "layers": {"fc": "fc"},
        "outputs": ["fc"],
        "defaults": {"input_size": [3, 1, 2]},
    })
}

/// Its weights: `columns` inputs, and the bias under the name `bias`.
fn tiny_weights(columns: usize, bias: &str) -> Vec<u8> {
    let weight = 4 * 2 * columns;
    let header = json!({
        "fc.weight": {"dtype": "F32", "shape": [2, columns], "data_offsets": [0, weight]},
        bias: {"dtype": "F32", "shape": [2], "data_offsets": [weight, weight + 8]},
    });
    safetensors(&header, &f32s(&vec![0.25; 2 * columns + 2]))
}

fn write_bundle(directory: &Path, config: &Value, graph: Option<&Value>, weights: &[u8]) {
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    std::fs::write(directory.join("model.safetensors"), weights).unwrap();
    match graph {
        Some(graph) => std::fs::write(directory.join("graph.json"), graph.to_string()).unwrap(),
        None => drop(std::fs::remove_file(directory.join("graph.json"))),
    }
}

#[test]
fn large_weights_stay_in_their_file() {
    let columns = 3 * 2048;
    let opened = || {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("model.safetensors");
        std::fs::write(&file, tiny_weights(columns, "fc.bias")).unwrap();
        let weights = Weights::open(&file).unwrap();
        let [large, small] = ["fc.weight", "fc.bias"].map(|n| weights.constant(n).unwrap());
        (directory, file, large, small)
    };
    let (_kept, file, large, small) = opened();
    assert!(large.held().is_none() && small.held().is_some());
    let tensor = large.load().unwrap().into_owned();
    assert_eq!(
        (tensor.dims(), tensor.data()),
        (&[2, columns][..], &vec![0.25; 2 * columns][..])
    );
    // Another file of the name changes nothing.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "other").unwrap();
    assert_eq!(*large.load().unwrap(), tensor);

    let changes: [fn(&mut File); 2] = [
        |file| file.set_len(100).unwrap(),
        |file| {
            file.write_all(&[0; 100]).unwrap();
            // The clock of a file system may stand still for some milliseconds.
            let later = file.metadata().unwrap().modified().unwrap() + Duration::from_secs(1);
            file.set_modified(later).unwrap();
        },
    ];
    for change in changes {
        let (_kept, file, large, small) = opened();
        change(&mut File::options().write(true).open(&file).unwrap());
        let refused = TensorError::Unreadable {
            file: file.display().to_string(),
            tensor: "fc.weight".into(),
            reason: "has changed since it was opened; open the model again".into(),
        };
        assert_eq!(large.load().unwrap_err(), refused);
        assert!(small.load().is_ok());
    }
}

#[test]
fn bundles_are_opened_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let good = tiny_weights(6, "fc.bias");
    let graph = tiny_graph();
    write_bundle(
        path,
        &json!({"num_classes": 2, "label_names": ["a", "b"]}),
        Some(&graph),
        &good,
    );
    let model = Model::open(path).unwrap();
    assert_eq!(model.labels().name(1), Some("b"));
    assert_eq!(model.preprocess().input_size(), [3, 1, 2]);
    let opened = Weights::open(path.join("model.safetensors")).unwrap();
    assert_eq!(model.sha256(), opened.sha256().unwrap());

    let mut fewer = graph.clone();
    fewer["nodes"][1]["inputs"] = json!(["flat", "fc.weight"]);
    write_bundle(path, &json!({}), Some(&fewer), &good);
    let notes = Model::open(path).unwrap().notes().join(" ");
    assert!(notes.contains("1 tensor that the architecture does not use, such as `fc.bias`"));

    let refused = |config: Value, graph: Option<&Value>, weights: &[u8], message: &str| {
        write_bundle(path, &config, graph, weights);
        let error = Model::open(path).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
    };
    refused(
        json!({}),
        Some(&graph),
        &tiny_weights(6, "fc.bais"),
        "tensor `fc.bias` is missing (nearest names: `fc.bais`",
    );
    refused(
        json!({}),
        Some(&graph),
        &tiny_weights(5, "fc.bias"),
        "tensor `fc.weight` has the shape",
    );
    refused(
        json!({"num_classes": 3}),
        Some(&graph),
        &good,
        "key `num_classes` is 3",
    );
    refused(
        json!({"label_names": ["a"]}),
        Some(&graph),
        &good,
        "key `label_names` has 1 names",
    );
    refused(
        json!({"architecture": "vgg99"}),
        None,
        &good,
        "the architecture `vgg99` is not built in (nearest names: `vgg",
    );
    refused(json!({}), None, &good, "key `architecture` is missing");

    for (pointer, value, message) in [
        ("/format", json!("other/9"), "key `format`"),
        (
            "/nodes/1/op",
            json!("Teleport"),
            "unknown operator `Teleport`",
        ),
        ("/nodes/0/attrs", json!({"axis": "one"}), "wrong attributes"),
        (
            "/nodes/0/inputs",
            json!(["fc"]),
            "reads `fc` before a node makes it",
        ),
        (
            "/nodes/0/outputs",
            json!(["x"]),
            "makes `x`, which exists already",
        ),
        ("/nodes/0/outputs", json!(["flat", "b"]), "names 2 outputs"),
        (
            "/outputs",
            json!(["none"]),
            "is `none`, which no node makes",
        ),
        ("/outputs", json!([]), "lists 0 outputs"),
        ("/inputs", json!([]), "lists 0 inputs"),
        ("/layers", json!({"l": "none"}), "layer `l`"),
        (
            "/outputs",
            json!(["x"]),
            "logits [batch, classes] are needed",
        ),
        ("/nodes", json!(7), "is not sound JSON"),
    ] {
        let mut wrong = graph.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        refused(json!({}), Some(&wrong), &good, message);
    }
    std::fs::remove_file(path.join("model.safetensors")).unwrap();
    assert!(
        Model::open(path)
            .unwrap_err()
            .to_string()
            .contains("no model.safetensors")
    );
    assert!(
        Model::find("no-such-model")
            .unwrap_err()
            .to_string()
            .contains("embedded model")
    );
    assert!(Model::find("tf_efficientnet_lite0").is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn any_header_is_read_or_refused(
        shape in proptest::collection::vec(any::<u64>(), 0..4),
        offsets in any::<(u16, u16)>(),
        data in 0usize..64,
        cut in any::<prop::sample::Index>(),
    ) {
        let header = json!({"t": {"dtype": "F32", "shape": shape, "data_offsets": [offsets.0, offsets.1]}});
        let file = safetensors(&header, &vec![0; data]);
        let cut = cut.index(file.len() + 1);
        for bytes in [file[..cut].to_vec(), file] {
            if let Ok(w) = weights(bytes) {
                let _ = w.tensor("t");
            }
        }
    }

    #[test]
    fn any_damage_to_a_description_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        number in any::<i64>(),
    ) {
        let text = tiny_graph().to_string();
        let mut damaged = text.clone().into_bytes();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let _ = Description::from_bytes(&damaged, "graph.json");
        let other = text.replace(":1,", &format!(":{number},"));
        let config = Config::empty("config.json");
        let w = weights(tiny_weights(6, "fc.bias")).unwrap();
        if let Ok(d) = Description::from_bytes(other.as_bytes(), "graph.json") {
            let _ = Model::from_parts("any", &config, Some(d), &w);
        }
    }
}
