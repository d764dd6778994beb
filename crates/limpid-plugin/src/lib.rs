//! Write explainers as plugins of Limpid.
//!
//! A plugin is a crate of the type `cdylib` that implements [`Explainer`], the
//! trait that the built-in methods implement too, and names its methods once:
//!
//! ```
//! use limpid_plugin::explain::methods::MethodInfo;
//! use limpid_plugin::explain::{
//!     Attribution, Context, Domain, ExplainError, Explainer, Passes, Request,
//! };
//! use std::sync::Arc;
//!
//! /// The gradient's magnitude.
//! struct Magnitude;
//!
//! impl Explainer for Magnitude {
//!     fn id(&self) -> &str {
//!         "magnitude"
//!     }
//!
//!     fn explain(
//!         &self,
//!         cx: &mut dyn Context,
//!         request: &Request<'_>,
//!     ) -> Result<Vec<Attribution>, ExplainError> {
//!         let picture = [&[1], request.image.dims()].concat();
//!         let picture = cx.upload(&request.image.clone().reshape(picture)?)?;
//!         let mut maps = Vec::new();
//!         for objective in request.objectives {
//!             let before = cx.evaluations();
//!             let passed = cx.pass(&Passes {
//!                 objective: Some(objective),
//!                 layers: &[String::new()],
//!                 ..Passes::of(&picture)
//!             })?;
//!             let mut map = cx.download(&passed.gradients[0])?.reshape(request.image.dims())?;
//!             map.data_mut().iter_mut().for_each(|v| *v = v.abs());
//!             maps.push(Attribution {
//!                 signed: false,
//!                 ..Attribution::new(map, Domain::Input, cx.evaluations().since(before))
//!             });
//!         }
//!         Ok(maps)
//!     }
//! }
//!
//! fn magnitude() -> MethodInfo {
//!     MethodInfo {
//!         id: "magnitude".into(),
//!         kind: "gradient".into(),
//!         output: "[C,H,W]".into(),
//!         summary: "the gradient's magnitude".into(),
//!         params: Vec::new(),
//!         smooth: None,
//!         build: Arc::new(|_, _| Ok(Box::new(Magnitude))),
//!     }
//! }
//!
//! limpid_plugin::export_explainers! {
//!     id: "acme",
//!     name: "Acme's methods",
//!     methods: [magnitude()],
//! }
//! ```
//!
//! What an explainer asks of its [`Context`] is done by the host, on its device;
//! whole loops (a weighted sum of gradients over a sampling plan) are one call,
//! so a plugin is as fast as a built-in method. Limpid's `docs/plugins.md` goes
//! from nothing to a heat-map, which `cargo xtask plugin new` begins.
//!
//! A panic is caught and reported as an error; so the plugin must not be built
//! with `panic = "abort"`.

#![allow(unsafe_code, reason = "an interface of C")]

mod callbacks;
mod context;
mod error;
mod export;
mod path;
#[doc(hidden)]
pub mod table;

pub use error::HostError;
pub use export::{Export, Plugin, entry};
pub use limpid_explain as explain;
pub use limpid_explain::{Context, Explainer};
pub use limpid_graph as graph;
pub use limpid_plugin_abi as abi;
pub use limpid_tensor as tensor;

/// The built-in methods of a family.
#[must_use]
pub fn built_in(kind: &str) -> Vec<Export> {
    let all = limpid_explain::methods::list().into_iter();
    all.filter(|m| m.kind == kind).map(Export::from).collect()
}

/// Exports methods under the interface's one symbol. To be used once in a crate
/// of the type `cdylib`; the plugin's version is the crate's.
///
/// `methods` is a list, or an expression that makes a `Vec<Export>`.
///
/// `id` is what comes before the `/` in the methods' names: lower-case letters,
/// digits and `-`. A method is a
/// [`MethodInfo`](limpid_explain::methods::MethodInfo) or, with the host's
/// capabilities without which it cannot work, an [`Export`].
#[macro_export]
macro_rules! export_explainers {
    (id: $id:expr, name: $name:expr, methods: [$($method:expr),+ $(,)?] $(,)?) => {
        $crate::export_explainers! {
            id: $id,
            name: $name,
            methods: ::std::vec![$($crate::Export::from($method)),+],
        }
    };
    (id: $id:expr, name: $name:expr, methods: $methods:expr $(,)?) => {
        /// The plugin's one symbol.
        ///
        /// # Safety
        /// Called by a host of the interface, with its table.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn limpid_plugin_entry(
            host: *const $crate::abi::limpid_host,
            error: $crate::abi::limpid_sink,
        ) -> *const $crate::abi::limpid_plugin {
            static PLUGIN: ::std::sync::OnceLock<$crate::Plugin> = ::std::sync::OnceLock::new();
            let define = || {
                $crate::Plugin::new($id, $name, env!("CARGO_PKG_VERSION"), $methods, create)
            };
            /// Makes a method.
            unsafe extern "C" fn create(
                host: *const $crate::abi::limpid_host,
                method: $crate::abi::limpid_str,
                parameters: $crate::abi::limpid_str,
                smooth: u64,
                error: $crate::abi::limpid_sink,
                out: *mut *mut $crate::abi::limpid_instance,
            ) -> $crate::abi::limpid_status {
                // SAFETY: the host's promise is handed on.
                unsafe { $crate::Plugin::create(&PLUGIN, host, method, parameters, smooth, error, out) }
            }
            // SAFETY: the host's promise is handed on.
            unsafe { $crate::entry(&PLUGIN, define, host, error) }
        }
    };
}
