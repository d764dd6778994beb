use super::import::Import;
use crate::console::{self, Outcome};
use crate::options::open_model;
use clap::{Args, Subcommand};
use limpid::{LayerInfo, Model};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Look at a model, or write it as a bundle.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Inspect(Inspect),
    Import(Import),
    Architectures(Architectures),
}

/// List the built-in architectures, whose bundles need no graph.json.
#[derive(Args)]
struct Architectures {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// Show a model's layers, shapes, parameters, multiply-adds, and which layers
/// a class activation map can use.
#[derive(Args)]
struct Inspect {
    /// A bundle directory, an .onnx file, or the name of an embedded model
    /// [default: the embedded ImageNet classifier]
    #[arg(value_name = "M")]
    model: Option<PathBuf>,

    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    model: &'a str,
    architecture: &'a str,
    sha256: &'a str,
    classes: usize,
    input: [usize; 3],
    parameters: u64,
    multiply_adds: u64,
    cam_layer: Option<String>,
    layers: Vec<LayerInfo>,
    preprocess: Preprocess<'a>,
}

/// The keys of a bundle's `pretrained_cfg`.
#[derive(Serialize)]
struct Preprocess<'a> {
    input_size: [usize; 3],
    interpolation: &'a str,
    crop_pct: f64,
    crop_mode: &'a str,
    mean: &'a [f64],
    std: &'a [f64],
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let inspect = match &options.command {
        Command::Inspect(inspect) => inspect,
        Command::Import(import) => return import.run(),
        Command::Architectures(list) => {
            let names: Vec<&str> = Model::architectures().collect();
            if list.json {
                console::json(&names)?;
            } else {
                console::print(&(names.join("\n") + "\n"))?;
            }
            return Ok(Outcome::Good);
        }
    };
    let model = open_model(inspect.model.as_ref())?;
    let document = document(&model)?;
    if inspect.json {
        console::json(&document)?;
    } else {
        console::print(&text(&document))?;
    }
    Ok(Outcome::Good)
}

fn document(model: &Model) -> Result<Document<'_>, limpid::Error> {
    let p = model.preprocess();
    Ok(Document {
        model: model.name(),
        architecture: model.architecture(),
        sha256: model.sha256(),
        classes: model.labels().len(),
        input: p.input_size(),
        parameters: model.parameters(),
        multiply_adds: model.multiply_adds()?,
        cam_layer: model.cam_layer()?,
        layers: model.layers()?,
        preprocess: Preprocess {
            input_size: p.input_size(),
            interpolation: p.interpolation().name(),
            crop_pct: p.crop_pct(),
            crop_mode: p.crop_mode().name(),
            mean: p.mean(),
            std: p.std(),
        },
    })
}

fn shape(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
    dims.join("x")
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn text(d: &Document<'_>) -> String {
    let mut rows = vec![
        [
            "layer",
            "operator",
            "output",
            "parameters",
            "multiply-adds",
            "CAM",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for layer in &d.layers {
        let default = d.cam_layer.as_ref() == Some(&layer.name);
        let cam = match (layer.grid.filter(|_| layer.cam), default) {
            (Some([h, w]), true) => format!("{h}x{w}, default"),
            (Some([h, w]), false) => format!("{h}x{w}"),
            (None, _) => String::new(),
        };
        rows.push(vec![
            layer.name.clone(),
            layer.op.to_owned(),
            shape(&layer.shape),
            grouped(layer.parameters),
            grouped(layer.multiply_adds),
            cam,
        ]);
    }
    let mut text = console::table(&rows, &[false, false, true, true, true, false]);
    let p = &d.preprocess;
    let facts = [
        ("model", d.model.to_owned()),
        ("architecture", d.architecture.to_owned()),
        ("sha256", d.sha256.to_owned()),
        ("classes", d.classes.to_string()),
        ("input", shape(&d.input)),
        ("parameters", grouped(d.parameters)),
        ("multiply-adds", grouped(d.multiply_adds)),
        (
            "preprocessing",
            format!(
                "{} to {}, crop {} of {}, mean {:?}, standard deviation {:?}",
                p.interpolation,
                shape(&p.input_size[1..]),
                p.crop_mode,
                p.crop_pct,
                p.mean,
                p.std
            ),
        ),
    ];
    let facts = facts.map(|(key, value)| vec![key.to_owned(), value]);
    let _ = write!(text, "\n{}", console::table(&facts, &[]));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1 000");
        assert_eq!(grouped(12_345_678), "12 345 678");
    }
}
