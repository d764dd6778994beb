//! What the methods on the bare interface have in common.

use limpid_plugin::abi;

/// A method on the bare interface.
#[derive(Clone, Copy)]
pub(crate) struct Method {
    pub(crate) id: &'static str,
    pub(crate) output: &'static str,
    /// The capabilities that it declares.
    pub(crate) uses: u64,
    pub(crate) act: fn(&Call) -> abi::limpid_status,
}

impl Method {
    /// A method of maps `[C,H,W]` that declares all capabilities.
    pub(crate) const fn new(id: &'static str, act: fn(&Call) -> abi::limpid_status) -> Self {
        Self {
            id,
            output: "[C,H,W]",
            uses: abi::LIMPID_CAN_ALL,
            act,
        }
    }

    /// What the host reads of it; it lives as long as the process.
    pub(crate) fn table(&self) -> *const abi::limpid_method {
        Box::leak(Box::new(abi::limpid_method {
            head: abi::limpid_head::of::<abi::limpid_method>(),
            id: abi::limpid_str::new(self.id),
            kind: abi::limpid_str::new("gradient"),
            output: abi::limpid_str::new(self.output),
            summary: abi::limpid_str::new("misbehaves"),
            parameters: abi::limpid_str::EMPTY,
            smooth: 0,
            required: 0,
            optional: self.uses,
        }))
    }
}

/// A call of `explain`.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) host: abi::limpid_host,
    pub(crate) job: abi::limpid_job,
    pub(crate) request: abi::limpid_request,
}

/// Calls a service of the host's table with the job and these arguments; a
/// host that lacks it is not what these methods are for.
macro_rules! service {
    ($call:expr, $name:ident $(, $argument:expr)* $(,)?) => {{
        let service = $call.host.$name.expect("a host of this version");
        // SAFETY: each method passes what the interface asks for, but for the
        // one thing that it gets wrong, which the host must notice.
        unsafe { service($call.job $(, $argument)*) }
    }};
}
pub(crate) use service;

impl Call {
    /// The number of elements of the picture.
    pub(crate) fn len(&self) -> usize {
        self.request.shape.iter().product::<u64>() as usize
    }

    /// A map of these numbers and this shape, without a shape's check.
    pub(crate) fn map(&self, data: &[f32], shape: &[u64]) -> abi::limpid_map {
        abi::limpid_map {
            head: abi::limpid_head::of::<abi::limpid_map>(),
            data: data.as_ptr(),
            tensor: 0,
            shape: shape.as_ptr(),
            rank: shape.len() as u64,
            domain: abi::LIMPID_INPUT,
            has_sign: 1,
            layer: abi::limpid_str::EMPTY,
            standard_error: std::ptr::null(),
            is_complete: 0,
            reserved: 0,
            expected: 0.0,
            evaluations: abi::limpid_evaluations::default(),
        }
    }

    pub(crate) fn emit(&self, map: &abi::limpid_map) -> abi::limpid_status {
        service!(self, emit, map)
    }

    /// Emits a sound map of zeros for each score.
    pub(crate) fn zeros(&self) -> abi::limpid_status {
        let zeros = vec![0.0; self.len()];
        let map = self.map(&zeros, &self.request.shape);
        let scores = 0..self.request.objective_count;
        let all = scores.map(|_| self.emit(&map));
        all.fold(abi::LIMPID_OK, |worst, status| worst.max(status))
    }

    /// A new tensor of zeros.
    pub(crate) fn tensor(&self, shape: &[u64]) -> Result<abi::limpid_tensor, abi::limpid_status> {
        let mut out = 0;
        let status = service!(
            self,
            tensor_new,
            shape.as_ptr(),
            shape.len() as u64,
            std::ptr::null(),
            &raw mut out
        );
        match status {
            abi::LIMPID_OK => Ok(out),
            status => Err(status),
        }
    }

    pub(crate) fn say(&self, words: &str) {
        service!(self, set_error, abi::limpid_str::new(words));
    }
}
