//! Puts a kernel's text together; the build script and the device share this file.
//!
//! WGSL has no way to share text between files, nor to vary a type. Lines that
//! begin with `#` do that, and nothing more (see `kernels/wgsl/README.md`):
//!
//! * `#include "shared/tile.wgsl"`: that file's text, once.
//! * `#variant NAME = a | b`: `${NAME}` stands for one of these; the first unless chosen.
//! * `#parameter NAME = text`: `${NAME}` stands for any text; this unless chosen.

use std::collections::{BTreeMap, BTreeSet};

/// What stands for the names of variants and parameters.
pub(crate) type Choices = BTreeMap<String, String>;

/// A kernel's text, put together.
pub(crate) struct Source {
    /// The WGSL.
    pub(crate) text: String,
    /// The variants that the kernel and what it includes declare, with what they may be.
    #[allow(dead_code)]
    pub(crate) variants: Vec<(String, Vec<String>)>,
}

/// What a kernel declares at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// The launch's parameters.
    Uniform,
    /// A buffer that nobody writes during the launch.
    Read,
    /// A buffer that may be written, or whose neighbours in the arena may.
    Write,
}

/// The bindings of a kernel's text, whose declarations stand each on one line
/// and in order.
pub(crate) fn bindings(text: &str) -> Vec<Binding> {
    let declarations = text
        .lines()
        .filter(|l| l.starts_with("@group(0) @binding("));
    let kind = |line: &str| {
        if line.contains("var<uniform>") {
            Binding::Uniform
        } else if line.contains("read_write>") {
            Binding::Write
        } else {
            Binding::Read
        }
    };
    declarations.map(kind).collect()
}

/// Puts `kernel` together from `files`, by their paths below `kernels/wgsl`.
///
/// # Errors
/// The line that cannot be understood, in words.
pub(crate) fn assemble(
    kernel: &str,
    files: &dyn Fn(&str) -> Option<String>,
    choices: &Choices,
) -> Result<Source, String> {
    let mut assembly = Assembly {
        files,
        choices,
        included: BTreeSet::new(),
        names: BTreeMap::new(),
        variants: Vec::new(),
        body: String::new(),
    };
    assembly.file(&format!("{kernel}.wgsl"))?;
    if let Some(name) = choices.keys().find(|n| !assembly.names.contains_key(*n)) {
        return Err(format!("{kernel}.wgsl has no variant or parameter {name}"));
    }
    let extensions = [("f16", "f16"), ("cooperative", "wgpu_cooperative_matrix")];
    let mut text = String::new();
    for (value, extension) in extensions {
        if assembly.names.values().any(|v| v == value) {
            text += &format!("enable {extension};\n");
        }
    }
    Ok(Source {
        text: text + &assembly.body,
        variants: assembly.variants,
    })
}

struct Assembly<'a> {
    files: &'a dyn Fn(&str) -> Option<String>,
    choices: &'a Choices,
    included: BTreeSet<String>,
    names: BTreeMap<String, String>,
    variants: Vec<(String, Vec<String>)>,
    body: String,
}

impl Assembly<'_> {
    fn file(&mut self, path: &str) -> Result<(), String> {
        if !self.included.insert(path.to_owned()) {
            return Ok(());
        }
        let text = (self.files)(path).ok_or_else(|| format!("there is no file {path}"))?;
        for (i, line) in text.lines().enumerate() {
            self.line(line)
                .map_err(|e| format!("{path}:{}: {e}", i + 1))?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let line = self.substituted(line)?;
        let Some(directive) = line.strip_prefix('#') else {
            self.body.push_str(&line);
            self.body.push('\n');
            return Ok(());
        };
        let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        match word {
            "include" => self.file(rest.trim().trim_matches('"')),
            "variant" | "parameter" => {
                let (name, value) = rest.split_once('=').ok_or("a `=` is missing")?;
                let (name, value) = (name.trim().to_owned(), value.trim());
                let mut default = value.to_owned();
                let chosen = self.choices.get(&name);
                if word == "variant" {
                    let all: Vec<String> = value.split('|').map(|v| v.trim().to_owned()).collect();
                    if let Some(other) = chosen.filter(|c| !all.contains(c)) {
                        return Err(format!("{name} is one of {all:?}, not {other}"));
                    }
                    default.clone_from(&all[0]);
                    self.variants.push((name.clone(), all));
                }
                self.names.insert(name, chosen.cloned().unwrap_or(default));
                Ok(())
            }
            _ => Err(format!("#{word} is none of include, variant, parameter")),
        }
    }

    /// The line with what its `${NAME}`s stand for.
    fn substituted(&self, line: &str) -> Result<String, String> {
        let mut out = String::with_capacity(line.len());
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or("a `}` is missing")?;
            let value = self.names.get(name);
            out.push_str(before);
            out.push_str(value.ok_or_else(|| format!("{name} is not declared before"))?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}
