//! The C interface between Limpid and plugins: declarations alone, without any
//! dependency. `include/limpid_plugin.h` is the same for C.
//!
//! A plugin is a shared library with one symbol, [`limpid_plugin_entry`]. It is
//! handed the host's table of services ([`limpid_host`]) and returns its own
//! ([`limpid_plugin`]); from then on both talk through these tables.
//!
//! # Rules
//!
//! 1. Nothing but pointers, integers and floats of a fixed width, and
//!    [`limpid_str`], crosses: no `bool`, no C `enum`. An unknown value of a
//!    number that chooses is answered with [`LIMPID_UNSUPPORTED`].
//! 2. A struct that begins with a [`limpid_head`] may grow at its end. Who
//!    fills it writes its own size; who reads it takes what both know, the rest
//!    is zero: a missing function is `NULL`, a missing feature. The other
//!    structs, which stand in arrays, never change.
//! 3. The major version must be equal. The minor version says what may be there
//!    and decides nothing: that do the sizes, [`limpid_host::capabilities`] and
//!    the extensions, found by name (`"limpid.attentions/1"`).
//! 4. Tensors, jobs and folders are numbers, not pointers: one that is stale,
//!    made up or another job's is refused with [`LIMPID_INVALID`]. Numbers of a
//!    tensor are the host's, wherever they lie; they are copied in and out.
//! 5. An error has a status and, in its job, a sentence: services leave theirs
//!    for [`limpid_host::last_error`], a plugin gives its own to
//!    [`limpid_host::set_error`] before it returns a status other than
//!    [`LIMPID_OK`]. Nothing is kept by thread.
//! 6. No panic or exception crosses. Whoever catches one answers
//!    [`LIMPID_PANIC`]; an instance that did so is destroyed and not used again.
//! 7. Tables and `create` may be used from any thread. An instance is used by
//!    one thread at a time; the host makes as many as it needs. Services of a
//!    job may be called by the thread that runs it, until `explain` returns;
//!    others are answered [`LIMPID_WRONG_THREAD`]. While a service calls back
//!    into the plugin, services that run the model are answered
//!    [`LIMPID_BUSY`].
//! 8. Loops are services: whoever asks for each gradient by itself pays for it.
//! 9. A plugin is never unloaded. Its tables and what they point to live as long
//!    as the process.
//! 10. Whoever makes memory frees it. Text and arrays that are passed are
//!     borrowed until the function returns.
#![no_std]
#![allow(non_camel_case_types, reason = "the names are those of C")]
#![allow(unsafe_code, reason = "an interface of C")]

mod basic;
mod host;
mod plugin;
mod request;

pub use basic::*;
pub use host::*;
pub use plugin::*;
pub use request::*;
