//! Plugins as `--plugin`, `--isolate` and the names of methods choose them.

use crate::console::Usage;
use crate::options::Machine;
use clap::Args;
use limpid::isolate::{IsolatedPlugin, Launcher};
use limpid::methods::{self, MethodInfo};
use limpid::plugins::{self, Found, Plugin, Source};
use std::path::PathBuf;

/// Plugins besides those that are found by themselves.
#[derive(Args, Clone, Default)]
pub(crate) struct Named {
    /// A plugin, besides those in the folders of LIMPID_PLUGIN_PATH, the user's
    /// and beside the program: its library, or the folder with its plugin.toml;
    /// its methods are named <plugin>/<method>
    #[arg(
        long = "plugin",
        value_name = "FILE",
        help_heading = "Options of plugins"
    )]
    pub(crate) files: Vec<PathBuf>,
}

/// Which plugins a run may use, and how.
#[derive(Args, Clone, Default)]
pub(crate) struct Chosen {
    #[command(flatten)]
    named: Named,

    /// Run plugins in a process of their own, so that one that crashes costs
    /// one map; maps are the same to the bit
    #[arg(long, help_heading = "Options of plugins")]
    isolate: bool,
}

/// How this program is started as a worker.
pub(crate) fn launcher(machine: &Machine) -> anyhow::Result<Launcher> {
    let launcher = Launcher::new(std::env::current_exe()?).arg("worker");
    Ok(machine
        .arguments()
        .into_iter()
        .fold(launcher, Launcher::arg))
}

impl Chosen {
    /// The built-in methods, and those of the plugins whose methods are named:
    /// no other plugin is opened.
    pub(crate) fn methods(
        &self,
        names: &[String],
        machine: &Machine,
    ) -> anyhow::Result<Vec<MethodInfo>> {
        let mut all = methods::list();
        let wanted: Vec<(&str, &str)> = names.iter().filter_map(|n| n.split_once('/')).collect();
        if wanted.is_empty() && self.named.files.is_empty() {
            return Ok(all);
        }
        let mut found = plugins::discover(&self.named.files);
        // Whoever names a plugin wants to know at once that it cannot be used.
        let named = |f: &Found| f.source == Source::Named && f.verified.is_err();
        if let Some(at) = found.iter().position(named)
            && let Err(error) = found.swap_remove(at).verified
        {
            return Err(limpid::Error::from(error).into());
        }
        let mut opened: Vec<&str> = Vec::new();
        for (id, method) in wanted {
            let plugin = found.iter().filter_map(|f| f.verified.as_ref().ok());
            let Some(plugin) = plugin.into_iter().find(|v| v.manifest.id == id) else {
                return Err(missing(id, method, &found).into());
            };
            if !plugin.manifest.methods.iter().any(|m| m == method) {
                let known = plugin.manifest.methods.iter();
                let known: Vec<String> = known.map(|m| format!("{id}/{m}")).collect();
                return Err(Usage(format!(
                    "there is no method `{id}/{method}`; the plugin has {}",
                    known.join(", ")
                ))
                .into());
            }
            if opened.contains(&id) {
                continue;
            }
            opened.push(id);
            let (usable, refused) = match self.isolate {
                true => {
                    let plugin = IsolatedPlugin::open(&launcher(machine)?, plugin)?;
                    (plugin.methods().to_vec(), plugin.refused().to_vec())
                }
                false => {
                    let plugin = Plugin::open(plugin).map_err(limpid::Error::from)?;
                    (plugin.methods(), plugin.refused().to_vec())
                }
            };
            let asked = |m: &str| names.iter().any(|n| n.split_once('/') == Some((id, m)));
            if let Some(refused) = refused.iter().find(|r| asked(&r.method)) {
                let (method, reason) = (&refused.method, &refused.reason);
                return Err(Usage(format!("{id}/{method} cannot be used: {reason}")).into());
            }
            all.extend(usable);
        }
        Ok(all)
    }
}

/// What is said of a method whose plugin was not found.
fn missing(id: &str, method: &str, found: &[Found]) -> Usage {
    let mut text = format!("there is no method `{id}/{method}`: no plugin `{id}` was found");
    let ids = found.iter().filter_map(|f| f.verified.as_ref().ok());
    let ids: Vec<&str> = ids.map(|v| &*v.manifest.id).collect();
    if !ids.is_empty() {
        text += &format!("; found: {}", ids.join(", "));
    }
    for error in found.iter().filter_map(|f| f.verified.as_ref().err()) {
        text += &format!("; refused: {error}");
    }
    Usage(text)
}
