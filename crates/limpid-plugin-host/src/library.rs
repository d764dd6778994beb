//! Loading a library and reading what it says of itself.

use crate::explainer::PluginExplainer;
use crate::manifest::is_id;
use crate::{Manifest, PluginError, services};
use limpid_explain::ParamInfo;
use limpid_explain::methods::MethodInfo;
use limpid_plugin::table::sink;
use limpid_plugin_abi as abi;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The most methods that a plugin may have.
const MAX_METHODS: u64 = 256;

/// The longest text that a plugin may say of itself, in bytes.
const MAX_TEXT: u64 = 1 << 18;

/// A method of a plugin that this host cannot run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The method's id.
    pub method: String,
    /// Why.
    pub reason: String,
}

/// A plugin that is loaded. It is never unloaded.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    id: String,
    name: String,
    version: String,
    abi: String,
    path: PathBuf,
    ids: Vec<String>,
    methods: Vec<Method>,
    refused: Vec<Refused>,
    pub(crate) table: abi::limpid_plugin,
    pub(crate) host: &'static abi::limpid_host,
}

/// A method as its plugin describes it.
#[derive(Clone)]
pub(crate) struct Method {
    /// Without the plugin's id.
    pub(crate) id: String,
    pub(crate) info: MethodInfo,
    /// The capabilities that it says it uses.
    pub(crate) uses: u64,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Plugin").field(&self.inner.id).finish()
    }
}

/// Libraries by path, with the digests that they had where those were verified.
type Loaded = HashMap<PathBuf, (Plugin, Option<String>)>;

/// The libraries that this process has loaded: none is loaded twice.
static LOADED: LazyLock<Mutex<Loaded>> = LazyLock::new(Mutex::default);

impl Plugin {
    /// Loads a library whose digest was verified, and compares what it says of
    /// itself with the manifest. Its initialisers run.
    ///
    /// # Errors
    /// When the system cannot load it, or it breaks the interface's rules.
    pub fn open(verified: &crate::Verified) -> Result<Self, PluginError> {
        let digest = verified.manifest.sha256.to_ascii_lowercase();
        let plugin = Self::load_once(&verified.library, Some(digest))?;
        let wrong = |what: &str, library: &str, manifest: &str| PluginError::Interface {
            path: verified.library.clone(),
            message: format!("its {what} is {library}, plugin.toml says {manifest}"),
        };
        let Manifest {
            id,
            version,
            methods,
            ..
        } = &verified.manifest;
        if plugin.id() != id {
            return Err(wrong("id", plugin.id(), id));
        }
        if plugin.version() != version {
            return Err(wrong("version", plugin.version(), version));
        }
        if plugin.inner.ids != *methods {
            let (library, manifest) = (plugin.inner.ids.join(", "), methods.join(", "));
            return Err(wrong("list of methods", &library, &manifest));
        }
        Ok(plugin)
    }

    /// Loads a library as a host with other services would; `None` stands for
    /// this version's.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[doc(hidden)]
    pub fn load(path: &Path, host: Option<&'static abi::limpid_host>) -> Result<Self, PluginError> {
        match host {
            Some(host) => Self::load_anew(path, host),
            None => Self::load_once(path, None),
        }
    }

    fn load_once(path: &Path, digest: Option<String>) -> Result<Self, PluginError> {
        let loaded = || LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let known = loaded().get(path).cloned();
        if let Some((plugin, before)) = known {
            // The system would hand out the library that is loaded.
            return match (&before, &digest) {
                (Some(before), Some(digest)) if before != digest => Err(PluginError::Interface {
                    path: path.to_owned(),
                    message: "it was changed after this process had loaded it: start anew".into(),
                }),
                _ => Ok(plugin),
            };
        }
        // No lock is held while the library's own code runs.
        let plugin = Self::load_anew(path, &services::HOST)?;
        let mut loaded = loaded();
        let entry = loaded.entry(path.to_owned());
        Ok(entry.or_insert((plugin, digest)).0.clone())
    }

    fn load_anew(path: &Path, host: &'static abi::limpid_host) -> Result<Self, PluginError> {
        let broken = |message: String| PluginError::Interface {
            path: path.to_owned(),
            message,
        };
        let failed = |error: libloading::Error| PluginError::Load {
            path: path.to_owned(),
            // The system's words are the cause of the library's.
            message: error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string),
        };
        // SAFETY: the library's initialisers run: whoever names a plugin, or
        // puts one into a folder of plugins, trusts it to be one.
        let library = unsafe { open_library(path) }.map_err(failed)?;
        // SAFETY: a plugin's symbol of this name has this type.
        let entry = unsafe {
            library
                .get::<abi::limpid_plugin_entry>(abi::LIMPID_ENTRY)
                .map_err(|_| {
                    broken(
                        "it is no plugin of Limpid: it has no symbol `limpid_plugin_entry`".into(),
                    )
                })
                .map(|symbol| *symbol)?
        };
        // A library that was loaded may have left pointers to itself anywhere.
        std::mem::forget(library);
        let mut words = String::new();
        // SAFETY: the host's table lives as long as the process, the sink until
        // the call returns.
        let table = unsafe { entry(host, sink(&mut words)) };
        // SAFETY: what the entry returns is null or a table.
        let table = unsafe { abi::read(table) }.ok_or_else(|| match words.is_empty() {
            true => broken("it refuses this host without a reason".into()),
            false => broken(words.clone()),
        })?;
        if table.head.abi_major != abi::LIMPID_ABI_MAJOR {
            return Err(broken(format!(
                "it was built for version {} of the plugin interface; this Limpid has {}",
                table.head.abi_major,
                crate::abi_version()
            )));
        }
        // SAFETY: the table's texts and methods live as long as the process.
        let inner = unsafe { describe(path, table, host) }.map_err(broken)?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// What comes before the `/` in its methods' names.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.inner.version
    }

    /// The version of the interface that it was built for, `major.minor`.
    #[must_use]
    pub fn abi(&self) -> &str {
        &self.inner.abi
    }

    /// The library.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The ids of all its methods, without its own.
    #[must_use]
    pub fn method_ids(&self) -> Vec<String> {
        self.inner.ids.clone()
    }

    /// The methods that this host can run, as `<plugin>/<method>`.
    #[must_use]
    pub fn methods(&self) -> Vec<MethodInfo> {
        let methods = self.inner.methods.iter();
        methods
            .map(|method| {
                let (plugin, own) = (Arc::clone(&self.inner), method.clone());
                MethodInfo {
                    build: Arc::new(move |given, smoothing| {
                        let smooth = smoothing.map_or(0, |s| s.samples);
                        let made =
                            PluginExplainer::new(Arc::clone(&plugin), own.clone(), given, smooth)?;
                        Ok(Box::new(made))
                    }),
                    ..method.info.clone()
                }
            })
            .collect()
    }

    /// The methods that it cannot, and why.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.inner.refused
    }
}

impl Inner {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

/// The text of a plugin, if it is text and not too long.
///
/// # Safety
/// The text lives as long as the process.
unsafe fn text(what: &str, text: abi::limpid_str) -> Result<&'static str, String> {
    if text.len > MAX_TEXT {
        return Err(format!("its {what} has {} bytes", text.len));
    }
    // SAFETY: promised by the caller.
    let text = unsafe { text.get() };
    text.ok_or_else(|| format!("its {what} is no text in UTF-8"))
}

/// # Safety
/// The table is a plugin's: what it points to lives as long as the process.
unsafe fn describe(
    path: &Path,
    table: abi::limpid_plugin,
    host: &'static abi::limpid_host,
) -> Result<Inner, String> {
    // SAFETY: promised by the caller.
    unsafe {
        let id = text("id", table.id)?;
        if !is_id(id, "-") {
            let id = id.escape_default();
            return Err(format!("its id `{id}` is not made of a-z, 0-9 and `-`"));
        }
        if table.create.is_none() {
            return Err("it has no function `create`".into());
        }
        if table.method_count > MAX_METHODS {
            return Err(format!("it claims {} methods", table.method_count));
        }
        let mut inner = Inner {
            id: id.to_owned(),
            name: text("name", table.name)?.to_owned(),
            version: text("version", table.version)?.to_owned(),
            abi: format!("{}.{}", table.head.abi_major, table.head.abi_minor),
            path: path.to_owned(),
            ids: Vec::new(),
            methods: Vec::new(),
            refused: Vec::new(),
            table,
            host,
        };
        if table.method_count > 0 && table.methods.is_null() {
            return Err("its list of methods is null".into());
        }
        for method in abi::slice(table.methods, table.method_count) {
            let method = abi::read(*method).ok_or("one of its methods is null")?;
            let own = text("method's id", method.id)?;
            if !is_id(own, "-+") || inner.ids.iter().any(|m| m == own) {
                let own = own.escape_default();
                return Err(format!(
                    "its method `{own}` has a wrong id or is there twice"
                ));
            }
            inner.ids.push(own.to_owned());
            match method_info(id, own, &method, host) {
                Ok(method) => inner.methods.push(method),
                Err(reason) => inner.refused.push(Refused {
                    method: own.to_owned(),
                    reason,
                }),
            }
        }
        Ok(inner)
    }
}

/// Parameters' schemas in the order in which a plugin lists them.
struct Schemas(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for Schemas {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> serde::de::Visitor<'de> for Pairs {
            type Value = Schemas;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of parameters")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Schemas, A::Error> {
                let mut pairs: Vec<(String, serde_json::Value)> = Vec::new();
                while let Some((name, schema)) = map.next_entry::<String, _>()? {
                    if pairs.iter().any(|(known, _)| *known == name) {
                        let name = name.escape_default();
                        return Err(serde::de::Error::custom(format!("`{name}` twice")));
                    }
                    pairs.push((name, schema));
                }
                Ok(Schemas(pairs))
            }
        }
        from.deserialize_map(Pairs)
    }
}

/// # Safety
/// The method is a plugin's: what it points to lives as long as the process.
unsafe fn method_info(
    plugin: &str,
    own: &str,
    method: &abi::limpid_method,
    host: &abi::limpid_host,
) -> Result<Method, String> {
    let lacking = method.required & !host.capabilities;
    if lacking != 0 {
        return Err(format!(
            "it needs {} of a newer Limpid",
            capability_names(lacking)
        ));
    }
    // SAFETY: promised by the caller.
    unsafe {
        let output = text("output", method.output)?;
        if !["[C,H,W]", "[H,W]", "[h,w]"].contains(&output) {
            let output = output.escape_default();
            return Err(format!(
                "its maps are `{output}`, not [C,H,W], [H,W] or [h,w]"
            ));
        }
        let parameters = text("parameters", method.parameters)?;
        let Schemas(schemas) = match parameters.is_empty() {
            true => Schemas(Vec::new()),
            false => serde_json::from_str(parameters)
                .map_err(|e| format!("its parameters are no object of JSON: {e}"))?,
        };
        let params = schemas
            .iter()
            .map(|(name, s)| ParamInfo::from_schema(name, s));
        Ok(Method {
            id: own.to_owned(),
            info: MethodInfo {
                id: format!("{plugin}/{own}").into(),
                kind: text("kind", method.kind)?.into(),
                output: output.into(),
                summary: text("summary", method.summary)?.into(),
                params: params.collect::<Result<_, _>>()?,
                smooth: (method.smooth > 0).then_some(method.smooth),
                build: Arc::new(|_, _| unreachable!("`methods` gives the constructor")),
            },
            uses: method.required | method.optional,
        })
    }
}

/// The names of capabilities, for people.
pub(crate) fn capability_names(bits: u64) -> String {
    let known = [
        (abi::LIMPID_CAN_COMPUTE, "compute"),
        (abi::LIMPID_CAN_PASS, "pass"),
        (abi::LIMPID_CAN_INTEGRATE, "integrate"),
        (abi::LIMPID_CAN_SCORE, "scores"),
        (abi::LIMPID_CAN_READ_LAYERS, "layers"),
        (abi::LIMPID_CAN_READ_PICTURES, "pictures"),
        (abi::LIMPID_CAN_READ_ATTENTIONS, "attentions"),
    ];
    let mut names: Vec<String> = known
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect();
    let unknown = bits & !abi::LIMPID_CAN_ALL;
    if unknown != 0 {
        names.push(format!("services {unknown:#x}"));
    }
    names.join(", ")
}

/// # Safety
/// The library's initialisers run.
#[cfg(unix)]
unsafe fn open_library(path: &Path) -> Result<libloading::Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: promised by the caller.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL).map(Into::into) }
}

/// # Safety
/// The library's initialisers run.
#[cfg(not(unix))]
unsafe fn open_library(path: &Path) -> Result<libloading::Library, libloading::Error> {
    // SAFETY: promised by the caller.
    unsafe { libloading::Library::new(path) }
}

/// A pointer to an instance, which is used by one thread at a time.
pub(crate) struct Instance(pub(crate) *mut abi::limpid_instance);

// SAFETY: the interface lets an instance be used by one thread after the other.
unsafe impl Send for Instance {}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: `create` made it, and it is destroyed once.
        unsafe {
            if let Some(destroy) = abi::read(self.0).and_then(|i| i.destroy) {
                destroy(self.0);
            }
        }
    }
}
