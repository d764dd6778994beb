use crate::{
    Growing, limpid_accumulation, limpid_evaluations, limpid_head, limpid_integration, limpid_job,
    limpid_layers, limpid_limits, limpid_map, limpid_pass, limpid_passed, limpid_pictures,
    limpid_points, limpid_sink, limpid_status, limpid_str, limpid_tensor, limpid_variants,
};
use core::ffi::c_void;

/// Tensors of the plugin's own, and `compute` and `noise` on them.
pub const LIMPID_CAN_COMPUTE: u64 = 1 << 0;
/// `pass`.
pub const LIMPID_CAN_PASS: u64 = 1 << 1;
/// `integrate`, `accumulate` and `gradients`.
pub const LIMPID_CAN_INTEGRATE: u64 = 1 << 2;
/// `scores`.
pub const LIMPID_CAN_SCORE: u64 = 1 << 3;
/// `layer_gradients` and `layer_scores`.
pub const LIMPID_CAN_READ_LAYERS: u64 = 1 << 4;
/// `picture`, `pictures_open` and `pictures_read`.
pub const LIMPID_CAN_READ_PICTURES: u64 = 1 << 5;
/// The extension `limpid.attentions/1`.
pub const LIMPID_CAN_READ_ATTENTIONS: u64 = 1 << 6;
/// All of this version.
pub const LIMPID_CAN_ALL: u64 = (1 << 7) - 1;

/// Something to know that is no error.
pub const LIMPID_NOTE: u32 = 0;

/// What the host does for plugins. All functions but `get_extension` take the
/// job that `explain` was given; those that return a status leave a sentence for
/// `last_error`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_host {
    /// Size and version.
    pub head: limpid_head,
    /// What it can do: `LIMPID_CAN_...`.
    pub capabilities: u64,
    /// The host's version, as in `0.1.0`.
    pub version: limpid_str,
    /// Puts the sentence of the last service that failed into `out`.
    pub last_error: Option<unsafe extern "C" fn(job: limpid_job, out: limpid_sink)>,
    /// Says what went wrong, before `explain` or a callback returns a status.
    pub set_error: Option<unsafe extern "C" fn(job: limpid_job, text: limpid_str)>,
    /// 1 once the run is cancelled, else 0. Who computes for long asks often.
    pub is_cancelled: Option<unsafe extern "C" fn(job: limpid_job) -> u32>,
    /// Reports progress that no service does.
    pub progress: Option<unsafe extern "C" fn(job: limpid_job, done: u64, total: u64)>,
    /// Tells the user something; `level` is `LIMPID_NOTE`, others are ignored.
    pub log: Option<unsafe extern "C" fn(job: limpid_job, level: u32, text: limpid_str)>,
    /// How many times the model ran for this job.
    pub evaluations: Option<
        unsafe extern "C" fn(job: limpid_job, out: *mut limpid_evaluations) -> limpid_status,
    >,
    /// What the job may take; the caller gives `out` its head.
    pub limits:
        Option<unsafe extern "C" fn(job: limpid_job, out: *mut limpid_limits) -> limpid_status>,
    /// The map of one score.
    pub emit:
        Option<unsafe extern "C" fn(job: limpid_job, map: *const limpid_map) -> limpid_status>,
    /// A table by name, or null.
    pub get_extension: Option<unsafe extern "C" fn(id: limpid_str) -> *const c_void>,

    /// A tensor with these numbers in C order; zeros where `data` is null.
    pub tensor_new: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            shape: *const u64,
            rank: u64,
            data: *const f32,
            out: *mut limpid_tensor,
        ) -> limpid_status,
    >,
    /// The number of a tensor's extents, of which `capacity` are written.
    pub tensor_shape: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            tensor: limpid_tensor,
            shape: *mut u64,
            capacity: u64,
            rank: *mut u64,
        ) -> limpid_status,
    >,
    /// Copies a tensor's numbers, `len` of them, in C order.
    pub tensor_read: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            tensor: limpid_tensor,
            out: *mut f32,
            len: u64,
        ) -> limpid_status,
    >,
    /// Frees a tensor.
    pub tensor_release:
        Option<unsafe extern "C" fn(job: limpid_job, tensor: limpid_tensor) -> limpid_status>,

    /// Runs a graph on tensors where they lie. `graph` has the form that
    /// `docs/plugins.md` gives: any of Limpid's operators, with ONNX's names.
    /// Inputs without a shape have that of the tensor bound to them.
    pub compute: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            graph: limpid_str,
            inputs: *const limpid_tensor,
            input_count: u64,
            outputs: *mut limpid_tensor,
            output_count: u64,
        ) -> limpid_status,
    >,
    /// Pictures `[1 or count, C, H, W]` under Gaussian noise of a standard
    /// deviation: picture n with draw `first + n` of the seed.
    pub noise: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            pictures: limpid_tensor,
            scale: f32,
            seed: u64,
            first: u64,
            count: u64,
            out: *mut limpid_tensor,
        ) -> limpid_status,
    >,

    /// Puts pictures through the model, and gradients back to any layers.
    pub pass: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            request: *const limpid_pass,
            out: *mut limpid_passed,
        ) -> limpid_status,
    >,

    /// The map `[C, H, W]` of an integration.
    pub integrate: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            request: *const limpid_integration,
            out: *mut limpid_tensor,
        ) -> limpid_status,
    >,
    /// The sums of an accumulation: `out` has room for `rows` tensors `[C, H, W]`.
    pub accumulate: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            request: *const limpid_accumulation,
            out: *mut limpid_tensor,
        ) -> limpid_status,
    >,
    /// Shows the gradient at each point in turn.
    pub gradients: Option<
        unsafe extern "C" fn(job: limpid_job, request: *const limpid_points) -> limpid_status,
    >,

    /// The scores at points: for each point a row of `objective_count` values;
    /// `len` in all.
    pub scores: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            request: *const limpid_points,
            out: *mut f64,
            len: u64,
        ) -> limpid_status,
    >,

    /// Layers' outputs and gradients as maps `[C, h, w]`: room for one tensor a
    /// layer, and for `objective_count` a layer.
    pub layer_gradients: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            request: *const limpid_layers,
            activations: *mut limpid_tensor,
            gradients: *mut limpid_tensor,
        ) -> limpid_status,
    >,
    /// The scores after changes of a layer's output, a row for each variant;
    /// `len` in all.
    pub layer_scores: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            request: *const limpid_variants,
            out: *mut f64,
            len: u64,
        ) -> limpid_status,
    >,

    /// A picture from a file, made ready as the model's inputs are: `[C, H, W]`.
    pub picture: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            path: limpid_str,
            out: *mut limpid_tensor,
        ) -> limpid_status,
    >,
    /// The pictures of a folder, in byte order: their number, and the extents
    /// C, H and W that they all have.
    pub pictures_open: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            folder: limpid_str,
            out: *mut limpid_pictures,
            count: *mut u64,
            shape: *mut u64,
        ) -> limpid_status,
    >,
    /// Copies one of them, `[C, H, W]`: `len` numbers. May be called while a
    /// service calls back.
    pub pictures_read: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            pictures: limpid_pictures,
            index: u64,
            out: *mut f32,
            len: u64,
        ) -> limpid_status,
    >,
}

// SAFETY: a table that nobody writes to.
unsafe impl Sync for limpid_host {}
// SAFETY: as above.
unsafe impl Send for limpid_host {}

/// The name of [`limpid_attentions`].
pub const LIMPID_ATTENTIONS: &str = "limpid.attentions/1";

/// The extension `limpid.attentions/1`: the attentions of a network in which
/// every token can read every other.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_attentions {
    /// Size and version.
    pub head: limpid_head,
    /// Tells where the tokens are, and calls `each` for every attention in the
    /// order in which they run. The request's layers are not read.
    pub read: Option<
        unsafe extern "C" fn(
            job: limpid_job,
            request: *const limpid_layers,
            tokens: *mut limpid_tokens,
            object: *mut c_void,
            each: limpid_each_attention,
        ) -> limpid_status,
    >,
}

// SAFETY: a table that nobody writes to.
unsafe impl Sync for limpid_attentions {}

/// Is shown an attention's weights, `[heads, T, T]`, and the gradient of each
/// objective with respect to them: tensors that are the plugin's to release.
pub type limpid_each_attention = Option<
    unsafe extern "C" fn(
        object: *mut c_void,
        weights: limpid_tensor,
        gradients: *const limpid_tensor,
        gradient_count: u64,
    ) -> limpid_status,
>;

/// Where a network's tokens lie.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct limpid_tokens {
    /// Size and version.
    pub head: limpid_head,
    /// The tokens before the picture's: class and register tokens.
    pub before: u64,
    /// The rows of the picture's tokens.
    pub rows: u64,
    /// Their columns.
    pub columns: u64,
    /// 1 where the scores are read from the first token; 0 where all are
    /// averaged.
    pub class_token: u64,
}

// SAFETY: `repr(C)`, a head first, and zero is a value of every field.
unsafe impl Growing for limpid_host {}
// SAFETY: as above.
unsafe impl Growing for limpid_attentions {}
// SAFETY: as above.
unsafe impl Growing for limpid_tokens {}
