use crate::{
    Growing, limpid_head, limpid_host, limpid_job, limpid_model, limpid_request, limpid_sink,
    limpid_status, limpid_str,
};
use core::ffi::c_void;

/// The name of a plugin's one symbol, a function of the type
/// [`limpid_plugin_entry`].
pub const LIMPID_ENTRY: &core::ffi::CStr = c"limpid_plugin_entry";

/// What a plugin exports under the name `limpid_plugin_entry`. It is called
/// once, before anything else of the plugin. The host's table lives as long as
/// the process; so must what is returned. Null where the plugin cannot live with
/// this host, with a sentence in `error`.
pub type limpid_plugin_entry =
    unsafe extern "C" fn(host: *const limpid_host, error: limpid_sink) -> *const limpid_plugin;

/// A plugin.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_plugin {
    /// Size and version.
    pub head: limpid_head,
    /// Who it is: lower-case letters, digits and `-`, at most 64; its methods
    /// are called `<id>/<method>`.
    pub id: limpid_str,
    /// Its name, for people.
    pub name: limpid_str,
    /// Its version, as in `1.2.3`.
    pub version: limpid_str,
    /// Its methods, `method_count` pointers.
    pub methods: *const *const limpid_method,
    /// How many methods it has.
    pub method_count: u64,
    /// Makes a method: `method` is its id, `parameters` an object of JSON with
    /// the values that were given, which fit the method's schema, `smooth` the
    /// draws of noise that `--smooth` asks for, or 0. What is wrong goes to
    /// `error`.
    pub create: Option<
        unsafe extern "C" fn(
            host: *const limpid_host,
            method: limpid_str,
            parameters: limpid_str,
            smooth: u64,
            error: limpid_sink,
            out: *mut *mut limpid_instance,
        ) -> limpid_status,
    >,
    /// A table of the plugin's by name, or null. None is known to this version.
    pub get_extension: Option<unsafe extern "C" fn(id: limpid_str) -> *const c_void>,
}

// SAFETY: a table that nobody writes to.
unsafe impl Sync for limpid_plugin {}
// SAFETY: as above.
unsafe impl Send for limpid_plugin {}

/// A method of a plugin.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_method {
    /// Size and version.
    pub head: limpid_head,
    /// Its id: lower-case letters, digits, `-` and `+`, at most 64.
    pub id: limpid_str,
    /// Its family: gradient, path, rule, cam, attention, region, perturbation.
    pub kind: limpid_str,
    /// The shape of its maps: `[C,H,W]`, `[H,W]` or `[h,w]` on a layer's grid.
    pub output: limpid_str,
    /// What it computes, in a sentence.
    pub summary: limpid_str,
    /// Its parameters: an object of JSON, `{"steps": {"type": "integer",
    /// "default": 64, "min": 1, "max": 10000, "values": null, "help": "..."}}`.
    /// The types are integer, float, boolean and string; `values` lists what a
    /// string may be. A method that has `spread` is smoothed by `--smooth`.
    pub parameters: limpid_str,
    /// The draws of noise that it averages over by itself, or 0.
    pub smooth: u64,
    /// The capabilities without which it cannot work: a host that lacks one
    /// refuses this method. A service whose bit is in neither this nor
    /// `optional` is answered `LIMPID_UNSUPPORTED`.
    pub required: u64,
    /// The capabilities that it uses where they are there.
    pub optional: u64,
}

// SAFETY: a table that nobody writes to.
unsafe impl Sync for limpid_method {}
// SAFETY: as above.
unsafe impl Send for limpid_method {}

/// A method with its parameters. A plugin makes it as the first field of a
/// struct of its own.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_instance {
    /// Size and version.
    pub head: limpid_head,
    /// 1 where noise is averaged over around the method by `--smooth`, else 0.
    pub smoothed: u32,
    /// 0.
    pub reserved: u32,
    /// Puts the effective values of all parameters for a model and a picture
    /// `[C, H, W]` into `out`, as an object of JSON. Null: those that were given.
    pub parameters: Option<
        unsafe extern "C" fn(
            instance: *mut limpid_instance,
            model: *const limpid_model,
            shape: *const u64,
            out: limpid_sink,
        ) -> limpid_status,
    >,
    /// Explains a picture: calls `limpid_host.emit` once for each score, in
    /// their order.
    pub explain: Option<
        unsafe extern "C" fn(
            instance: *mut limpid_instance,
            job: limpid_job,
            request: *const limpid_request,
        ) -> limpid_status,
    >,
    /// Frees it.
    pub destroy: Option<unsafe extern "C" fn(instance: *mut limpid_instance)>,
}

// SAFETY: `repr(C)`, a head first, and zero is a value of every field.
unsafe impl Growing for limpid_plugin {}
// SAFETY: as above.
unsafe impl Growing for limpid_method {}
// SAFETY: as above.
unsafe impl Growing for limpid_instance {}
