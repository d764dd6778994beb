//! Descriptions that would harm the process, and networks whose pictures do
//! not stay apart, are refused when they are read.

use limpid_model::{Config, Description, Model, ModelError, Weights};
use serde_json::{Value, json};

/// Zeros: `w` [2, 6], `b` [2], `one` [1, 1, 1, 1], `four` [4, 6]
/// and `window` [1, 1, 128, 128].
fn weights() -> Weights {
    let header = json!({
        "w": {"dtype": "F32", "shape": [2, 6], "data_offsets": [0, 48]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [48, 56]},
        "one": {"dtype": "F32", "shape": [1, 1, 1, 1], "data_offsets": [56, 60]},
        "four": {"dtype": "F32", "shape": [4, 6], "data_offsets": [60, 156]},
        "window": {"dtype": "F32", "shape": [1, 1, 128, 128], "data_offsets": [156, 156 + (1 << 16)]},
    })
    .to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(vec![0; 156 + (1 << 16)]);
    Weights::from_bytes(file, "m.safetensors").unwrap()
}

fn node(name: &str, op: &str, attrs: Value, inputs: &[&str]) -> Value {
    json!({"name": name, "op": op, "attrs": attrs, "inputs": inputs, "outputs": [name]})
}

fn gemm(input: &str) -> Value {
    node("fc", "Gemm", json!({"trans_b": true}), &[input, "w", "b"])
}

/// A model of these nodes on a picture [3, 1, 2], whose output is `fc`.
fn model(nodes: &[Value]) -> Result<Model, ModelError> {
    let graph = json!({
        "format": "limpid-graph/1",
        "inputs": [{"name": "x", "shape": [3, 1, 2]}],
        "nodes": nodes,
        "outputs": ["fc"],
        "defaults": {"input_size": [3, 1, 2]},
    });
    let description = Description::from_bytes(graph.to_string().as_bytes(), "graph.json")?;
    Model::from_parts(
        "m",
        &Config::empty("config.json"),
        Some(description),
        &weights(),
    )
}

fn refused(nodes: &[Value], message: &str) {
    let error = model(nodes).unwrap_err().to_string();
    assert!(error.starts_with("graph.json: "), "{error}");
    assert!(error.contains(message), "{error}");
}

#[test]
fn internal_operators_are_refused() {
    let flat = node("flat", "Flatten", json!({"axis": 1}), &["x"]);
    assert!(model(&[flat.clone(), gemm("flat")]).is_ok());
    // The basis of 2^31 points would have 2^62 numbers.
    let wide = node(
        "wide",
        "Expand",
        json!({"shape": [1, 1, 1, 1u64 << 31]}),
        &["one"],
    );
    refused(
        &[
            wide,
            node("heat", "HeatKernel", json!({}), &["wide", "b"]),
            gemm("x"),
        ],
        "node `heat`: has the internal operator `HeatKernel`, which only the engine makes",
    );
    for op in [
        "GaussianNoise",
        "SeparableFilter",
        "WeightedSum",
        "RunningMoments",
        "RangeMask",
        "MaskMul",
    ] {
        refused(
            &[node("n", op, json!({}), &["x"])],
            &format!("internal operator `{op}`"),
        );
    }
    let epilogue = json!({"add": true, "clip": null, "store_mask": null, "mask_mul": false});
    for op in ["Gemm", "Conv", "ConvTranspose"] {
        refused(
            &[node("n", op, json!({"epilogue": epilogue}), &["x", "w"])],
            "`epilogue` is internal",
        );
    }
}

#[test]
fn computed_weights_are_refused() {
    let weight = node("weight", "Sigmoid", json!({}), &["x"]);
    for op in ["Conv", "ConvTranspose"] {
        refused(
            &[weight.clone(), node("c", op, json!({}), &["x", "weight"])],
            &format!("node `c`: ({op}) takes the weight at input 1 from `weight`"),
        );
    }
    refused(
        &[node("g", "Gemm", json!({}), &["w", "x"])],
        "takes the weight at input 1 from `x`",
    );
    refused(
        &[node(
            "n",
            "BatchNormalization",
            json!({"epsilon": 0.1}),
            &["x", "b", "b", "b", "x"],
        )],
        "takes the weight at input 4 from `x`",
    );
}

#[test]
fn attributes_that_an_operator_does_not_have_are_refused() {
    for (op, attrs) in [
        ("Conv", json!({"pads": [1, 1, 1, 1]})),
        ("Clip", json!({"min": 0.0, "mx": 6.0})),
        ("GlobalAveragePool", json!({"axes": [2]})),
    ] {
        refused(
            &[node("n", op, attrs, &["x"])],
            "node `n`: has wrong attributes: unknown field",
        );
    }
}

#[test]
fn what_depends_on_weights_alone_is_computed_once() {
    let flat = node("flat", "Flatten", json!({"axis": 1}), &["x"]);
    let twice = node("twice", "Add", json!({}), &["w", "w"]);
    let product = node(
        "fc",
        "Gemm",
        json!({"trans_b": true}),
        &["flat", "twice", "b"],
    );
    let graph = model(&[flat, twice, product]).unwrap().graph(1).unwrap();
    let names: Vec<&str> = graph.nodes().iter().map(|n| n.op.name()).collect();
    assert_eq!(names, ["Flatten", "Gemm"]);
    // What would take long stays a node, and no operator takes it for a weight.
    let window = node(
        "large",
        "Expand",
        json!({"shape": [1, 1, 1 << 10, 1 << 18]}),
        &["one"],
    );
    refused(
        &[
            window,
            node("c", "Conv", json!({}), &["x", "large"]),
            gemm("c"),
        ],
        "node `c`: (Conv) takes the weight at input 1 from `large`, which takes too long",
    );
}

#[test]
fn axes_of_the_batch_are_left_alone() {
    let flat = node("flat", "Flatten", json!({"axis": 1}), &["x"]);
    for (op, attrs) in [
        ("Roll", json!({"axis": 0, "shift": 1})),
        ("Softmax", json!({"axis": 0})),
    ] {
        refused(
            &[flat.clone(), node("n", op, attrs, &["flat"]), gemm("n")],
            "node `n`: (",
        );
    }
}

#[test]
fn networks_beyond_the_limits_are_refused() {
    let sigmoid = |i: usize| {
        let from = i.checked_sub(1).map_or("x".to_owned(), |p| format!("n{p}"));
        node(&format!("n{i}"), "Sigmoid", json!({}), &[&from])
    };
    let chain: Vec<Value> = (0..=1 << 14).map(sigmoid).collect();
    refused(&chain, "key `nodes`: has 16385 entries; at most 16384");
    let deep: Vec<Value> = (0..1000)
        .map(sigmoid)
        .chain([
            node("flat", "Flatten", json!({"axis": 1}), &["n999"]),
            gemm("flat"),
        ])
        .collect();
    assert!(model(&deep).is_ok());

    let expand =
        |name: &str, shape: Value| node(name, "Expand", json!({ "shape": shape }), &["one"]);
    let head = [
        node("flat", "Flatten", json!({"axis": 1}), &["x"]),
        gemm("flat"),
    ];
    let refused = |nodes: &[Value], message: &str| refused(&[nodes, &head].concat(), message);
    refused(
        &[expand("big", json!([1, 1, 1, (1u64 << 31) + 1]))],
        "node `big`: makes a value of the shape",
    );
    let many: Vec<Value> = (0..5)
        .map(|i| expand(&format!("e{i}"), json!([1, 1, 1, 1u64 << 31])))
        .collect();
    assert!(model(&[&many[..3], &head].concat()).is_ok());
    refused(&many, "node `e4`: brings the values of the graph to more");
    refused(
        &[expand("axes", json!(vec![1; 9]))],
        "node `axes`: makes a value of 9 axes",
    );
    // Nearly 2^30 positions of a window of 2^14.
    let plane = expand("plane", json!([1, 1, 1 << 15, 1 << 15]));
    let conv = |name: &str| node(name, "Conv", json!({}), &["plane", "window"]);
    assert!(model(&[&[plane.clone(), conv("c")], &head[..]].concat()).is_ok());
    refused(
        &[plane.clone(), conv("c"), conv("d")],
        "node `d`: brings the work of the graph to more",
    );
    for key in ["strides", "dilations"] {
        let attrs = json!({key: [1, 1025]});
        refused(
            &[
                plane.clone(),
                node("c", "Conv", attrs, &["plane", "window"]),
            ],
            &format!("attribute `{key}` must be between 1 and 2^10"),
        );
    }
}

#[test]
fn pictures_stay_apart() {
    // Tokens: every picture's rows stand together.
    let tokens = [
        node("flat", "Flatten", json!({"axis": 2}), &["x"]),
        node("half", "Sigmoid", json!({}), &["flat"]),
        node("rows", "Reshape", json!({"shape": [-1, 6]}), &["half"]),
        gemm("rows"),
    ];
    let graph = model(&tokens).unwrap().graph(5).unwrap();
    assert_eq!(graph.fact(graph.outputs()[0]).shape.dims(), [5, 2]);

    let shape = |shape: Value| node("r", "Reshape", json!({ "shape": shape }), &["x"]);
    // One row, whatever the batch: the product then takes another length.
    refused(
        &[shape(json!([1, -1])), gemm("r")],
        "node `r`: (Reshape) mixes the pictures of a batch: it makes [1, 6] of one and [1, 12] of 2",
    );
    refused(
        &[node("r", "Flatten", json!({"axis": 0}), &["x"]), gemm("r")],
        "node `r`: (Flatten) mixes the pictures of a batch",
    );
    refused(
        &[shape(json!([1, 6])), gemm("r")],
        "node `r`: (Reshape) takes one picture and not a batch of 2",
    );
    let flat = node("flat", "Flatten", json!({"axis": 1}), &["x"]);
    let sum = node("sum", "ReduceSum", json!({"axes": [0]}), &["flat"]);
    refused(
        &[flat.clone(), sum.clone(), gemm("sum")],
        "node `sum`: (ReduceSum) mixes the pictures of a batch: it makes [1, 6] of one and [1, 6] of 2",
    );
    // A sum that is laid back on every picture: the logits' shape is right.
    refused(
        &[
            flat.clone(),
            sum,
            node("back", "Add", json!({}), &["flat", "sum"]),
            gemm("back"),
        ],
        "node `sum`: (ReduceSum) mixes",
    );
    // The batch moved to another axis and back.
    refused(
        &[
            shape(json!([6, -1])),
            node("again", "Reshape", json!({"shape": [-1, 6]}), &["r"]),
            gemm("again"),
        ],
        "node `r`: (Reshape) mixes the pictures of a batch: it makes [6, 1] of one and [6, 2] of 2",
    );
    // A product of all pictures with all pictures, under one picture a scalar.
    refused(
        &[
            flat.clone(),
            node("total", "ReduceSum", json!({"axes": [1]}), &["flat"]),
            node("line", "Reshape", json!({"shape": [-1]}), &["total"]),
            node("pairs", "Mul", json!({}), &["total", "line"]),
            gemm("flat"),
        ],
        "node `pairs`: (Mul) mixes",
    );
    // Logits that do not depend on the picture.
    refused(
        &[
            node("sum", "ReduceSum", json!({"axes": [0]}), &["four"]),
            gemm("sum"),
        ],
        "key `outputs`: is `fc`, which does not depend on the picture",
    );
}

#[test]
fn models_are_found_by_path_or_name() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let error = Model::find(&missing).unwrap_err().to_string();
    assert!(error.contains("it does not exist"), "{error}");
    // A separator makes it a path, also under the embedded model's name.
    let error = Model::find("./tf_efficientnet_lite0").unwrap_err();
    assert!(error.to_string().contains("it does not exist"), "{error}");
    let error = Model::find("tf_efficientnet_lite9").unwrap_err();
    assert!(error.to_string().contains("embedded model"), "{error}");
    assert!(Model::find("tf_efficientnet_lite0").is_ok());
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_unicode_is_a_path() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(std::ffi::OsStr::from_bytes(b"m\xff"));
    // Some file systems take Unicode names only.
    if std::fs::create_dir(&path).is_ok() {
        let error = Model::find(&path).unwrap_err().to_string();
        assert!(error.contains("no model.safetensors"), "{error}");
    }
    let name = std::ffi::OsStr::from_bytes(b"tf_efficientnet_lite0\xff");
    assert!(Model::find(name).is_err());
}
