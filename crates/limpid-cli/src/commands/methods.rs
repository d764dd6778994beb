use crate::console::{self, Outcome};
use crate::options::Machine;
use crate::plugins::{self, Named};
use clap::Args;
use limpid::Parameters;
use limpid::isolate::IsolatedPlugin;
use limpid::methods::{self, MethodInfo};
use limpid::plugins::discover;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

/// List the methods and their parameters, built-in ones and those of plugins.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    named: Named,

    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    kind: &'a str,
    params: Parameters,
    output: &'a str,
    plugin: Option<&'a str>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let mut methods = methods::list();
    let launcher = plugins::launcher(&Machine::default())?;
    for found in discover(&options.named.files) {
        let plugin = found
            .verified
            .map_err(limpid::Error::from)
            .and_then(|verified| IsolatedPlugin::open(&launcher, &verified));
        match plugin {
            Ok(plugin) => methods.extend_from_slice(plugin.methods()),
            Err(error) => console::say(&format!("a plugin is not used: {error}")),
        }
    }
    if options.json {
        let entries: Vec<Entry> = methods.iter().map(entry).collect();
        console::json(&entries)?;
    } else {
        for method in &methods {
            console::print(&text(method))?;
        }
    }
    Ok(Outcome::Good)
}

fn entry(method: &MethodInfo) -> Entry<'_> {
    Entry {
        id: &method.id,
        kind: &method.kind,
        params: method.schema(),
        output: &method.output,
        plugin: method.plugin(),
    }
}

fn text(method: &MethodInfo) -> String {
    let mut text = format!(
        "{} ({}, {})\n  {}\n",
        method.id, method.kind, method.output, method.summary
    );
    let rows: Vec<Vec<String>> = method
        .params
        .iter()
        .map(|p| {
            let schema = p.schema();
            let default = match &schema["default"] {
                Value::Null => String::new(),
                Value::String(s) => format!("[{s}]"),
                other => format!("[{other}]"),
            };
            vec![
                format!("    {}", p.name),
                values(&schema),
                default,
                p.help.to_string(),
            ]
        })
        .collect();
    text.push_str(&console::table(&rows, &[]));
    if let Some(draws) = method.smooth {
        let _ = writeln!(text, "    --smooth N is {draws} where it is not given");
    }
    text.push('\n');
    text
}

/// The values that a parameter takes, in short.
fn values(schema: &Value) -> String {
    match (&schema["values"], &schema["min"], &schema["max"]) {
        (Value::Array(values), _, _) => {
            let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            values.join("|")
        }
        (_, Value::Number(min), Value::Number(max)) => format!("{min} to {max}"),
        _ if schema["type"] == "boolean" => "true|false".to_owned(),
        _ => "text".to_owned(),
    }
}
