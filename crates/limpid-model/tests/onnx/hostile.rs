//! Files made to crash, hang or exhaust the reader. Each gets one sentence.

use crate::protobuf::{
    Message, floats, graph, int, ints, list, model, node, outside, tensor, value,
};
use limpid_model::onnx::{ImportOptions, import};
use limpid_model::{Model, ModelError};
use std::path::Path;

fn refused(file: &Message) -> String {
    refused_in(file, None)
}

fn refused_in(file: &Message, directory: Option<&Path>) -> String {
    let options = ImportOptions {
        file: "x.onnx".to_owned(),
        directory: directory.map(Path::to_owned),
        ..ImportOptions::default()
    };
    let text = import(&file.0, &options).unwrap_err().to_string();
    assert!(
        text.starts_with("x.onnx: ") && !text.contains('\n'),
        "{text}"
    );
    assert!(text.len() < 600, "{text}");
    text
}

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

/// x -> y by one node with constants.
fn single(
    op: &str,
    dims: &[i64],
    constants: &[Message],
    names: &[&str],
    attributes: &[Message],
) -> Message {
    let inputs = [&["x"], names].concat();
    model(
        17,
        &graph(dims, &[node(op, &inputs, &["y"], attributes)], constants),
    )
}

#[test]
fn bytes_that_are_no_model() {
    for bytes in [&b""[..], b"\x00", b"not a model", &[0xff; 64], &[0x0a; 3]] {
        let text = refused(&Message(bytes.to_vec()));
        contains(&text, &["export"]);
    }
    // Cut off anywhere.
    let whole = single("Relu", &[1, 3, 4, 4], &[], &[], &[]);
    for end in 0..whole.0.len() {
        let options = ImportOptions::default();
        let _ = import(&whole.0[..end], &options);
    }
}

#[test]
fn nesting_without_end() {
    let mut inner = graph(&[1], &[], &[]);
    for _ in 0..200 {
        let branch = Message::new()
            .bytes(1, "then_branch")
            .message(6, &inner)
            .int(20, 5);
        inner = graph(&[1], &[node("If", &["x"], &["y"], &[branch])], &[]);
    }
    contains(&refused(&model(17, &inner)), &["deep"]);
}

#[test]
fn more_messages_than_any_network() {
    let many = vec![Message::new(); 1 << 19];
    let file = model(17, &graph(&[1], &many, &[]));
    assert!(file.0.len() < 2_000_000);
    contains(&refused(&file), &["more than", "messages"]);
    // The same as names of one node.
    let names = vec!["x"; 1 << 21];
    let file = model(17, &graph(&[1], &[node("Sum", &names, &["y"], &[])], &[]));
    contains(&refused(&file), &["more than"]);
}

#[test]
fn shapes_that_overflow() {
    let huge = tensor("w", &[1 << 40, 1 << 40], 1, &[]);
    contains(
        &refused(&single("Add", &[1, 2], &[huge], &["w"], &[])),
        &["tensor `w`", "too large"],
    );
    let many: Vec<i64> = vec![1; 100_000];
    contains(
        &refused(&single(
            "Add",
            &[1, 2],
            &[tensor("w", &many, 1, &[])],
            &["w"],
            &[],
        )),
        &["8 axes"],
    );
    let negative = tensor("w", &[-1], 1, &[]);
    contains(
        &refused(&single("Add", &[1, 2], &[negative], &["w"], &[])),
        &["0 or more"],
    );
    contains(
        &refused(&single("Relu", &[1 << 40, 1 << 40], &[], &[], &[])),
        &["Relu"],
    );
    let short = tensor("w", &[1000, 1000], 1, &[0; 16]);
    contains(
        &refused(&single("Add", &[1, 2], &[short], &["w"], &[])),
        &["holds 16 bytes"],
    );
    contains(
        &refused(&single("Relu", &[1 << 20, 1 << 20], &[], &[], &[])),
        &["elements"],
    );
}

#[test]
fn constants_without_end() {
    let nodes = [
        node("ConstantOfShape", &["s"], &["c"], &[]),
        node("Add", &["x", "c"], &["y"], &[]),
    ];
    let file = |shape: &[i64]| model(17, &graph(&[1, 1], &nodes, &[ints("s", shape)]));
    contains(
        &refused(&file(&[1 << 30, 1 << 30])),
        &["ConstantOfShape", "at most"],
    );
    contains(
        &refused(&file(&[1 << 40, 1 << 40])),
        &["ConstantOfShape", "too large"],
    );
    let nodes = [
        node("Range", &["a", "b", "c"], &["r"], &[]),
        node("Add", &["x", "r"], &["y"], &[]),
    ];
    let scalar = |name: &str, v: i64| tensor(name, &[], 7, &v.to_le_bytes());
    let file = |delta: i64| {
        let limits = [scalar("a", 0), scalar("b", i64::MAX), scalar("c", delta)];
        model(17, &graph(&[1, 1], &nodes, &limits))
    };
    contains(&refused(&file(1)), &["Range", "at most"]);
    contains(&refused(&file(0)), &["Range", "without end"]);
    for (op, constant) in [
        ("Expand", vec![1i64 << 45, 1]),
        ("Tile", vec![1i64 << 45, 1]),
    ] {
        let text = refused(&single(op, &[1, 1], &[ints("s", &constant)], &["s"], &[]));
        contains(&text, &[op]);
    }
    // Doubled again and again.
    let mut nodes = vec![node("Concat", &["s", "s"], &["c0"], &[int("axis", 0)])];
    for i in 0..60 {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        nodes.push(node("Concat", &[&from, &from], &[&to], &[int("axis", 0)]));
    }
    nodes.push(node("Add", &["x", "c60"], &["y"], &[]));
    contains(
        &refused(&model(17, &graph(&[1, 1], &nodes, &[ints("s", &[1; 64])]))),
        &["Concat", "at most"],
    );
}

#[test]
fn graphs_that_go_in_circles() {
    let nodes = [
        node("Add", &["x", "b"], &["a"], &[]),
        node("Relu", &["a"], &["b"], &[]),
        node("Relu", &["b"], &["y"], &[]),
    ];
    contains(
        &refused(&model(17, &graph(&[1, 2], &nodes, &[]))),
        &["`a`", "Add", "`b`", "cycle"],
    );
    let twice = [
        node("Relu", &["x"], &["y"], &[]),
        node("Relu", &["y"], &["y"], &[]),
    ];
    contains(
        &refused(&model(17, &graph(&[1, 2], &twice, &[]))),
        &["`y`", "exists already"],
    );
}

fn function(name: &str, nodes: &[Message]) -> Message {
    let set = Message::new().bytes(1, "").int(2, 17);
    let m = Message::new()
        .bytes(1, name)
        .bytes(4, "a")
        .bytes(5, "b")
        .all(7, nodes);
    m.message(9, &set).bytes(10, "own")
}

fn call(name: &str, input: &str, output: &str) -> Message {
    node(name, &[input], &[output], &[]).bytes(7, "own")
}

#[test]
fn functions_that_call_themselves() {
    let file = model(17, &graph(&[1, 2], &[call("F", "x", "y")], &[]));
    let own = file
        .clone()
        .message(25, &function("F", &[call("F", "a", "b")]));
    contains(&refused(&own), &["calls itself"]);
    // Each calls the next twice: 2^20 nodes.
    let mut wide = model(17, &graph(&[1, 2], &[call("F0", "x", "y")], &[]));
    for i in 0..20 {
        let next = format!("F{}", i + 1);
        wide = wide.message(
            25,
            &function(
                &format!("F{i}"),
                &[call(&next, "a", "m"), call(&next, "m", "b")],
            ),
        );
    }
    wide = wide.message(25, &function("F20", &[node("Relu", &["a"], &["b"], &[])]));
    contains(&refused(&wide), &["more than"]);
}

#[test]
fn what_is_not_supported_is_named() {
    let text = refused(&single("Loop", &[1, 2], &[], &[], &[]));
    contains(&text, &["node `y` (Loop, opset 17)", "not supported"]);
    let unknown = node("Relu", &["x"], &["y"], &[]).bytes(7, "com.example");
    contains(
        &refused(&model(17, &graph(&[1], &[unknown], &[]))),
        &["`com.example`"],
    );
    for opset in [6, 29] {
        let text = refused(&model(
            opset,
            &graph(&[1], &[node("Relu", &["x"], &["y"], &[])], &[]),
        ));
        contains(&text, &["7 to 28"]);
    }
    let text = tensor("w", &[1], 8, &[]);
    contains(
        &refused(&single("Add", &[1], &[text], &["w"], &[])),
        &["STRING"],
    );
    contains(
        &refused(&single(
            "Transpose",
            &[1, 2],
            &[],
            &[],
            &[list("perm", &[0, 7])],
        )),
        &["axis 7"],
    );
    contains(
        &refused(&single("Conv", &[1, 3, 4, 4], &[], &[], &[])),
        &["input 1"],
    );
    let weight = floats("w", &[1, 3, 1, 1], &[0.0; 3]);
    let strides = list("strides", &[0, -1]);
    contains(
        &refused(&single(
            "Conv",
            &[1, 3, 4, 4],
            &[weight],
            &["w"],
            &[strides],
        )),
        &["strides"],
    );
}

#[test]
fn inputs_without_a_size() {
    let open = model(
        17,
        &graph(&[0, 3, 0, 0], &[node("Relu", &["x"], &["y"], &[])], &[]),
    );
    contains(&refused(&open), &["input `x`", "open"]);
    let text = model(17, &Message::new().message(11, &value("x", &[1])));
    contains(&refused(&text), &["holds no network"]);
}

/// A model whose weight lies in `location`, beside a file `data` of 16 bytes.
fn with_outside(entries: &[(&str, &str)]) -> (tempfile::TempDir, Message) {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("model");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(folder.path().join("secret"), [0; 16]).unwrap();
    std::fs::write(inside.join("data"), [0; 16]).unwrap();
    let file = single("Add", &[1, 4], &[outside("w", &[4], entries)], &["w"], &[]);
    (folder, file)
}

#[test]
fn data_outside_of_the_folder() {
    let absolute = std::env::temp_dir().join("secret");
    for location in [
        "../secret",
        "/etc/passwd",
        "..",
        ".",
        "",
        "sub/../../secret",
        "a/b",
        "C:\\x",
        absolute.to_str().unwrap(),
    ] {
        let (folder, file) = with_outside(&[("location", location)]);
        let text = refused_in(&file, Some(&folder.path().join("model")));
        contains(&text, &["tensor `w`", "external data", "own folder"]);
    }
    let (_folder, file) = with_outside(&[("location", "data")]);
    contains(&refused(&file), &["external data"]);
}

#[cfg(unix)]
#[test]
fn data_behind_a_link() {
    let (folder, file) = with_outside(&[("location", "link")]);
    let inside = folder.path().join("model");
    std::os::unix::fs::symlink("../secret", inside.join("link")).unwrap();
    contains(&refused_in(&file, Some(&inside)), &["link"]);
}

#[test]
fn data_beyond_the_file() {
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("location", "data"), ("offset", "8")], "from byte 8"),
        (
            &[("location", "data"), ("offset", "18446744073709551615")],
            "which holds 16",
        ),
        (&[("location", "data"), ("length", "99")], "claims 99"),
        (&[("location", "data"), ("offset", "-1")], "whole number"),
        (&[("location", "nothing")], "cannot be read"),
    ];
    for (entries, part) in cases {
        let (folder, file) = with_outside(entries);
        contains(
            &refused_in(&file, Some(&folder.path().join("model"))),
            &["tensor `w`", part],
        );
    }
    let (folder, file) = with_outside(&[("location", "data"), ("offset", "0"), ("length", "16")]);
    let options = ImportOptions {
        directory: Some(folder.path().join("model")),
        ..ImportOptions::default()
    };
    assert!(import(&file.0, &options).is_ok());
}

#[test]
fn networks_that_are_no_classifiers() {
    let open = |file: Message| {
        Model::from_onnx("x.onnx", file.0, None, None)
            .unwrap_err()
            .to_string()
    };
    contains(
        &open(single("Relu", &[1, 7], &[], &[], &[])),
        &["[1, 7]", "pictures"],
    );
    contains(
        &open(single("Relu", &[1, 3, 4, 4], &[], &[], &[])),
        &["outputs", "[batch, classes]"],
    );
    let two = graph(&[1, 3, 4, 4], &[node("Add", &["x", "z"], &["y"], &[])], &[])
        .message(11, &value("z", &[1]));
    contains(&open(model(17, &two)), &["2 inputs"]);
    // The classes' scores of all pictures together.
    let mixed = [
        node("ReduceSum", &["x", "a"], &["s"], &[]),
        node("Flatten", &["s"], &["f"], &[]),
        node("Relu", &["f"], &["y"], &[]),
    ];
    let file = model(17, &graph(&[4, 3, 4, 4], &mixed, &[ints("a", &[0, 2, 3])]));
    contains(&open(file), &["[batch, classes]"]);
    let weight = node("Conv", &["x", "x"], &["c"], &[]);
    let pooled = [weight, node("GlobalAveragePool", &["c"], &["y"], &[])];
    let text = open(model(17, &graph(&[1, 3, 4, 4], &pooled, &[])));
    contains(&text, &["computed from the picture"]);
}

#[test]
fn a_missing_file() {
    let error = Model::open("nowhere/x.onnx").unwrap_err();
    assert!(matches!(error, ModelError::Io { .. }), "{error}");
}
