//! What a plugin exports, and how the host's calls reach its explainers.

use crate::context::{HostContext, Job};
use crate::error::status_of;
use crate::table::panic_message;
use limpid_explain::methods::MethodInfo;
use limpid_explain::{
    Attribution, Domain, ExplainError, Explainer, ModelInfo, Objective, Parameters, Readout,
    Request,
};
use limpid_plugin_abi as abi;
use limpid_tensor::Tensor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// A method that a plugin exports.
pub struct Export {
    info: MethodInfo,
    required: u64,
}

impl From<MethodInfo> for Export {
    fn from(info: MethodInfo) -> Self {
        Self { info, required: 0 }
    }
}

impl Export {
    /// A method that needs these capabilities of the host (`LIMPID_CAN_...` of
    /// [`abi`]); a host that lacks one refuses the method, where otherwise the
    /// service would fail when it is asked for.
    #[must_use]
    pub fn requiring(info: MethodInfo, capabilities: u64) -> Self {
        Self {
            info,
            required: capabilities,
        }
    }
}

/// The type of a plugin's function that makes methods.
type Create = unsafe extern "C" fn(
    *const abi::limpid_host,
    abi::limpid_str,
    abi::limpid_str,
    u64,
    abi::limpid_sink,
    *mut *mut abi::limpid_instance,
) -> abi::limpid_status;

/// A plugin's tables. They live as long as the process.
pub struct Plugin {
    table: abi::limpid_plugin,
    methods: Vec<MethodInfo>,
}

/// The parameters' schemas as an object of JSON, in their own order.
fn schemas(info: &MethodInfo) -> String {
    let params = info.params.iter();
    let schemas = params.map(|p| format!("{}:{}", serde_json::json!(p.name), p.schema()));
    format!("{{{}}}", schemas.collect::<Vec<_>>().join(","))
}

/// Text that lives as long as the process.
fn lasting(text: String) -> abi::limpid_str {
    abi::limpid_str::new(text.leak())
}

impl Plugin {
    /// The tables for these methods.
    #[must_use]
    pub fn new(id: &str, name: &str, version: &str, exports: Vec<Export>, create: Create) -> Self {
        let method = |export: &Export| {
            let info = &export.info;
            let method: &'static abi::limpid_method = Box::leak(Box::new(abi::limpid_method {
                head: abi::limpid_head::of::<abi::limpid_method>(),
                id: lasting(info.id.to_string()),
                kind: lasting(info.kind.to_string()),
                output: lasting(info.output.to_string()),
                summary: lasting(info.summary.to_string()),
                parameters: lasting(schemas(info)),
                smooth: info.smooth.unwrap_or(0),
                required: export.required,
                optional: abi::LIMPID_CAN_ALL,
            }));
            std::ptr::from_ref(method)
        };
        let table: Vec<*const abi::limpid_method> = exports.iter().map(method).collect();
        let methods: &'static [*const abi::limpid_method] = table.leak();
        Self {
            table: abi::limpid_plugin {
                head: abi::limpid_head::of::<abi::limpid_plugin>(),
                id: lasting(id.to_owned()),
                name: lasting(name.to_owned()),
                version: lasting(version.to_owned()),
                methods: methods.as_ptr(),
                method_count: methods.len() as u64,
                create: Some(create),
                get_extension: None,
            },
            methods: exports.into_iter().map(|e| e.info).collect(),
        }
    }

    /// Makes a method; for [`export_explainers!`](crate::export_explainers).
    ///
    /// # Safety
    /// The arguments are those of the interface's `create`.
    pub unsafe fn create(
        plugin: &OnceLock<Self>,
        host: *const abi::limpid_host,
        method: abi::limpid_str,
        parameters: abi::limpid_str,
        smooth: u64,
        error: abi::limpid_sink,
        out: *mut *mut abi::limpid_instance,
    ) -> abi::limpid_status {
        // SAFETY: promised by the caller.
        let given = unsafe { (abi::read(host), method.get(), parameters.get()) };
        let made = catch_unwind(AssertUnwindSafe(|| {
            let (Some(host), Some(id), Some(parameters)) = given else {
                return Err(invalid("the host passed a text or table that is none"));
            };
            let methods = plugin.get().map_or(&[][..], |p| &p.methods);
            let info = limpid_explain::methods::find(methods, id)?;
            let parameters: Parameters = serde_json::from_str(parameters)
                .map_err(|e| invalid(format!("the parameters are no object of JSON: {e}")))?;
            let explainer = info.build_json(&parameters, (smooth > 0).then_some(smooth))?;
            Ok(Instance {
                base: abi::limpid_instance {
                    head: abi::limpid_head::of::<abi::limpid_instance>(),
                    smoothed: u32::from(explainer.is_smoothed()),
                    reserved: 0,
                    parameters: Some(instance_parameters),
                    explain: Some(explain),
                    destroy: Some(destroy),
                },
                explainer,
                host,
            })
        }));
        let (status, message) = match made {
            Ok(Ok(instance)) => {
                // SAFETY: there is room for a pointer; it is freed by `destroy`.
                unsafe { *out = Box::into_raw(Box::new(instance)).cast() };
                return abi::LIMPID_OK;
            }
            Ok(Err(e)) => (status_of(&e), e.to_string()),
            Err(panic) => (abi::LIMPID_PANIC, panic_message(&*panic)),
        };
        // SAFETY: the sink was passed to this function.
        unsafe { error.put(&message) };
        status
    }
}

fn invalid(message: impl Into<String>) -> ExplainError {
    ExplainError::Refused {
        method: String::new(),
        message: message.into(),
    }
}

/// Answers the entry symbol; for [`export_explainers!`](crate::export_explainers).
///
/// # Safety
/// `host` and `error` are what the host passed to the entry symbol.
pub unsafe fn entry(
    plugin: &'static OnceLock<Plugin>,
    define: impl FnOnce() -> Plugin,
    host: *const abi::limpid_host,
    error: abi::limpid_sink,
) -> *const abi::limpid_plugin {
    // SAFETY: promised by the caller.
    let major = unsafe { abi::read(host) }.map(|h| h.head.abi_major);
    if major != Some(abi::LIMPID_ABI_MAJOR) {
        let found = major.map_or_else(|| "none".into(), |m| m.to_string());
        // SAFETY: the sink was passed to this function.
        unsafe {
            error.put(&format!(
                "it was built for version {} of the interface, the host has {found}",
                abi::LIMPID_ABI_MAJOR
            ));
        }
        return std::ptr::null();
    }
    match catch_unwind(AssertUnwindSafe(|| plugin.get_or_init(define))) {
        Ok(plugin) => &raw const plugin.table,
        Err(panic) => {
            // SAFETY: the sink was passed to this function.
            unsafe { error.put(&panic_message(&*panic)) };
            std::ptr::null()
        }
    }
}

/// A method with its parameters; the host sees its first field.
#[repr(C)]
struct Instance {
    base: abi::limpid_instance,
    explainer: Box<dyn Explainer>,
    host: abi::limpid_host,
}

/// What the host says of its model.
///
/// # Safety
/// `model` is the host's table.
unsafe fn model_info(model: *const abi::limpid_model) -> Result<ModelInfo, ExplainError> {
    // SAFETY: promised by the caller; the arrays have these lengths.
    unsafe {
        let model = abi::read(model).ok_or_else(|| invalid("the host passed no model"))?;
        let text = |s: abi::limpid_str| s.get().unwrap_or_default().to_owned();
        let layers = abi::slice(model.cam_layers, model.cam_layer_count);
        Ok(ModelInfo {
            classes: model.classes as usize,
            black: abi::slice(model.black, model.channels).to_vec(),
            white: abi::slice(model.white, model.channels).to_vec(),
            cam_layer: (!model.cam_layer.data.is_null()).then(|| text(model.cam_layer)),
            cam_layers: layers.iter().map(|l| text(*l)).collect(),
        })
    }
}

unsafe extern "C" fn instance_parameters(
    instance: *mut abi::limpid_instance,
    model: *const abi::limpid_model,
    shape: *const u64,
    out: abi::limpid_sink,
) -> abi::limpid_status {
    let made = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the instance is one that `create` made; a shape is three
        // extents; the model is the host's.
        unsafe {
            let instance = &*instance.cast::<Instance>();
            let dims = abi::slice(shape, 3).iter().map(|d| *d as usize);
            let dims: Vec<usize> = dims.collect();
            Ok::<_, ExplainError>(instance.explainer.parameters(&model_info(model)?, &dims))
        }
    }));
    match made {
        Ok(Ok(parameters)) => {
            let text = serde_json::Value::Object(parameters).to_string();
            // SAFETY: the sink was passed to this function.
            unsafe { out.put(&text) };
            abi::LIMPID_OK
        }
        Ok(Err(error)) => status_of(&error),
        Err(_) => abi::LIMPID_PANIC,
    }
}

unsafe extern "C" fn explain(
    instance: *mut abi::limpid_instance,
    job: abi::limpid_job,
    request: *const abi::limpid_request,
) -> abi::limpid_status {
    // SAFETY: the instance is one that `create` made.
    let instance = unsafe { &*instance.cast::<Instance>() };
    let job = Job {
        host: instance.host,
        id: job,
    };
    // SAFETY: the request is the host's until this returns.
    let work = || unsafe { explain_all(&*instance.explainer, job, request) };
    let (status, message) = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return abi::LIMPID_OK,
        Ok(Err(error)) => (status_of(&error), error.to_string()),
        Err(panic) => (abi::LIMPID_PANIC, panic_message(&*panic)),
    };
    if let Some(set_error) = job.host.set_error {
        // SAFETY: the text lives until the call returns.
        unsafe { set_error(job.id, abi::limpid_str::new(&message)) }
    }
    status
}

/// # Safety
/// The request is the host's.
unsafe fn explain_all(
    explainer: &dyn Explainer,
    job: Job,
    request: *const abi::limpid_request,
) -> Result<(), ExplainError> {
    // SAFETY: promised by the caller; the arrays have these lengths.
    let (image, hosts, objectives, model, seed) = unsafe {
        let request = abi::read(request).ok_or_else(|| invalid("the host passed no request"))?;
        let dims = request.shape.map(|d| d as usize);
        let len = dims.iter().product::<usize>() as u64;
        let image = Tensor::from_slice(dims, abi::slice(request.picture, len))?;
        let objectives = abi::slice(request.objectives, request.objective_count);
        let objectives = objectives.iter().map(|o| {
            let classes = abi::slice(o.classes, o.count).iter().map(|c| *c as usize);
            let weights = abi::slice(o.weights, o.count).iter().copied();
            let readout = match o.readout {
                abi::LIMPID_SOFTMAX => Readout::Softmax,
                abi::LIMPID_SIGMOID => Readout::Sigmoid,
                _ => Readout::Logit,
            };
            Objective::weighted(classes.zip(weights).collect()).read_as(readout)
        });
        let objectives: Vec<Objective> = objectives.collect();
        let model = model_info(request.model)?;
        (image, request.picture, objectives, model, request.seed)
    };
    let request = Request {
        image: &image,
        objectives: &objectives,
        seed,
    };
    let mut cx = HostContext {
        job,
        model,
        pictures: [image.data().as_ptr(), hosts],
    };
    for map in explainer.explain(&mut cx, &request)? {
        emit(&job, &map)?;
    }
    Ok(())
}

/// Hands a map to the host.
fn emit(job: &Job, map: &Attribution) -> Result<(), ExplainError> {
    let Some(emit) = job.host.emit else {
        return Err(crate::HostError::missing("emit"));
    };
    let shape = crate::path::extents(map.map.dims());
    let error = map.standard_error.as_ref();
    let (domain, layer) = match &map.domain {
        Domain::Input => (abi::LIMPID_INPUT, ""),
        Domain::Layer(name) => (abi::LIMPID_LAYER, &**name),
        _ => (abi::LIMPID_PIXELS, ""),
    };
    if error.is_some_and(|e| e.dims() != map.map.dims()) {
        return Err(invalid("the standard error is not of the map's shape"));
    }
    let map = abi::limpid_map {
        head: abi::limpid_head::of::<abi::limpid_map>(),
        data: map.map.data().as_ptr(),
        tensor: 0,
        shape: shape.as_ptr(),
        rank: shape.len() as u64,
        domain,
        has_sign: u32::from(map.signed),
        layer: abi::limpid_str::new(layer),
        standard_error: error.map_or(std::ptr::null(), |e| e.data().as_ptr()),
        is_complete: u32::from(map.completeness.is_some()),
        reserved: 0,
        expected: map.completeness.map_or(0.0, |c| c.expected),
        evaluations: abi::limpid_evaluations {
            gradients: map.evaluations.gradients,
            forwards: map.evaluations.forwards,
        },
    };
    // SAFETY: all that the map points to lives until the call returns.
    job.check(unsafe { emit(job.id, &raw const map) })
}

unsafe extern "C" fn destroy(instance: *mut abi::limpid_instance) {
    // SAFETY: `create` made it, and the host destroys it once.
    let instance = unsafe { Box::from_raw(instance.cast::<Instance>()) };
    // What a destructor's panic would say helps nobody any more.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(instance)));
}
