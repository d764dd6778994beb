use crate::{Growing, limpid_head, limpid_sink, limpid_status, limpid_str, limpid_tensor};
use core::ffi::c_void;

/// The score itself.
pub const LIMPID_LOGIT: u32 = 0;
/// The probability of a softmax over all classes.
pub const LIMPID_SOFTMAX: u32 = 1;
/// The probability of the class by itself.
pub const LIMPID_SIGMOID: u32 = 2;

/// The mean of the draws' maps.
pub const LIMPID_MEAN: u32 = 0;
/// The mean of their squares.
pub const LIMPID_SQUARED: u32 = 1;
/// Their variance.
pub const LIMPID_VARIANCE: u32 = 2;

/// A map of the channels and pixels of the normalised input, `[C, H, W]`.
pub const LIMPID_INPUT: u32 = 0;
/// A map on a layer's grid, `[h, w]`.
pub const LIMPID_LAYER: u32 = 1;
/// A map of pixels, all channels together, `[H, W]`.
pub const LIMPID_PIXELS: u32 = 2;

/// A scalar of the model's scores: the sum of `weights` times what is read off
/// `classes`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_objective {
    /// The classes.
    pub classes: *const u64,
    /// Their weights.
    pub weights: *const f32,
    /// How many there are.
    pub count: u64,
    /// `LIMPID_LOGIT`, `LIMPID_SOFTMAX` or `LIMPID_SIGMOID`.
    pub readout: u32,
    /// 0.
    pub reserved: u32,
}

/// A point: which draw of noise, and where on the path.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct limpid_sample {
    /// The draw; the same draw has the same noise everywhere.
    pub draw: u64,
    /// Where on the path, in the path's own unit.
    pub position: f64,
}

/// A point with its weight in a sum.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct limpid_weighted {
    /// The point.
    pub sample: limpid_sample,
    /// The weight.
    pub weight: f64,
    /// Which of several sums it is added to.
    pub row: u64,
}

/// A node of a quadrature.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct limpid_node {
    /// Where on the path.
    pub position: f64,
    /// Its weight.
    pub weight: f64,
}

/// Numbers in the plugin's memory, in C order.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_array {
    /// The numbers.
    pub data: *const f32,
    /// The extents.
    pub shape: *const u64,
    /// How many extents there are.
    pub rank: u64,
}

/// How many times the model ran.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct limpid_evaluations {
    /// Forward passes with a gradient.
    pub gradients: u64,
    /// Forward passes without.
    pub forwards: u64,
}

/// What is known of a model.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_model {
    /// Size and version.
    pub head: limpid_head,
    /// The number of scores.
    pub classes: u64,
    /// The channels of its input.
    pub channels: u64,
    /// Black, in each channel of the normalised input.
    pub black: *const f32,
    /// White, in each channel of the normalised input.
    pub white: *const f32,
    /// The layer that a class activation map uses by default; null where there
    /// is none.
    pub cam_layer: limpid_str,
    /// The layers that are maps of the picture, in the order in which they run.
    pub cam_layers: *const limpid_str,
    /// How many of them there are.
    pub cam_layer_count: u64,
}

/// What a job may take.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct limpid_limits {
    /// Size and version.
    pub head: limpid_head,
    /// Pictures that are put through the model at once; more are split.
    pub batch: u64,
    /// Threads that a plugin may use for work of its own.
    pub threads: u64,
    /// Bytes that a job's tensors may take together.
    pub bytes: u64,
}

/// What is to be explained.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_request {
    /// Size and version.
    pub head: limpid_head,
    /// The normalised picture, `[C, H, W]` in C order.
    pub picture: *const f32,
    /// C, H and W.
    pub shape: [u64; 3],
    /// The same picture where the model runs, `[1, C, H, W]`.
    pub tensor: limpid_tensor,
    /// The scores; there is a map for each.
    pub objectives: *const limpid_objective,
    /// How many there are.
    pub objective_count: u64,
    /// The seed of everything random.
    pub seed: u64,
    /// The model.
    pub model: *const limpid_model,
}

/// The path has another end than the picture: `ends` holds both positions.
pub const LIMPID_PATH_ENDS: u32 = 1;
/// The graph's second output is the points' derivative with respect to the
/// position; without it the gradient is multiplied by nothing.
pub const LIMPID_PATH_VELOCITY: u32 = 2;
/// The graph's last output is what activations are compared with, for the rule
/// `deeplift`.
pub const LIMPID_PATH_REFERENCE: u32 = 4;

/// What is varied between a picture and its baseline: a part of a graph that
/// makes a batch of points out of pictures, where the model runs.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_path {
    /// Size and version.
    pub head: limpid_head,
    /// Handed to the functions.
    pub object: *mut c_void,
    /// `LIMPID_PATH_ENDS`, `LIMPID_PATH_VELOCITY`, `LIMPID_PATH_REFERENCE`.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
    /// The position of the picture itself and that of the other end.
    pub ends: [f64; 2],
    /// The graph in the form that `docs/plugins.md` gives. Its inputs are the
    /// pictures (`[1 or N, C, H, W]`, without a shape), then the statics, then
    /// the controls (with shapes, in which `"N"` is the batch); its outputs the
    /// points `[N, C, H, W]` and what the flags say.
    pub graph: limpid_str,
    /// Makes the graph for one batch and shape of the pictures, where a text for
    /// all does not do. Null: `graph`.
    pub build: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            batch: u64,
            shape: *const u64,
            rank: u64,
            out: limpid_sink,
        ) -> limpid_status,
    >,
    /// Inputs that do not depend on the position; as many numbers as the graph's
    /// inputs have.
    pub statics: *const limpid_array,
    /// How many there are.
    pub static_count: u64,
    /// How many inputs depend on it.
    pub control_count: u64,
    /// Writes the values of all controls at `sample_count` points: control i
    /// has `lens[i]` numbers at `out[i]`. Null: each control is the positions.
    pub controls: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            samples: *const limpid_sample,
            sample_count: u64,
            out: *const *mut f32,
            lens: *const u64,
        ) -> limpid_status,
    >,
}

/// What the points of an evaluation have in common.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_subject {
    /// Size and version.
    pub head: limpid_head,
    /// The normalised picture, `[C, H, W]` in C order.
    pub picture: *const f32,
    /// C, H and W.
    pub shape: [u64; 3],
    /// The path; null for the picture itself.
    pub path: *const limpid_path,
    /// 1 where noise is added before the path, else 0.
    pub noise: u32,
    /// The noise's standard deviation, in units of the normalised picture.
    pub noise_scale: f32,
    /// The noise's seed.
    pub noise_seed: u64,
    /// How operators pass gradients on: empty or `standard`,
    /// `guided-backpropagation`, `deconvnet`, `deeplift`, or an object of JSON
    /// with the rules of a relevance propagation.
    pub rule: limpid_str,
}

/// For each draw, the sum over the nodes of weight * gradient at the point *
/// velocity of the point; then reduced.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_integration {
    /// Size and version.
    pub head: limpid_head,
    /// What is evaluated.
    pub subject: *const limpid_subject,
    /// The score.
    pub objective: *const limpid_objective,
    /// The number of draws.
    pub draws: u64,
    /// The nodes of each draw.
    pub nodes: *const limpid_node,
    /// How many there are.
    pub node_count: u64,
    /// `LIMPID_MEAN`, `LIMPID_SQUARED` or `LIMPID_VARIANCE`.
    pub reduce: u32,
    /// 0.
    pub reserved: u32,
}

/// Several sums of gradients whose points are chosen as they go.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_accumulation {
    /// Size and version.
    pub head: limpid_head,
    /// What is evaluated.
    pub subject: *const limpid_subject,
    /// The score.
    pub objective: *const limpid_objective,
    /// The number of sums.
    pub rows: u64,
    /// What they begin with, `[rows, C, H, W]`; null for zeros.
    pub initial: *const f32,
    /// The number of evaluations that are expected, for reports of progress.
    pub expected: u64,
    /// Handed to `next`.
    pub object: *mut c_void,
    /// Puts the next points into the plan; none end the accumulation.
    pub next: Option<
        unsafe extern "C" fn(object: *mut c_void, plan: *const limpid_plan) -> limpid_status,
    >,
}

/// Where an accumulation's next points go; the host's.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_plan {
    /// Size and version.
    pub head: limpid_head,
    /// Handed to the functions.
    pub object: *mut c_void,
    /// Appends points.
    pub add: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            points: *const limpid_weighted,
            count: u64,
        ) -> limpid_status,
    >,
    /// Writes the sums so far, `[rows, C, H, W]`: `len` numbers.
    pub sums:
        Option<unsafe extern "C" fn(object: *mut c_void, out: *mut f32, len: u64) -> limpid_status>,
}

/// Points at which each gradient, or the scores, are asked for.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_points {
    /// Size and version.
    pub head: limpid_head,
    /// What is evaluated.
    pub subject: *const limpid_subject,
    /// The scores; one, where gradients are asked for.
    pub objectives: *const limpid_objective,
    /// How many there are.
    pub objective_count: u64,
    /// The points.
    pub points: *const limpid_sample,
    /// How many there are.
    pub point_count: u64,
    /// 1 where each gradient is multiplied by the path's velocity, else 0.
    pub times_velocity: u32,
    /// 0.
    pub reserved: u32,
    /// Handed to `visit`.
    pub object: *mut c_void,
    /// Is shown each point's number and gradient, `[C, H, W]`: `len` numbers.
    pub visit: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            index: u64,
            gradient: *const f32,
            len: u64,
        ) -> limpid_status,
    >,
}

/// A picture and layers of the model.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_layers {
    /// Size and version.
    pub head: limpid_head,
    /// The normalised picture, `[C, H, W]` in C order.
    pub picture: *const f32,
    /// C, H and W.
    pub shape: [u64; 3],
    /// The layers' names.
    pub layers: *const limpid_str,
    /// How many there are.
    pub layer_count: u64,
    /// The scores; none for the layers' outputs alone.
    pub objectives: *const limpid_objective,
    /// How many there are.
    pub objective_count: u64,
}

/// Changed outputs of a layer, from which scores are asked for.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_variants {
    /// Size and version.
    pub head: limpid_head,
    /// The picture, one layer, and the scores.
    pub at: *const limpid_layers,
    /// The number of variants.
    pub count: u64,
    /// Handed to `vary`.
    pub object: *mut c_void,
    /// Makes a variant out of its number and the layer's output, `[C, h, w]`:
    /// `len` numbers.
    pub vary: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            index: u64,
            cells: *mut f32,
            len: u64,
        ) -> limpid_status,
    >,
}

/// Pictures that are put through the model where they lie.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_pass {
    /// Size and version.
    pub head: limpid_head,
    /// The pictures, `[N, C, H, W]`.
    pub pictures: limpid_tensor,
    /// The score of which gradients are taken; null for a forward pass alone.
    pub objective: *const limpid_objective,
    /// As in `limpid_subject`.
    pub rule: limpid_str,
    /// The layers whose outputs and gradients are wanted; the empty name stands
    /// for the pictures.
    pub layers: *const limpid_str,
    /// How many there are.
    pub layer_count: u64,
}

/// What pictures became on their way through the model.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_passed {
    /// Size and version.
    pub head: limpid_head,
    /// The logits, `[N, classes]`.
    pub logits: limpid_tensor,
    /// Room for each layer's output, `[N, ...]`; the plugin's. Null: not wanted.
    pub activations: *mut limpid_tensor,
    /// Room for the gradient with respect to each; the plugin's. Null: not
    /// wanted.
    pub gradients: *mut limpid_tensor,
}

/// The map of one score.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_map {
    /// Size and version.
    pub head: limpid_head,
    /// The map in the plugin's memory, in C order; null where `tensor` is it.
    pub data: *const f32,
    /// The map where the model runs; extents of 1 before the map's are left out.
    pub tensor: limpid_tensor,
    /// The map's extents; may be null with `tensor`.
    pub shape: *const u64,
    /// How many there are.
    pub rank: u64,
    /// `LIMPID_INPUT`, `LIMPID_LAYER` or `LIMPID_PIXELS`.
    pub domain: u32,
    /// 1 where negative values have a meaning, else 0.
    pub has_sign: u32,
    /// The layer's name, for `LIMPID_LAYER`.
    pub layer: limpid_str,
    /// The standard error of each value, of the map's shape; null where it is
    /// not estimated.
    pub standard_error: *const f32,
    /// 1 where `expected` is what the map should add up to, else 0.
    pub is_complete: u32,
    /// 0.
    pub reserved: u32,
    /// The score at the picture less the score at the path's other end.
    pub expected: f64,
    /// What it cost; zeros stand for all that the job has evaluated.
    pub evaluations: limpid_evaluations,
}

// SAFETY: `repr(C)`, a head first, and zero is a value of every field.
unsafe impl Growing for limpid_model {}
// SAFETY: as above.
unsafe impl Growing for limpid_limits {}
// SAFETY: as above.
unsafe impl Growing for limpid_request {}
// SAFETY: as above.
unsafe impl Growing for limpid_path {}
// SAFETY: as above.
unsafe impl Growing for limpid_subject {}
// SAFETY: as above.
unsafe impl Growing for limpid_integration {}
// SAFETY: as above.
unsafe impl Growing for limpid_accumulation {}
// SAFETY: as above.
unsafe impl Growing for limpid_plan {}
// SAFETY: as above.
unsafe impl Growing for limpid_points {}
// SAFETY: as above.
unsafe impl Growing for limpid_layers {}
// SAFETY: as above.
unsafe impl Growing for limpid_variants {}
// SAFETY: as above.
unsafe impl Growing for limpid_pass {}
// SAFETY: as above.
unsafe impl Growing for limpid_passed {}
// SAFETY: as above.
unsafe impl Growing for limpid_map {}
