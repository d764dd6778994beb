//! Requests for passes, paths and layers that are wrong.

use crate::NOTHING;
use crate::call::{Call, Method, service};
use limpid_plugin::abi;
use std::ffi::c_void;

pub(crate) const METHODS: &[Method] = &[
    Method::new("bad-objective", |call| {
        let (classes, weights) = ([1 << 40], [1.0]);
        let objective = abi::limpid_objective {
            classes: classes.as_ptr(),
            weights: weights.as_ptr(),
            count: 1,
            readout: abi::LIMPID_LOGIT,
            reserved: 0,
        };
        status(call.pass(&objective, call.request.tensor, ""))
    }),
    Method::new("unknown-readout", |call| {
        // SAFETY: the host passes at least one score.
        let score = unsafe { *call.request.objectives };
        let objective = abi::limpid_objective {
            readout: 5,
            ..score
        };
        status(call.pass(&objective, call.request.tensor, ""))
    }),
    Method::new("unknown-rule", |call| {
        // SAFETY: the host passes at least one score.
        let score = unsafe { *call.request.objectives };
        status(call.pass(&score, call.request.tensor, "wishful"))
    }),
    Method::new("wrong-pictures", |call| {
        // SAFETY: the host passes at least one score.
        let score = unsafe { *call.request.objectives };
        let tensor = match call.tensor(&[2, 3, 4]) {
            Ok(tensor) => tensor,
            Err(status) => return status,
        };
        status(call.pass(&score, tensor, ""))
    }),
    Method::new("misaligned", |call| {
        let bytes = [0u64; 16];
        let mut out = 0;
        let shape = bytes.as_ptr().wrapping_byte_add(1);
        service!(call, tensor_new, shape, 2, std::ptr::null(), &raw mut out)
    }),
    Method::new("busy", |call| {
        call.gradients(None, 1, visit_busily, &raw const *call)
    }),
    // The second of three visits fails.
    Method::new("failing-visit", |call| {
        call.gradients(None, 3, visit_in_vain, &raw const *call)
    }),
    Method::new("bad-path-shape", |call| {
        let graph = r#"{"inputs": [{"name": "x"}], "outputs": ["y"],
            "nodes": [{"op": "ReduceMean", "attrs": {"axes": [2, 3]},
                       "inputs": ["x"], "outputs": ["y"]}]}"#;
        call.along(&call.path(graph, 0))
    }),
    Method::new("bad-path-controls", |call| {
        let graph = r#"{"inputs": [{"name": "x"}, {"name": "t", "shape": ["N", 7, 1, 1]}],
            "nodes": [{"op": "ReduceSum", "attrs": {"axes": [1]},
                       "inputs": ["t"], "outputs": ["s"]},
                      {"op": "Mul", "inputs": ["x", "s"], "outputs": ["y"]}],
            "outputs": ["y"]}"#;
        call.along(&call.path(graph, 1))
    }),
    Method::new("huge-path-controls", |call| {
        let graph = r#"{"inputs": [{"name": "x"}, {"name": "t", "shape": ["N", 8589934592]}],
            "nodes": [], "outputs": ["x"]}"#;
        call.along(&call.path(graph, 1))
    }),
    Method::new("huge-path", |call| {
        let graph = r#"{"inputs": [{"name": "x"}, {"name": "a", "shape": ["N", 1, 524288, 1]},
                       {"name": "b", "shape": ["N", 1, 1, 524288]}],
            "nodes": [{"op": "Add", "inputs": ["a", "b"], "outputs": ["ab"]},
                      {"op": "ReduceSum", "attrs": {"axes": [2, 3]},
                       "inputs": ["ab"], "outputs": ["s"]},
                      {"op": "Add", "inputs": ["x", "s"], "outputs": ["y"]}],
            "outputs": ["y"]}"#;
        call.along(&call.path(graph, 2))
    }),
    Method::new("bad-path-build", |call| {
        let mut path = call.path("", 0);
        path.build = Some(build_in_vain);
        call.along(&path)
    }),
    Method::new("endless-plan", |call| call.accumulate(add_endlessly)),
    Method::new("late-plan", |call| {
        let status = call.accumulate(keep_the_plan);
        match LATE.take().and_then(|plan| Some((plan, plan.add?))) {
            // SAFETY: the plan is over, which the host must notice.
            Some((plan, add)) if status == abi::LIMPID_OK => unsafe {
                add(plan.object, std::ptr::null(), 0)
            },
            _ => status,
        }
    }),
    Method::new("short-plan", |call| call.accumulate(add_a_wrong_point)),
    Method::new("huge-scores", |call| {
        let (classes, weights) = ([0], [1.0]);
        let objective = abi::limpid_objective {
            classes: classes.as_ptr(),
            weights: weights.as_ptr(),
            count: 1,
            readout: abi::LIMPID_LOGIT,
            reserved: 0,
        };
        let names = [abi::limpid_str::new("act2")];
        let layers = abi::limpid_layers {
            objectives: &raw const objective,
            objective_count: 1,
            ..call.layers(&names)
        };
        let request = abi::limpid_variants {
            head: abi::limpid_head::of::<abi::limpid_variants>(),
            at: &raw const layers,
            count: 1 << 50,
            object: NOTHING,
            vary: Some(leave),
        };
        let mut room = 0.0;
        service!(
            call,
            layer_scores,
            &raw const request,
            &raw mut room,
            1 << 50
        )
    }),
    Method::new("passed-on-error", |call| {
        let names = [abi::limpid_str::new("no.such.layer")];
        let layers = abi::limpid_layers {
            objectives: call.request.objectives,
            objective_count: call.request.objective_count,
            ..call.layers(&names)
        };
        let (mut activation, mut gradients) = (0, vec![0; call.request.objective_count as usize]);
        service!(
            call,
            layer_gradients,
            &raw const layers,
            &raw mut activation,
            gradients.as_mut_ptr()
        )
    }),
];

fn status<T>(answer: Result<T, abi::limpid_status>) -> abi::limpid_status {
    answer.map_or_else(|status| status, |_| abi::LIMPID_OK)
}

type Visit = unsafe extern "C" fn(*mut c_void, u64, *const f32, u64) -> abi::limpid_status;
type Next = unsafe extern "C" fn(*mut c_void, *const abi::limpid_plan) -> abi::limpid_status;

impl Call {
    /// The logits of pictures and the gradient of a score with respect to them.
    pub(crate) fn pass(
        &self,
        score: &abi::limpid_objective,
        pictures: abi::limpid_tensor,
        rule: &str,
    ) -> Result<(abi::limpid_tensor, abi::limpid_tensor), abi::limpid_status> {
        let layer = abi::limpid_str::EMPTY;
        let request = abi::limpid_pass {
            head: abi::limpid_head::of::<abi::limpid_pass>(),
            pictures,
            objective: score,
            rule: abi::limpid_str::new(rule),
            layers: &raw const layer,
            layer_count: 1,
        };
        let mut gradient = 0;
        let mut passed = abi::limpid_passed {
            head: abi::limpid_head::of::<abi::limpid_passed>(),
            logits: 0,
            activations: std::ptr::null_mut(),
            gradients: &raw mut gradient,
        };
        match service!(self, pass, &raw const request, &raw mut passed) {
            abi::LIMPID_OK => Ok((passed.logits, gradient)),
            status => Err(status),
        }
    }

    fn layers(&self, names: &[abi::limpid_str]) -> abi::limpid_layers {
        abi::limpid_layers {
            head: abi::limpid_head::of::<abi::limpid_layers>(),
            picture: self.request.picture,
            shape: self.request.shape,
            layers: names.as_ptr(),
            layer_count: names.len() as u64,
            objectives: std::ptr::null(),
            objective_count: 0,
        }
    }

    fn path(&self, graph: &'static str, controls: u64) -> abi::limpid_path {
        abi::limpid_path {
            head: abi::limpid_head::of::<abi::limpid_path>(),
            object: NOTHING,
            flags: 0,
            reserved: 0,
            ends: [0.0; 2],
            graph: abi::limpid_str::new(graph),
            build: None,
            statics: std::ptr::null(),
            static_count: 0,
            control_count: controls,
            controls: None,
        }
    }

    fn subject(&self, path: Option<&abi::limpid_path>) -> abi::limpid_subject {
        abi::limpid_subject {
            head: abi::limpid_head::of::<abi::limpid_subject>(),
            picture: self.request.picture,
            shape: self.request.shape,
            path: path.map_or(std::ptr::null(), std::ptr::from_ref),
            noise: 0,
            noise_scale: 0.0,
            noise_seed: 0,
            rule: abi::limpid_str::EMPTY,
        }
    }

    fn along(&self, path: &abi::limpid_path) -> abi::limpid_status {
        self.gradients(Some(path), 1, look, std::ptr::null())
    }

    fn gradients(
        &self,
        path: Option<&abi::limpid_path>,
        count: usize,
        visit: Visit,
        object: *const Self,
    ) -> abi::limpid_status {
        let subject = self.subject(path);
        let points = vec![abi::limpid_sample::default(); count];
        let request = abi::limpid_points {
            head: abi::limpid_head::of::<abi::limpid_points>(),
            subject: &raw const subject,
            objectives: self.request.objectives,
            objective_count: 1,
            points: points.as_ptr(),
            point_count: points.len() as u64,
            times_velocity: 0,
            reserved: 0,
            object: object.cast_mut().cast(),
            visit: Some(visit),
        };
        service!(self, gradients, &raw const request)
    }

    fn accumulate(&self, next: Next) -> abi::limpid_status {
        let subject = self.subject(None);
        let request = abi::limpid_accumulation {
            head: abi::limpid_head::of::<abi::limpid_accumulation>(),
            subject: &raw const subject,
            objective: self.request.objectives,
            rows: 1,
            initial: std::ptr::null(),
            expected: 1,
            object: NOTHING,
            next: Some(next),
        };
        let mut out = 0;
        service!(self, accumulate, &raw const request, &raw mut out)
    }
}

unsafe extern "C" fn look(_: *mut c_void, _: u64, _: *const f32, _: u64) -> abi::limpid_status {
    abi::LIMPID_OK
}

unsafe extern "C" fn leave(_: *mut c_void, _: u64, _: *mut f32, _: u64) -> abi::limpid_status {
    abi::LIMPID_OK
}

/// Runs the model while the model is run.
unsafe extern "C" fn visit_busily(
    object: *mut c_void,
    _: u64,
    _: *const f32,
    _: u64,
) -> abi::limpid_status {
    // SAFETY: the object is the call that was handed to `gradients`, and the
    // host passed at least one score.
    unsafe {
        let call = &*object.cast::<Call>();
        status(call.pass(&*call.request.objectives, call.request.tensor, ""))
    }
}

unsafe extern "C" fn visit_in_vain(
    _: *mut c_void,
    index: u64,
    _: *const f32,
    _: u64,
) -> abi::limpid_status {
    if index == 1 {
        abi::LIMPID_FAILED
    } else {
        abi::LIMPID_OK
    }
}

unsafe extern "C" fn build_in_vain(
    _: *mut c_void,
    _: u64,
    _: *const u64,
    _: u64,
    _: abi::limpid_sink,
) -> abi::limpid_status {
    abi::LIMPID_FAILED
}

thread_local! {
    /// A plan of a planner that is over.
    static LATE: std::cell::Cell<Option<abi::limpid_plan>> = const { std::cell::Cell::new(None) };
}

/// Keeps the plan, which ends the accumulation.
unsafe extern "C" fn keep_the_plan(
    _: *mut c_void,
    plan: *const abi::limpid_plan,
) -> abi::limpid_status {
    // SAFETY: the plan is the host's until this returns.
    LATE.set(unsafe { abi::read(plan) });
    abi::LIMPID_OK
}

/// Goes on as if the host had taken the point.
unsafe extern "C" fn add_a_wrong_point(
    _: *mut c_void,
    plan: *const abi::limpid_plan,
) -> abi::limpid_status {
    let point = abi::limpid_weighted {
        row: 7,
        ..abi::limpid_weighted::default()
    };
    // SAFETY: the plan is the host's until this returns.
    unsafe {
        let Some((plan, add)) = abi::read(plan).and_then(|p| Some((p, p.add?))) else {
            return abi::LIMPID_UNSUPPORTED;
        };
        add(plan.object, &raw const point, 1);
    }
    abi::LIMPID_OK
}

/// Adds points as long as the host takes them.
unsafe extern "C" fn add_endlessly(
    _: *mut c_void,
    plan: *const abi::limpid_plan,
) -> abi::limpid_status {
    let points = vec![abi::limpid_weighted::default(); 1 << 16];
    // SAFETY: the plan is the host's until this returns.
    unsafe {
        let Some((plan, add)) = abi::read(plan).and_then(|p| Some((p, p.add?))) else {
            return abi::LIMPID_UNSUPPORTED;
        };
        loop {
            let status = add(plan.object, points.as_ptr(), points.len() as u64);
            if status != abi::LIMPID_OK {
                return status;
            }
        }
    }
}
