//! A plugin each of whose methods breaks a rule of the interface. What the SDK
//! lets through is written with it (`panics.rs`), the rest on the bare interface.
//!
//! The methods `abort`, `segfault`, `exit`, `hang` and `exhaust` take the
//! process with them: they are for hosts that keep plugins in another one.
#![allow(unsafe_code, reason = "an interface of C")]

mod call;
mod fatal;
mod maps;
mod panics;
mod requests;
mod tensors;
mod threads;

use call::{Call, Method};
use limpid_plugin::{Plugin, abi};
use std::ffi::c_void;
use std::sync::OnceLock;

/// The methods on the bare interface.
fn methods() -> Vec<Method> {
    let all = [
        maps::METHODS,
        tensors::METHODS,
        requests::METHODS,
        threads::METHODS,
        fatal::METHODS,
    ];
    all.concat()
}

static SDK: OnceLock<Plugin> = OnceLock::new();
static TABLE: OnceLock<abi::limpid_plugin> = OnceLock::new();

/// The plugin's one symbol.
///
/// # Safety
/// Called by a host of the interface, with its table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limpid_plugin_entry(
    host: *const abi::limpid_host,
    error: abi::limpid_sink,
) -> *const abi::limpid_plugin {
    let define = || {
        Plugin::new(
            "misbehaving",
            "Breaks every rule",
            env!("CARGO_PKG_VERSION"),
            panics::exports(),
            create,
        )
    };
    // SAFETY: the host's promise is handed on; what the SDK answers is null or
    // a table with as many methods as it says.
    let own = unsafe { abi::read(limpid_plugin::entry(&SDK, define, host, error)) };
    let Some(own) = own else {
        return std::ptr::null();
    };
    TABLE.get_or_init(|| {
        // SAFETY: as above.
        let mut all = unsafe { abi::slice(own.methods, own.method_count) }.to_vec();
        all.extend(methods().iter().map(Method::table));
        abi::limpid_plugin {
            methods: all.as_ptr(),
            method_count: all.leak().len() as u64,
            ..own
        }
    })
}

/// An instance on the bare interface.
#[repr(C)]
struct Instance {
    base: abi::limpid_instance,
    host: abi::limpid_host,
    act: fn(&Call) -> abi::limpid_status,
}

unsafe extern "C" fn create(
    host: *const abi::limpid_host,
    method: abi::limpid_str,
    parameters: abi::limpid_str,
    smooth: u64,
    error: abi::limpid_sink,
    out: *mut *mut abi::limpid_instance,
) -> abi::limpid_status {
    // SAFETY: the host's promises are handed on.
    unsafe {
        let id = method.get().unwrap_or_default();
        let Some(found) = methods().into_iter().find(|m| m.id == id) else {
            return Plugin::create(&SDK, host, method, parameters, smooth, error, out);
        };
        if id == "null-instance" {
            return abi::LIMPID_OK;
        }
        let Some(host) = abi::read(host) else {
            return abi::LIMPID_INVALID;
        };
        let instance = Box::new(Instance {
            base: abi::limpid_instance {
                head: abi::limpid_head::of::<abi::limpid_instance>(),
                smoothed: 0,
                reserved: 0,
                parameters: None,
                explain: Some(explain),
                destroy: Some(destroy),
            },
            host,
            act: found.act,
        });
        out.write(Box::into_raw(instance).cast());
    }
    abi::LIMPID_OK
}

unsafe extern "C" fn explain(
    instance: *mut abi::limpid_instance,
    job: abi::limpid_job,
    request: *const abi::limpid_request,
) -> abi::limpid_status {
    // SAFETY: `create` made the instance; the request is the host's.
    unsafe {
        let instance = &*instance.cast::<Instance>();
        let Some(request) = abi::read(request) else {
            return abi::LIMPID_INVALID;
        };
        (instance.act)(&Call {
            host: instance.host,
            job,
            request,
        })
    }
}

unsafe extern "C" fn destroy(instance: *mut abi::limpid_instance) {
    // SAFETY: `create` made it, and the host destroys it once.
    drop(unsafe { Box::from_raw(instance.cast::<Instance>()) });
}

/// A pointer for callbacks that need none.
const NOTHING: *mut c_void = std::ptr::null_mut();
