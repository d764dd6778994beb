//! Validates every kernel in all of its variants, and embeds their texts.

#[path = "src/source.rs"]
mod source;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, StorageAccess};
use source::{Binding, Choices, assemble, bindings};
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    // Not `env!`: checkouts may share a target folder, and so this program.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo");
    let root = Path::new(&own).join("../../kernels/wgsl");
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-changed=src/source.rs");
    match table(&root) {
        Ok(text) => {
            let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("set by cargo"));
            std::fs::write(out.join("kernels.rs"), text).expect("the folder of a build script");
        }
        Err(e) => {
            println!(
                "cargo::error=kernels/wgsl: {}",
                e.replace('\n', "\ncargo::error=")
            );
            std::process::exit(1);
        }
    }
}

fn stems(folder: &Path) -> Result<Vec<String>, String> {
    let text = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut stems = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(text)? {
        let path = entry.map_err(text)?.path();
        if path.extension().is_some_and(|e| e == "wgsl") {
            let stem = path.file_stem().and_then(|s| s.to_str());
            stems.push(stem.ok_or("a file's name is not UTF-8")?.to_owned());
        }
    }
    stems.sort();
    Ok(stems)
}

/// The module of texts that the device includes.
fn table(root: &Path) -> Result<String, String> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let mut files = String::from("pub(crate) const FILES: &[(&str, &str)] = &[\n");
    for stem in stems(root)? {
        let path = format!("{stem}.wgsl");
        let text = read(&path).ok_or_else(|| format!("{path} cannot be read"))?;
        writeln!(files, "({path:?}, {text:?}),").expect("a string");
        validate(&stem, &read)?;
    }
    for stem in stems(&root.join("shared"))? {
        let path = format!("shared/{stem}.wgsl");
        let text = read(&path).ok_or_else(|| format!("{path} cannot be read"))?;
        writeln!(files, "({path:?}, {text:?}),").expect("a string");
    }
    Ok(format!("{files}];\n"))
}

/// Checks all variants of a kernel.
fn validate(kernel: &str, read: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    // A variant may bring in a file that declares others.
    let mut open = vec![Choices::new()];
    while let Some(choices) = open.pop() {
        let source = assemble(kernel, read, &choices)?;
        let undecided = source
            .variants
            .iter()
            .find(|(name, _)| !choices.contains_key(name));
        if let Some((name, values)) = undecided {
            for value in values {
                let mut choices = choices.clone();
                choices.insert(name.clone(), value.clone());
                open.push(choices);
            }
            continue;
        }
        let what = |e: String| format!("{kernel}.wgsl, {choices:?}: {e}");
        let module = naga::front::wgsl::parse_str(&source.text)
            .map_err(|e| what(e.emit_to_string(&source.text)))?;
        Validator::new(ValidationFlags::all(), Capabilities::all())
            .validate(&module)
            .map_err(|e| what(e.emit_to_string(&source.text)))?;
        if module.entry_points.len() != 1 || module.entry_points[0].name != "main" {
            return Err(what("its one entry point must be `main`".into()));
        }
        if reflected(&module).map_err(what)? != bindings(&source.text) {
            return Err(what(
                "each binding's declaration stands on a line, in order".into(),
            ));
        }
    }
    Ok(())
}

/// The kinds of a module's bindings, which must be the uniform parameters and
/// then storage, all of group 0, without gaps.
fn reflected(module: &naga::Module) -> Result<Vec<Binding>, String> {
    let mut found = Vec::new();
    for (_, global) in module.global_variables.iter() {
        let Some(binding) = &global.binding else {
            continue;
        };
        let kind = match global.space {
            AddressSpace::Uniform => Binding::Uniform,
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                Binding::Write
            }
            AddressSpace::Storage { .. } => Binding::Read,
            _ => return Err("a binding is neither uniform nor storage".into()),
        };
        found.push((binding.binding, binding.group, kind));
    }
    found.sort_by_key(|(binding, group, _)| (*group, *binding));
    for (i, (binding, group, kind)) in found.iter().enumerate() {
        if *binding as usize != i || *group != 0 || (i == 0) != (*kind == Binding::Uniform) {
            return Err("bindings count from 0 in group 0, the parameters first".into());
        }
    }
    Ok(found.into_iter().map(|(_, _, kind)| kind).collect())
}
