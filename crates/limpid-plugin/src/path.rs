//! Paths and callbacks as the host calls them.

use crate::error::{Panicked, status_of};
use crate::table::panic_message;
use limpid_explain::{ExplainError, Fragment, Path, Sample, Subject};
use limpid_graph::passes::Rule;
use limpid_graph::{Fact, Graph, ValueId, text};
use limpid_plugin_abi as abi;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a function that the host calls back works on, and what went wrong in it.
pub(crate) struct Callback<T> {
    pub(crate) state: T,
    pub(crate) error: Option<ExplainError>,
}

impl<T> Callback<T> {
    pub(crate) fn new(state: T) -> Self {
        Self { state, error: None }
    }

    /// A pointer for the host to hand back.
    pub(crate) fn object(&mut self) -> *mut c_void {
        std::ptr::from_mut(self).cast()
    }

    /// Runs a callback; nothing of what goes wrong leaves it but the status.
    ///
    /// # Safety
    /// `object` came from [`object`](Self::object) of a value of this type that
    /// is alive and not borrowed.
    pub(crate) unsafe fn run(
        object: *mut c_void,
        work: impl FnOnce(&mut T) -> Result<(), ExplainError>,
    ) -> abi::limpid_status {
        // SAFETY: promised by the caller.
        let this = unsafe { &mut *object.cast::<Self>() };
        let state = &mut this.state;
        let error = match catch_unwind(AssertUnwindSafe(|| work(state))) {
            Ok(Ok(())) => return abi::LIMPID_OK,
            Ok(Err(error)) => error,
            Err(panic) => ExplainError::Run(Box::new(Panicked(panic_message(&*panic)))),
        };
        let status = status_of(&error);
        this.error = Some(error);
        status
    }
}

/// Extents as the interface has them.
pub(crate) fn extents(dims: &[usize]) -> Vec<u64> {
    dims.iter().map(|d| *d as u64).collect()
}

/// `[C, H, W]` as the interface has it.
pub(crate) fn picture_extents(dims: &[usize]) -> Result<[u64; 3], ExplainError> {
    match dims {
        [c, h, w] => Ok([*c as u64, *h as u64, *w as u64]),
        _ => Err(ExplainError::Shape {
            what: "a picture".into(),
            expected: "[C,H,W]".into(),
            found: format!("{dims:?}"),
        }),
    }
}

/// A rule's text.
pub(crate) fn rule(rule: Rule) -> Result<String, ExplainError> {
    match rule {
        Rule::Standard => Ok(String::new()),
        other => serde_json::to_string(&other).map_err(|e| ExplainError::Run(Box::new(e))),
    }
}

/// A path's graph for pictures of this shape.
fn fragment(
    path: &dyn Path,
    batch: usize,
    dims: &[usize],
) -> Result<(Graph, ValueId, Fragment), ExplainError> {
    let mut graph = Graph::new();
    let x = graph.input("x", Fact::f32(dims));
    let fragment = path.build(&mut graph, x, batch)?;
    Ok((graph, x, fragment))
}

/// Calls `work` with a subject, whose picture is there, as the interface has it. What goes wrong in the
/// path's own functions is what is returned.
pub(crate) fn with_subject<R>(
    subject: &Subject<'_>,
    picture: *const f32,
    work: impl FnOnce(*const abi::limpid_subject) -> Result<R, ExplainError>,
) -> Result<R, ExplainError> {
    let dims = subject.image.dims();
    let (graph, _, made) = fragment(subject.path, 1, &[&[1], dims].concat())?;
    let statics = subject.path.statics();
    // A static has the shape of the input that takes it, `[1, C, H, W]` where the
    // tensor itself is `[C, H, W]`.
    let shapes = made.statics.iter().map(|v| &*graph.fact(*v).shape);
    let shapes: Vec<Vec<u64>> = shapes.map(extents).collect();
    let elements = |shape: &[u64]| shape.iter().product::<u64>();
    let held = statics.iter().map(|t| t.data().len() as u64);
    if !held.eq(shapes.iter().map(|s| elements(s))) {
        let found = statics.iter().map(|t| t.dims());
        return Err(ExplainError::Shape {
            what: "the statics of a path".into(),
            expected: format!("{shapes:?}"),
            found: format!("{:?}", found.collect::<Vec<_>>()),
        });
    }
    let arrays: Vec<abi::limpid_array> = statics
        .iter()
        .zip(&shapes)
        .map(|(t, shape)| abi::limpid_array {
            data: t.data().as_ptr(),
            shape: shape.as_ptr(),
            rank: shape.len() as u64,
        })
        .collect();
    let ends = subject.path.ends();
    let flag = |on: bool, bit: u32| if on { bit } else { 0 };
    let mut callback = Callback::new((subject.path, made.controls.len()));
    let path = abi::limpid_path {
        head: abi::limpid_head::of::<abi::limpid_path>(),
        object: callback.object(),
        flags: flag(ends.is_some(), abi::LIMPID_PATH_ENDS)
            | flag(made.velocity.is_some(), abi::LIMPID_PATH_VELOCITY)
            | flag(made.reference.is_some(), abi::LIMPID_PATH_REFERENCE),
        reserved: 0,
        ends: ends.unwrap_or_default(),
        graph: abi::limpid_str::EMPTY,
        build: Some(build),
        statics: arrays.as_ptr(),
        static_count: arrays.len() as u64,
        control_count: made.controls.len() as u64,
        controls: Some(controls),
    };
    let rule = rule(subject.rule)?;
    let result = work(&abi::limpid_subject {
        head: abi::limpid_head::of::<abi::limpid_subject>(),
        picture,
        shape: picture_extents(dims)?,
        path: &path,
        noise: u32::from(subject.noise.is_some()),
        noise_scale: subject.noise.map_or(0.0, |n| n.scale),
        noise_seed: subject.noise.map_or(0, |n| n.seed),
        rule: abi::limpid_str::new(&rule),
    });
    match callback.error.take() {
        Some(error) => Err(error),
        None => result,
    }
}

/// A path, and how many controls it has.
type Varied<'a> = (&'a dyn Path, usize);

unsafe extern "C" fn build(
    object: *mut c_void,
    batch: u64,
    shape: *const u64,
    rank: u64,
    out: abi::limpid_sink,
) -> abi::limpid_status {
    // SAFETY: `object` is the callback that `with_subject` made; the host
    // passes arrays of these lengths.
    unsafe {
        let dims = abi::slice(shape, rank).iter().map(|d| *d as usize);
        let dims: Vec<usize> = dims.collect();
        Callback::<Varied<'_>>::run(object, |(path, _)| {
            let (graph, x, made) = fragment(*path, batch as usize, &dims)?;
            let inputs = [&[x][..], &made.statics, &made.controls].concat();
            let strange = graph.inputs().iter().any(|v| !inputs.contains(v));
            if strange || !text::is_writable(&graph) {
                return Err(ExplainError::Refused {
                    method: String::new(),
                    message: "a path's inputs must be floats, each a static or a control".into(),
                });
            }
            let optional = [made.velocity, made.reference];
            let outputs: Vec<ValueId> = std::iter::once(made.point)
                .chain(optional.into_iter().flatten())
                .collect();
            let text = text::write(&graph, &inputs, &outputs)
                .map_err(|e| ExplainError::Run(Box::new(e)))?;
            out.put(&text);
            Ok(())
        })
    }
}

unsafe extern "C" fn controls(
    object: *mut c_void,
    samples: *const abi::limpid_sample,
    count: u64,
    out: *const *mut f32,
    lens: *const u64,
) -> abi::limpid_status {
    // SAFETY: `object` is the callback that `with_subject` made; the host
    // passes arrays of these lengths.
    unsafe {
        let samples = abi::slice(samples, count).iter().map(|s| Sample {
            draw: s.draw,
            position: s.position,
        });
        let samples: Vec<Sample> = samples.collect();
        Callback::<Varied<'_>>::run(object, |(path, wanted)| {
            let found = path.controls(&samples)?;
            if found.len() != *wanted {
                return Err(ExplainError::Shape {
                    what: "what a path says of its controls".into(),
                    expected: format!("{wanted} lists"),
                    found: found.len().to_string(),
                });
            }
            for (i, values) in found.iter().enumerate() {
                let room = abi::slice_mut(*out.add(i), *lens.add(i));
                if room.len() != values.len() {
                    return Err(ExplainError::Shape {
                        what: format!("control {i} of a path"),
                        expected: format!("{} numbers", room.len()),
                        found: values.len().to_string(),
                    });
                }
                room.copy_from_slice(values);
            }
            Ok(())
        })
    }
}
