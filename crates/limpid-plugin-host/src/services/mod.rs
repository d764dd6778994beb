//! What the host does for plugins: the table, and the functions in it.

mod basic;
mod layers;
mod loops;
mod maps;
mod pictures;
mod tensors;

pub use basic::shown;

use crate::job::{Fault, Job, invalid};
use crate::path::PluginPath;
use limpid_explain::paths::Constant;
use limpid_explain::{ModelInfo, Noise, Objective, Path, Readout, Sample, Subject};
use limpid_graph::passes::Rule;
use limpid_plugin_abi as abi;
use limpid_tensor::Tensor;
use std::borrow::Cow;

/// The host's table, of all services of this version.
pub static HOST: abi::limpid_host = host(abi::LIMPID_CAN_ALL, size_of::<abi::limpid_host>());

/// A table that tells a smaller size and fewer capabilities, as that of an older
/// host does.
#[doc(hidden)]
#[must_use]
pub const fn host(capabilities: u64, size: usize) -> abi::limpid_host {
    let mut head = abi::limpid_head::of::<abi::limpid_host>();
    head.struct_size = size as u32;
    abi::limpid_host {
        head,
        capabilities,
        version: abi::limpid_str::new(env!("CARGO_PKG_VERSION")),
        last_error: Some(basic::last_error),
        set_error: Some(basic::set_error),
        is_cancelled: Some(basic::is_cancelled),
        progress: Some(basic::progress),
        log: Some(basic::log),
        evaluations: Some(basic::evaluations),
        limits: Some(basic::limits),
        emit: Some(maps::emit),
        get_extension: Some(basic::get_extension),
        tensor_new: Some(tensors::new),
        tensor_shape: Some(tensors::shape),
        tensor_read: Some(tensors::read),
        tensor_release: Some(tensors::release),
        compute: Some(tensors::compute),
        noise: Some(tensors::noise),
        pass: Some(tensors::pass),
        integrate: Some(loops::integrate),
        accumulate: Some(loops::accumulate),
        gradients: Some(loops::gradients),
        scores: Some(loops::scores),
        layer_gradients: Some(layers::layer_gradients),
        layer_scores: Some(layers::layer_scores),
        picture: Some(pictures::picture),
        pictures_open: Some(pictures::open),
        pictures_read: Some(pictures::read),
    }
}

/// The most layers, and the most scores, of a request.
const MAX_FEW: u64 = 1 << 12;

/// The most of anything else that a request lists, all classes of all scores
/// together among them.
const MAX_LIST: u64 = 1 << 20;

/// The longest name, rule or path, in bytes.
const MAX_WORDS: u64 = 1 << 16;

/// A model's facts as the interface has them.
pub(crate) struct ModelTable {
    table: abi::limpid_model,
    _layers: Vec<abi::limpid_str>,
    _info: ModelInfo,
}

impl ModelTable {
    pub(crate) fn new(model: &ModelInfo) -> Self {
        let info = model.clone();
        let layers = info.cam_layers.iter().map(|l| abi::limpid_str::new(l));
        let layers: Vec<abi::limpid_str> = layers.collect();
        let cam_layer = info.cam_layer.as_deref().map(abi::limpid_str::new);
        Self {
            table: abi::limpid_model {
                head: abi::limpid_head::of::<abi::limpid_model>(),
                classes: info.classes as u64,
                channels: info.black.len() as u64,
                black: info.black.as_ptr(),
                white: info.white.as_ptr(),
                cam_layer: cam_layer.unwrap_or(abi::limpid_str::EMPTY),
                cam_layers: layers.as_ptr(),
                cam_layer_count: layers.len() as u64,
            },
            _layers: layers,
            _info: info,
        }
    }

    pub(crate) fn table(&self) -> *const abi::limpid_model {
        &raw const self.table
    }
}

/// An array of a request, of a length that is believable.
///
/// # Safety
/// `data` is null or points to `len` elements that live until the service
/// returns.
unsafe fn list<'a, T>(what: &str, data: *const T, len: u64) -> Result<&'a [T], Fault> {
    if len > MAX_LIST {
        return Err(invalid(format!("a list of {len} {what}")));
    }
    if len > 0 && (data.is_null() || !data.is_aligned()) {
        return Err(invalid(format!("a list of {len} {what} at {data:p}")));
    }
    // SAFETY: promised by the caller.
    Ok(unsafe { abi::slice(data, len) })
}

/// Numbers of a request whose count follows from something checked.
///
/// # Safety
/// As for [`list`].
unsafe fn aligned<'a>(what: &str, data: *const f32, len: usize) -> Result<&'a [f32], Fault> {
    if !data.is_aligned() {
        return Err(invalid(format!("{what} at {data:p}")));
    }
    // SAFETY: promised by the caller.
    Ok(unsafe { abi::slice(data, len as u64) })
}

/// The same of layers or scores, of which there may be fewer.
///
/// # Safety
/// As for [`list`].
unsafe fn few<'a, T>(what: &str, data: *const T, len: u64) -> Result<&'a [T], Fault> {
    if len > MAX_FEW {
        return Err(invalid(format!(
            "a list of {len} {what}; at most {MAX_FEW}"
        )));
    }
    // SAFETY: promised by the caller.
    unsafe { list(what, data, len) }
}

/// The struct that a request points to.
///
/// # Safety
/// `from` is null or points to such a struct.
unsafe fn table<T: abi::Growing>(what: &str, from: *const T) -> Result<T, Fault> {
    // SAFETY: promised by the caller.
    unsafe { abi::read(from) }.ok_or_else(|| invalid(format!("no {what}")))
}

/// # Safety
/// The text lives until the service returns.
unsafe fn words<'a>(what: &str, text: abi::limpid_str) -> Result<&'a str, Fault> {
    if text.len > MAX_WORDS {
        return Err(invalid(format!("{what} of {} bytes", text.len)));
    }
    // SAFETY: promised by the caller.
    unsafe { text.get() }.ok_or_else(|| invalid(format!("{what} that is no text in UTF-8")))
}

/// # Safety
/// The list lives until the service returns.
unsafe fn objectives(
    data: *const abi::limpid_objective,
    len: u64,
    classes: usize,
) -> Result<Vec<Objective>, Fault> {
    // SAFETY: promised by the caller.
    unsafe {
        let rows = few("scores", data, len)?;
        let terms = rows.iter().fold(0u64, |n, row| n.saturating_add(row.count));
        if terms > MAX_LIST {
            return Err(invalid(format!("scores of {terms} classes")));
        }
        let rows = rows.iter();
        rows.map(|row| {
            let at = list("classes", row.classes, row.count)?;
            let weights = list("weights", row.weights, row.count)?;
            if let Some(wrong) = at.iter().find(|c| **c >= classes as u64) {
                return Err(invalid(format!("class {wrong} of {classes}")));
            }
            if weights.iter().any(|w| !w.is_finite()) {
                return Err(invalid("an objective whose weights are not finite"));
            }
            let readout = match row.readout {
                abi::LIMPID_LOGIT => Readout::Logit,
                abi::LIMPID_SOFTMAX => Readout::Softmax,
                abi::LIMPID_SIGMOID => Readout::Sigmoid,
                other => return Err(unknown("readout", other)),
            };
            let terms = at.iter().map(|c| *c as usize).zip(weights.iter().copied());
            Ok(Objective::weighted(terms.collect()).read_as(readout))
        })
        .collect()
    }
}

/// # Safety
/// The struct lives until the service returns.
unsafe fn objective(
    data: *const abi::limpid_objective,
    classes: usize,
) -> Result<Objective, Fault> {
    // SAFETY: promised by the caller.
    let mut all = unsafe { objectives(data, 1, classes) }?;
    Ok(all.remove(0))
}

fn unknown(what: &str, value: u32) -> Fault {
    let message = format!("{what} {value} is not known to this version");
    Fault::Rule(abi::LIMPID_UNSUPPORTED, message)
}

/// A picture `[C, H, W]` of a request; that of the job needs no copy.
///
/// # Safety
/// `data` points to as many numbers as the shape says.
unsafe fn image<'a>(
    job: &'a Job,
    data: *const f32,
    shape: [u64; 3],
    model: &ModelInfo,
) -> Result<Cow<'a, Tensor>, Fault> {
    let own = job.picture();
    let same = own.dims().iter().map(|d| *d as u64).eq(shape);
    if same && data == own.data().as_ptr() {
        return Ok(Cow::Borrowed(own));
    }
    if data.is_null() || shape[0] != model.black.len() as u64 {
        return Err(invalid(format!(
            "a picture of shape {shape:?} for a model of {} channels",
            model.black.len()
        )));
    }
    // SAFETY: promised by the caller.
    let picture = unsafe { crate::path::tensor(data, shape.as_ptr(), 3, job.left()) }?;
    Ok(Cow::Owned(picture))
}

fn rule(text: &str) -> Result<Rule, Fault> {
    let parsed = match text {
        "" => return Ok(Rule::Standard),
        json if json.starts_with(['{', '"']) => serde_json::from_str(json),
        word => serde_json::from_value(word.into()),
    };
    parsed.map_err(|e| {
        let message = format!("the rule `{text}` is not known to this version: {e}");
        Fault::Rule(abi::LIMPID_UNSUPPORTED, message)
    })
}

/// A subject of a request.
struct OwnedSubject<'a> {
    image: Cow<'a, Tensor>,
    path: Option<PluginPath>,
    noise: Option<Noise>,
    rule: Rule,
}

impl<'a> OwnedSubject<'a> {
    /// # Safety
    /// The struct and what it points to live until the service returns.
    unsafe fn read(
        job: &'a Job,
        from: *const abi::limpid_subject,
        model: &ModelInfo,
    ) -> Result<Self, Fault> {
        // SAFETY: promised by the caller.
        unsafe {
            let subject = table("subject", from)?;
            let path = match subject.path.is_null() {
                true => None,
                false => Some(PluginPath::new(table("path", subject.path)?, job.left())?),
            };
            Ok(Self {
                image: image(job, subject.picture, subject.shape, model)?,
                path,
                noise: (subject.noise != 0).then_some(Noise {
                    scale: subject.noise_scale,
                    seed: subject.noise_seed,
                }),
                rule: rule(words("a rule", subject.rule)?)?,
            })
        }
    }

    fn get(&self) -> Subject<'_> {
        Subject {
            image: &self.image,
            path: match &self.path {
                Some(path) => path,
                None => &Constant as &dyn Path,
            },
            noise: self.noise,
            rule: self.rule,
        }
    }
}

fn samples(points: &[abi::limpid_sample]) -> Result<Vec<Sample>, Fault> {
    let points = points.iter().map(|s| match s.position.is_finite() {
        true => Ok(Sample {
            draw: s.draw,
            position: s.position,
        }),
        false => Err(invalid("a point whose position is not finite")),
    });
    points.collect()
}

/// Room that a request gives for results.
///
/// # Safety
/// `data` points to `len` elements that are the caller's alone.
unsafe fn room<'a, T>(what: &str, data: *mut T, len: usize) -> Result<&'a mut [T], Fault> {
    if len > 0 && (data.is_null() || !data.is_aligned()) {
        return Err(invalid(format!("no room for {what} at {data:p}")));
    }
    // SAFETY: promised by the caller.
    Ok(unsafe { abi::slice_mut(data, len as u64) })
}
