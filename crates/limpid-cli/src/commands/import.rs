use crate::console::{self, Outcome};
use crate::options::open_model;
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use limpid::{Interpolation, SaveOptions};
use std::path::PathBuf;

/// The largest file of labels that is read, in bytes.
const MAX_LABELS: u64 = 1 << 26;

/// Write any readable model as a bundle: a directory with graph.json,
/// model.safetensors and config.json.
#[derive(Args)]
pub(crate) struct Import {
    /// A bundle directory, an .onnx file, or the name of an embedded model
    #[arg(value_name = "M")]
    model: PathBuf,

    /// The directory to write, which must not exist
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// The classes' names: a text file of one on each line, in the order of the classes
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// The input's side, or its height and width, in pixels
    #[arg(long, value_name = "N|HxW", value_parser = size)]
    size: Option<[usize; 2]>,

    /// The mean of red, green and blue, in the units of --scale
    #[arg(
        long,
        value_name = "R,G,B",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    mean: Option<Vec<f64>>,

    /// The standard deviation of red, green and blue, in the units of --scale
    #[arg(long, value_name = "R,G,B", value_delimiter = ',')]
    std: Option<Vec<f64>>,

    /// The ratio of the input's side to that of the resized picture
    #[arg(long, value_name = "RATIO")]
    crop_pct: Option<f64>,

    /// The filter that pictures are resized with
    #[arg(long, value_name = "FILTER", value_parser = interpolation)]
    interpolation: Option<Interpolation>,

    /// The order of the channels that the network takes; maps are of red, green
    /// and blue in any case
    #[arg(
        long,
        value_name = "rgb|bgr",
        default_value = "rgb",
        hide_possible_values = true
    )]
    channels: Channels,

    /// The value of white in the network's input before the mean is taken off: 1
    /// or 255
    #[arg(long, value_name = "1|255", value_parser = scale)]
    scale: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Channels {
    Rgb,
    Bgr,
}

fn size(text: &str) -> Result<[usize; 2], String> {
    let (h, w) = text.split_once('x').unwrap_or((text, text));
    match (h.parse(), w.parse()) {
        (Ok(h), Ok(w)) if h > 0 && w > 0 => Ok([h, w]),
        _ => Err("expected a number of pixels, or HxW such as 224x224".to_owned()),
    }
}

fn scale(text: &str) -> Result<f64, String> {
    match text {
        "1" => Ok(1.0),
        "255" => Ok(255.0),
        _ => Err("expected 1 or 255".to_owned()),
    }
}

fn interpolation(text: &str) -> Result<Interpolation, String> {
    Interpolation::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = Interpolation::ALL.iter().map(|f| f.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

impl Import {
    pub(crate) fn run(&self) -> anyhow::Result<Outcome> {
        let model = open_model(Some(&self.model))?;
        let labels = self.labels.as_ref().map(labels).transpose()?;
        let options = SaveOptions {
            labels,
            size: self.size,
            mean: self.mean.clone(),
            std: self.std.clone(),
            crop_pct: self.crop_pct,
            interpolation: self.interpolation,
            bgr: self.channels == Channels::Bgr,
            scale: self.scale,
        };
        model.save_bundle(&self.out, &options)?;
        console::print(&format!("{}\n", self.out.display()))?;
        Ok(Outcome::Good)
    }
}

/// The lines of a file, without those that are empty at its end.
fn labels(path: &PathBuf) -> anyhow::Result<Vec<String>> {
    let file = path.display();
    let length = std::fs::metadata(path)
        .with_context(|| format!("labels {file}"))?
        .len();
    anyhow::ensure!(
        length <= MAX_LABELS,
        "labels {file}: it has {length} bytes, and at most {MAX_LABELS} are read; give a text file of one label on each line"
    );
    let text = std::fs::read_to_string(path).with_context(|| format!("labels {file}"))?;
    Ok(text
        .trim_end()
        .lines()
        .map(|l| l.trim().to_owned())
        .collect())
}
