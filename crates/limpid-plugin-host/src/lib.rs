//! Plugins as the host sees them: where they are found ([`discover`]), what
//! their manifest must say before the library is opened ([`Verified`]), how it
//! is loaded ([`Plugin`]), and the services that its methods use.
//!
//! A library that is loaded is code in this process: nothing can protect the
//! process from one that writes where it should not. What can be checked is: a
//! stale or made-up handle, a service from the wrong thread or at the wrong
//! time, a map of the wrong shape, a panic. The program's `--isolate` runs
//! plugins in a process of their own.
#![allow(unsafe_code, reason = "an interface of C")]

mod error;
mod expected;
mod explainer;
mod find;
mod job;
mod library;
mod manifest;
mod path;
mod services;

pub use error::PluginError;
pub use expected::Expected;
pub use find::{Found, Source, discover};
pub use library::{Plugin, Refused};
pub use manifest::{MANIFEST, Manifest, Verified, install, pack};
pub use services::{HOST, host, shown};

/// The interface's version, as manifests name it: `1.0`.
#[must_use]
pub fn abi_version() -> String {
    use limpid_plugin_abi::{LIMPID_ABI_MAJOR, LIMPID_ABI_MINOR};
    format!("{LIMPID_ABI_MAJOR}.{LIMPID_ABI_MINOR}")
}
