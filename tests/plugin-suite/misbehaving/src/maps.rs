//! Maps and answers that are wrong.

use crate::call::{Call, Method, service};
use limpid_plugin::abi;

pub(crate) const METHODS: &[Method] = &[
    Method::new("good", good),
    Method::new("wrong-shape", |call| {
        let [c, h, w] = call.request.shape;
        call.emit(&call.map(&vec![0.0; call.len()], &[c, h, w - 1]));
        abi::LIMPID_OK
    }),
    Method::new("wrong-rank", |call| {
        let [c, h, w] = call.request.shape;
        call.emit(&call.map(&vec![0.0; call.len()], &[c * h, w]));
        abi::LIMPID_OK
    }),
    Method::new("rank-of-millions", |call| {
        let mut map = call.map(&[0.0], &call.request.shape);
        map.rank = 1 << 40;
        call.emit(&map)
    }),
    Method::new("huge-shape", |call| {
        call.emit(&call.map(&[0.0], &[1 << 14, 1 << 13, 1 << 13]));
        abi::LIMPID_OK
    }),
    Method::new("null-map", |call| {
        let mut map = call.map(&[], &call.request.shape);
        map.data = std::ptr::null();
        call.emit(&map);
        abi::LIMPID_OK
    }),
    Method::new("nan-map", |call| {
        let numbers = vec![f32::NAN; call.len()];
        call.emit(&call.map(&numbers, &call.request.shape));
        abi::LIMPID_OK
    }),
    Method::new("too-few-maps", |_| abi::LIMPID_OK),
    Method::new("too-many-maps", |call| {
        call.zeros();
        call.zeros();
        abi::LIMPID_OK
    }),
    Method {
        output: "[H,W]",
        ..Method::new("other-output", |call| {
            call.zeros();
            abi::LIMPID_OK
        })
    },
    Method::new("unknown-status", |_| 77),
    Method::new("unknown-domain", |call| {
        let zeros = vec![0.0; call.len()];
        let mut map = call.map(&zeros, &call.request.shape);
        map.domain = 9;
        call.emit(&map);
        abi::LIMPID_OK
    }),
    // Its instances are null; nothing can run.
    Method::new("null-instance", |_| abi::LIMPID_OK),
    Method::new("lying-cost", |call| {
        let zeros = vec![0.0; call.len()];
        let mut map = call.map(&zeros, &call.request.shape);
        map.evaluations.gradients = 1000;
        for _ in 0..call.request.objective_count {
            call.emit(&map);
        }
        abi::LIMPID_OK
    }),
    Method::new("false-cancel", |_| abi::LIMPID_CANCELLED),
    Method::new("error-words", |call| {
        call.say("the moon is in the wrong house");
        abi::LIMPID_FAILED
    }),
    Method::new("wait-for-cancel", |call| {
        service!(call, progress, 1, 2);
        while service!(call, is_cancelled) == 0 {
            std::thread::yield_now();
        }
        abi::LIMPID_CANCELLED
    }),
];

/// The gradient, as it should be done.
fn good(call: &Call) -> abi::limpid_status {
    // SAFETY: the host passes so many scores.
    let scores = unsafe { abi::slice(call.request.objectives, call.request.objective_count) };
    for score in scores {
        let passed = call.pass(score, call.request.tensor, "");
        let (logits, gradient) = match passed {
            Ok(tensors) => tensors,
            Err(status) => return status,
        };
        let mut map = call.map(&[], &call.request.shape);
        map.data = std::ptr::null();
        map.tensor = gradient;
        let status = call.emit(&map);
        service!(call, tensor_release, logits);
        service!(call, tensor_release, gradient);
        if status != abi::LIMPID_OK {
            return status;
        }
    }
    abi::LIMPID_OK
}
