//! Tensors and graphs that are wrong.

use crate::call::{Call, Method, service};
use limpid_plugin::abi;
use std::sync::atomic::{AtomicU64, Ordering};

/// A tensor that outlives the run that made it, for its plugin.
static KEPT: AtomicU64 = AtomicU64::new(0);

pub(crate) const METHODS: &[Method] = &[
    Method::new("leak", |call| {
        for _ in 0..3 {
            if let Err(status) = call.tensor(&[16]) {
                return status;
            }
        }
        call.zeros()
    }),
    Method::new("stale-tensor", |call| {
        let tensor = match call.tensor(&[4]) {
            Ok(tensor) => tensor,
            Err(status) => return status,
        };
        service!(call, tensor_release, tensor);
        service!(call, tensor_read, tensor, [0.0; 4].as_mut_ptr(), 4)
    }),
    Method::new("released-twice", |call| match call.tensor(&[4]) {
        Ok(tensor) => {
            service!(call, tensor_release, tensor);
            service!(call, tensor_release, tensor)
        }
        Err(status) => status,
    }),
    // Two runs: the first keeps a number, which the second uses.
    Method::new("keeps-a-tensor", |call| match call.tensor(&[4]) {
        Ok(tensor) => {
            KEPT.store(tensor, Ordering::Relaxed);
            abi::LIMPID_FAILED
        }
        Err(status) => status,
    }),
    Method::new("kept-tensor", |call| {
        for _ in 0..3 {
            if let Err(status) = call.tensor(&[4]) {
                return status;
            }
        }
        let kept = KEPT.load(Ordering::Relaxed);
        service!(call, tensor_read, kept, [0.0; 4].as_mut_ptr(), 4)
    }),
    Method::new("foreign-tensor", |call| {
        let mut map = call.map(&[], &call.request.shape);
        map.tensor = 0xdead_beef;
        call.emit(&map)
    }),
    Method::new("wrong-length", |call| {
        let mut room = [0.0; 4];
        service!(call, tensor_read, call.request.tensor, room.as_mut_ptr(), 4)
    }),
    Method::new("huge-tensor", |call| refused(call.tensor(&[1 << 50]))),
    // A tebibyte.
    Method::new("large-tensor", |call| {
        refused(call.tensor(&[1 << 19, 1 << 19]))
    }),
    Method::new("overflowing-tensor", |call| {
        refused(call.tensor(&[1 << 33, 1 << 33]))
    }),
    Method::new("hoard", |call| {
        // Each is small enough; together they are more than a job may have.
        loop {
            if let Err(status) = call.tensor(&[1 << 22]) {
                return status;
            }
        }
    }),
    Method::new("huge-noise", |call| {
        let mut out = 0;
        let picture = call.request.tensor;
        service!(call, noise, picture, 1.0, 0, 0, 1 << 40, &raw mut out)
    }),
    Method::new("scalar-noise", |call| match call.tensor(&[]) {
        Ok(number) => {
            let mut out = 0;
            service!(call, noise, number, 1.0, 0, 0, 1 << 40, &raw mut out)
        }
        Err(status) => status,
    }),
    Method::new("repeated-outputs", |call| {
        const TIMES: usize = 1 << 16;
        let outputs = vec![r#""x""#; TIMES].join(", ");
        let graph = format!(r#"{{"inputs": [{{"name": "x"}}], "outputs": [{outputs}]}}"#);
        let mut out = vec![0; TIMES];
        let (input, count) = (call.request.tensor, TIMES as u64);
        let graph = abi::limpid_str::new(&graph);
        service!(
            call,
            compute,
            graph,
            &raw const input,
            1,
            out.as_mut_ptr(),
            count
        )
    }),
    Method::new("huge-graph", |call| {
        // A column, a row and a pile of 2^14 each.
        let axes = [[1 << 14, 1, 1], [1, 1 << 14, 1], [1, 1, 1 << 14]];
        let mut inputs = Vec::new();
        for shape in axes {
            match call.tensor(&shape) {
                Ok(tensor) => inputs.push(tensor),
                Err(status) => return status,
            }
        }
        let graph = r#"{"inputs": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
            "nodes": [{"op": "Add", "inputs": ["a", "b"], "outputs": ["ab"]},
                      {"op": "Add", "inputs": ["ab", "c"], "outputs": ["abc"]}],
            "outputs": ["abc"]}"#;
        compute(call, graph, &inputs)
    }),
    Method::new("graph-without-sense", |call| {
        compute(call, r#"{"inputs": [{"name": "#, &[call.request.tensor])
    }),
    Method::new("graph-of-unknown-operators", |call| {
        let graph = r#"{"inputs": [{"name": "x"}], "outputs": ["y"],
            "nodes": [{"op": "Conjure", "inputs": ["x"], "outputs": ["y"]}]}"#;
        compute(call, graph, &[call.request.tensor])
    }),
    Method::new("graph-of-other-inputs", |call| {
        let graph = r#"{"inputs": [{"name": "x"}], "outputs": ["x"]}"#;
        compute(call, graph, &[call.request.tensor, call.request.tensor])
    }),
    Method {
        uses: 0,
        ..Method::new("undeclared", |call| refused(call.tensor(&[4])))
    },
];

/// What a service answered that should have refused.
fn refused(answer: Result<abi::limpid_tensor, abi::limpid_status>) -> abi::limpid_status {
    answer.map_or_else(|status| status, |_| abi::LIMPID_OK)
}

fn compute(call: &Call, graph: &str, inputs: &[abi::limpid_tensor]) -> abi::limpid_status {
    let mut out = 0;
    service!(
        call,
        compute,
        abi::limpid_str::new(graph),
        inputs.as_ptr(),
        inputs.len() as u64,
        &raw mut out,
        1
    )
}
