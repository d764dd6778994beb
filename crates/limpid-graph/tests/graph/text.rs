//! Graphs as text: what is written comes back bit for bit, and what is read is
//! refused in words where it is no graph.

use limpid_graph::ops::{Add, Elementwise, Op};
use limpid_graph::text::{self, is_writable};
use limpid_graph::{Expr, Fact, Graph, Source};
use limpid_tensor::Tensor;
use proptest::prelude::*;

/// All that makes a graph compute what it does.
fn same(a: &Graph, b: &Graph) -> Result<(), String> {
    let facts = |g: &Graph, all: &[limpid_graph::ValueId]| -> Vec<Fact> {
        all.iter().map(|v| g.fact(*v).clone()).collect()
    };
    let ops = |g: &Graph| -> Vec<Op> { g.nodes().iter().map(|n| n.op.clone()).collect() };
    let constants = |g: &Graph| -> Vec<Vec<u32>> {
        let values = g.values().iter();
        let constants = values.filter_map(|v| match &v.source {
            Source::Constant(c) => Some(c.load().ok()?),
            _ => None,
        });
        let bits = |t: &Tensor| t.data().iter().map(|v| v.to_bits()).collect();
        constants.map(|t| bits(&t)).collect()
    };
    if facts(a, a.inputs()) != facts(b, b.inputs()) {
        return Err("other inputs".into());
    }
    if facts(a, a.outputs()) != facts(b, b.outputs()) {
        return Err("other outputs".into());
    }
    if ops(a) != ops(b) || constants(a) != constants(b) {
        return Err("other nodes or constants".into());
    }
    Ok(())
}

#[test]
fn every_operator_comes_back() {
    let mut written = 0;
    for case in Op::cases() {
        let graph = case.build().unwrap().graph;
        if !is_writable(&graph) {
            continue;
        }
        let text = text::write(&graph, graph.inputs(), graph.outputs()).unwrap();
        let back = text::read(&text, 1, |_, _| None).unwrap();
        same(&graph, &back).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        written += 1;
    }
    assert!(written > 500, "{written}");
}

#[test]
fn numbers_come_back_to_the_bit() {
    let odd = [
        f32::MIN_POSITIVE,
        1.0 / 3.0,
        f32::MAX,
        -0.0,
        1e-45,
        16_777_217.0,
    ];
    let mut graph = Graph::new();
    let x = graph.input("x", Fact::f32([6]));
    let c = graph.constant("c", Tensor::new([6], odd.to_vec()).unwrap());
    let sum = graph.push("sum", Add {}, &[x, c]).unwrap()[0];
    let formula = Elementwise::new(&(Expr::input(0) * 0.1 + 1.0 / 3.0), 1);
    let out = graph.push("formula", formula, &[sum]).unwrap();
    graph.set_outputs(&out);
    let text = text::write(&graph, &[x], &out).unwrap();
    same(&graph, &text::read(&text, 1, |_, _| None).unwrap()).unwrap();
}

#[test]
fn shapes_are_filled_in() {
    let text = r#"{
        "inputs": [{"name": "x"}, {"name": "sigma", "shape": ["N"]}],
        "nodes": [{"op": "HeatKernel", "inputs": ["x", "sigma"], "outputs": ["blurred", "slope"]}],
        "outputs": ["blurred", "slope"]
    }"#;
    let known = |i: usize, name: &str| {
        assert_eq!((i, name), (0, "x"));
        Some(Fact::f32([1, 3, 8, 9]))
    };
    let graph = text::read(text, 5, known).unwrap();
    assert_eq!(graph.fact(graph.outputs()[1]).shape[..], [5, 3, 8, 9]);
}

#[test]
fn refusals_say_what_is_wrong() {
    let node = r#"{"op": "Add", "inputs": ["x", "x"], "outputs": ["y"]}"#;
    let graph = |inputs: &str, nodes: &str, outputs: &str| {
        let text =
            format!(r#"{{"inputs": [{inputs}], "nodes": [{nodes}], "outputs": [{outputs}]}}"#);
        let read = text::read(&text, 1, |_, _| None);
        read.err().map_or_else(String::new, |e| e.to_string())
    };
    let x = r#"{"name": "x", "shape": [2]}"#;
    assert_eq!(graph(x, node, r#""y""#), "");
    let cases = [
        (
            graph(r#"{"name": "x"}"#, node, r#""y""#),
            "input `x` of the graph has no shape",
        ),
        (graph(x, node, r#""z""#), "`z`"),
        (
            graph(&format!("{x}, {x}"), node, r#""y""#),
            "two values of the name `x`",
        ),
        (graph(x, &node.replace("Add", "Ad"), r#""y""#), "Ad"),
        (
            graph(x, &node.replace(r#"["y"]"#, r#"["y", "z"]"#), r#""y""#),
            "`z`",
        ),
        (
            graph(x, &node.replace(r#""op""#, r#""size": 1, "op""#), r#""y""#),
            "size",
        ),
        (
            graph(r#"{"name": "x", "shape": ["M"]}"#, node, r#""y""#),
            "JSON",
        ),
        (
            graph(r#"{"name": "x", "shape": [1099511627776]}"#, node, r#""y""#),
            "2^36",
        ),
        (
            graph(
                x,
                r#"{"op": "Transpose", "attrs": {"perm": [7]}, "inputs": ["x"], "outputs": ["y"]}"#,
                r#""y""#,
            ),
            "perm",
        ),
    ];
    for (found, part) in cases {
        assert!(found.contains(part), "`{found}` does not say `{part}`");
    }
    let long = " ".repeat(text::MAX_TEXT + 1);
    let error = text::read(&long, 1, |_, _| None).unwrap_err().to_string();
    assert!(error.contains("bytes"), "{error}");
}

/// A text with a piece cut out and another put in.
fn mangled() -> impl Strategy<Value = String> {
    let cases: Vec<String> = Op::cases()
        .iter()
        .filter_map(|case| case.build().ok())
        .filter(|built| is_writable(&built.graph))
        .filter_map(|built| {
            let graph = built.graph;
            text::write(&graph, graph.inputs(), graph.outputs()).ok()
        })
        .filter(|text| text.len() < 2000)
        .collect();
    let piece = prop_oneof![
        Just("0".to_owned()),
        Just("-1".to_owned()),
        Just("18446744073709551615".to_owned()),
        Just("\"N\"".to_owned()),
        Just("[]".to_owned()),
        Just("null".to_owned()),
        Just("1e308".to_owned()),
        "[0-9\"{},:\\[\\]a-z]{0,6}",
    ];
    (
        prop::sample::select(cases),
        any::<prop::sample::Index>(),
        0..4usize,
        piece,
    )
        .prop_map(|(text, at, cut, piece)| {
            let start = at.index(text.len());
            let end = (start + cut).min(text.len());
            match (text.get(..start), text.get(end..)) {
                (Some(head), Some(tail)) => format!("{head}{piece}{tail}"),
                _ => text,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1 << 13))]

    #[test]
    fn mangled_text_never_panics(text in mangled(), batch in 0..9usize) {
        let _ = text::read(&text, batch, |_, _| Some(Fact::f32([2, 3, 4, 4])));
    }
}
