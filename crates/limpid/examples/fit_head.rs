//! Fits a linear head on the pooled features of the embedded network, and
//! writes a bundle that `limpid explain --model OUT` opens.
//!
//! `cargo run --release -p limpid --example fit_head -- TRAIN OUT [--test DIR]`
//!
//! Each folder in TRAIN, and in DIR, is a class with its pictures. The head is
//! a multinomial logistic regression with an L2 penalty on standardised
//! features; the rest of the network stays as it is. Accuracy is that of the
//! bundle that was written, by class and by the beginning of the files' names
//! (what stands before their numbers).
#![allow(clippy::print_stdout)]

use limpid::{Device, Image, Model, SaveOptions, Session};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: fit_head TRAIN OUT [--test DIR]";

/// The layer whose output the classifier reads.
const FEATURES: &str = "global_pool";

/// The factor of half the squared norm of the weights, beside the mean
/// cross-entropy.
const PENALTY: f64 = 0.001;

/// The fit ends when no component of the gradient is larger.
const TOLERANCE: f64 = 1e-7;

/// A picture of a training or test set.
struct Sample {
    path: PathBuf,
    class: usize,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (train, out, test) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [train, out] => (train, out, None),
        [train, out, "--test", test] => (train, out, Some(test)),
        _ => return Err(USAGE.into()),
    };
    let classes = class_names(train.as_ref())?;
    let samples = samples(train.as_ref(), &classes)?;

    // The bundle is made beside its place and moved there when it is whole.
    let out = Path::new(out);
    if out.exists() {
        return Err(format!("{} exists; name a new folder", out.display()).into());
    }
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = tempfile::tempdir_in(parent.unwrap_or(Path::new(".")))?;
    let bundle = folder.path().join("bundle");
    // The whole picture is seen, not its middle alone.
    let options = SaveOptions {
        crop_pct: Some(1.0),
        ..SaveOptions::default()
    };
    Model::embedded()?.save_bundle(&bundle, &options)?;
    let session = Model::open(&bundle)?.session(Device::auto()?)?;
    let features = samples
        .iter()
        .map(|s| pooled(&session, &s.path))
        .collect::<Result<Vec<_>>>()?;
    let labels: Vec<usize> = samples.iter().map(|s| s.class).collect();
    let head = Head::fit(&features, &labels, classes.len());
    replace_head(&bundle, &classes, &head)?;
    fs::rename(&bundle, out)?;

    let session = Model::open(out)?.session(Device::auto()?)?;
    report(&session, &classes, "train", &samples)?;
    if let Some(test) = test {
        report(
            &session,
            &classes,
            "test",
            &self::samples(test.as_ref(), &classes)?,
        )?;
    }
    Ok(())
}

/// What is in a folder, in byte order of the names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = |e: std::io::Error| format!("cannot read {}: {e}", folder.display());
    let mut paths = fs::read_dir(folder)
        .map_err(read)?
        .map(|entry| Ok(entry.map_err(read)?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn class_names(folder: &Path) -> Result<Vec<String>> {
    let name = |p: &PathBuf| Some(p.file_name()?.to_string_lossy().into_owned());
    let folders = entries(folder)?.into_iter().filter(|p| p.is_dir());
    let names: Vec<String> = folders.filter_map(|p| name(&p)).collect();
    match names.len() {
        0 | 1 => Err(format!("{} needs a folder for each class", folder.display()).into()),
        _ => Ok(names),
    }
}

fn samples(folder: &Path, classes: &[String]) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        let before = samples.len();
        let files = entries(&folder.join(name))?;
        samples.extend(files.into_iter().map(|path| Sample { path, class }));
        if samples.len() == before {
            return Err(format!("{}/{name} is empty", folder.display()).into());
        }
    }
    Ok(samples)
}

/// What the classifier reads for a picture.
fn pooled(session: &Session, path: &Path) -> Result<Vec<f64>> {
    let input = session.input(&Image::open(path)?)?;
    let features = session.activation(&input, FEATURES)?;
    Ok(features.data().iter().map(|v| f64::from(*v)).collect())
}

/// Weights `[classes, features]` and a bias for each class.
struct Head {
    weight: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

impl Head {
    /// The head of the least penalised mean cross-entropy. The penalised
    /// parameters are those of standardised features and include the bias, as
    /// the weight of a feature that is 1 everywhere: so the minimum is unique.
    fn fit(features: &[Vec<f64>], labels: &[usize], classes: usize) -> Self {
        let (count, width) = (features.len() as f64, features[0].len());
        let column = |j: usize| features.iter().map(move |x| x[j]);
        let mean: Vec<f64> = (0..width).map(|j| column(j).sum::<f64>() / count).collect();
        let deviation: Vec<f64> = (0..width)
            .map(|j| (column(j).map(|v| (v - mean[j]).powi(2)).sum::<f64>() / count).sqrt())
            .collect();
        // A feature that never changes says nothing and gets the weight 0.
        let standard = |j: usize, v: f64| match deviation[j] > 0.0 {
            true => (v - mean[j]) / deviation[j],
            false => 0.0,
        };
        let rows: Vec<Vec<f64>> = features
            .iter()
            .map(|x| (0..width).map(|j| standard(j, x[j])).chain([1.0]).collect())
            .collect();

        let theta = minimize(&rows, labels, classes);
        let scale = |j: usize, w: f64| match deviation[j] > 0.0 {
            true => w / deviation[j],
            false => 0.0,
        };
        let weight: Vec<Vec<f64>> = theta
            .iter()
            .map(|t| (0..width).map(|j| scale(j, t[j])).collect())
            .collect();
        let bias = theta
            .iter()
            .zip(&weight)
            .map(|(t, w)| t[width] - dot(w, &mean));
        let bias = bias.collect();
        Self { weight, bias }
    }
}

/// Nesterov's accelerated gradient descent for a strongly convex function: the
/// step is 1 / L, where half the mean squared norm of the rows plus the penalty
/// bounds the curvature L, and the momentum follows from L over the penalty.
fn minimize(rows: &[Vec<f64>], labels: &[usize], classes: usize) -> Vec<Vec<f64>> {
    let squares: f64 = rows.iter().map(|x| dot(x, x)).sum();
    let curvature = 0.5 * squares / rows.len() as f64 + PENALTY;
    let root = (curvature / PENALTY).sqrt();
    let momentum = (root - 1.0) / (root + 1.0);
    let mut theta = vec![vec![0.0; rows[0].len()]; classes];
    let mut ahead = theta.clone();
    // Each step shrinks the distance by 1 - 1 / root at least.
    for _ in 0..(50.0 * root) as usize {
        let gradient = gradient(&ahead, rows, labels);
        let largest = gradient
            .iter()
            .flatten()
            .fold(0.0f64, |m, g| m.max(g.abs()));
        if largest < TOLERANCE {
            break;
        }
        for ((theta, ahead), gradient) in theta.iter_mut().zip(&mut ahead).zip(&gradient) {
            for ((t, a), g) in theta.iter_mut().zip(ahead).zip(gradient) {
                let next = *a - g / curvature;
                *a = next + momentum * (next - *t);
                *t = next;
            }
        }
    }
    ahead
}

/// The gradient of the penalised mean cross-entropy.
fn gradient(theta: &[Vec<f64>], rows: &[Vec<f64>], labels: &[usize]) -> Vec<Vec<f64>> {
    let scaled = |t: &Vec<f64>| t.iter().map(|v| PENALTY * v).collect();
    let mut gradient: Vec<Vec<f64>> = theta.iter().map(scaled).collect();
    for (x, label) in rows.iter().zip(labels) {
        let scores: Vec<f64> = theta.iter().map(|t| dot(t, x)).collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|s| (s - highest).exp()).sum();
        for (class, row) in gradient.iter_mut().enumerate() {
            let probability = (scores[class] - highest).exp() / total;
            let error = probability - f64::from(u8::from(class == *label));
            for (g, v) in row.iter_mut().zip(x) {
                *g += error * v / rows.len() as f64;
            }
        }
    }
    gradient
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Puts another classifier into a bundle.
fn replace_head(bundle: &Path, classes: &[String], head: &Head) -> Result<()> {
    let config_file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&config_file)?)?;
    config["num_classes"] = json!(classes.len());
    config["label_names"] = json!(classes);
    fs::write(config_file, format!("{config}\n"))?;

    let weights_file = bundle.join("model.safetensors");
    let bytes = fs::read(&weights_file)?;
    let little_endian = |values: &mut dyn Iterator<Item = &f64>| {
        values
            .flat_map(|v| (*v as f32).to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let weight = little_endian(&mut head.weight.iter().flatten());
    let bias = little_endian(&mut head.bias.iter());
    let mut tensors: BTreeMap<String, TensorView<'_>> = SafeTensors::deserialize(&bytes)?
        .tensors()
        .into_iter()
        .collect();
    let shape = vec![classes.len(), head.weight[0].len()];
    for (name, shape, data) in [
        ("classifier.weight", shape, &weight),
        ("classifier.bias", vec![classes.len()], &bias),
    ] {
        let view = TensorView::new(Dtype::F32, shape, data)?;
        if tensors.insert(name.to_owned(), view).is_none() {
            return Err(format!("the embedded model has no tensor {name}").into());
        }
    }
    Ok(fs::write(weights_file, serialize(tensors, None)?)?)
}

/// Prints the accuracy of a model, by class and by the beginning of the names.
fn report(session: &Session, classes: &[String], set: &str, samples: &[Sample]) -> Result<()> {
    let mut groups: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for sample in samples {
        let input = session.input(&Image::open(&sample.path)?)?;
        let right = session.predict(&input, 1)?[0].index == sample.class;
        let stem = sample
            .path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let kind = stem.trim_end_matches(|c: char| c.is_ascii_digit());
        let name = format!("{set}/{}/{kind}*", classes[sample.class]);
        let (hits, count) = groups.entry(name).or_default();
        *hits += usize::from(right);
        *count += 1;
    }
    for (name, (hits, count)) in groups {
        println!(
            "{name:<24} {hits:>3} of {count:>3}  {:.2}",
            hits as f64 / count as f64
        );
    }
    Ok(())
}
