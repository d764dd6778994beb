//! A member of each built-in family against PyTorch in float64: logits and the
//! gradient with respect to the input, from a bundle on disk whose weights are
//! made as tests/fixtures/architectures/README.md says.

#![allow(
    clippy::print_stdout,
    reason = "the measured errors are shown with --no-capture"
)]

mod common;

use common::fixture;
use flate2::read::GzDecoder;
use limpid::{Device, Gradient, Input, Model, RunOptions, Target};
use limpid_tensor::philox::philox4x32;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// CRC-32 as zlib has it.
fn crc32(text: &str) -> u32 {
    let step = |crc: u32, _| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0xEDB8_8320
        } else {
            crc >> 1
        }
    };
    !text
        .bytes()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), step))
}

fn words(name: &str, seed: u32, count: usize) -> Vec<u32> {
    let key = [crc32(name), seed];
    let blocks = (0..count.div_ceil(4)).flat_map(|i| philox4x32([i as u32, 0, 0, 0], key));
    blocks.take(count).collect()
}

/// In [-1, 1), rounded to f32.
fn uniform(name: &str, seed: u32, count: usize) -> Vec<f64> {
    let unit = |w: u32| f64::from((f64::from(w) * 2f64.powi(-31) - 1.0) as f32);
    words(name, seed, count).into_iter().map(unit).collect()
}

struct Fixture {
    file: Vec<u8>,
    seed: u32,
    class: usize,
    input: Vec<usize>,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl Fixture {
    fn open(path: &Path) -> Self {
        let file = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&file).unwrap();
        let meta = header.metadata().clone().unwrap();
        let input: Vec<usize> = serde_json::from_str(&meta["input"]).unwrap();
        Self {
            seed: meta["seed"].parse().unwrap(),
            class: meta["class"].parse().unwrap(),
            shapes: serde_json::from_str(&meta["tensors"]).unwrap(),
            input: input[1..].to_vec(),
            file,
        }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.file).unwrap()
    }

    fn floats(&self, name: &str) -> Vec<f64> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap();
        let f32s = |b: &[u8]| f64::from(f32::from_le_bytes(b.try_into().unwrap()));
        let f64s = |b: &[u8]| f64::from_le_bytes(b.try_into().unwrap());
        match tensor.dtype() {
            Dtype::F32 => tensor.data().chunks(4).map(f32s).collect(),
            _ => tensor.data().chunks(8).map(f64s).collect(),
        }
    }

    /// A weight by the recipe of the fixtures.
    fn weight(&self, name: &str, shape: &[usize]) -> Vec<u8> {
        let count = shape.iter().product();
        let stem = name.rsplit_once('.').map_or("", |(stem, _)| stem);
        let batch_norm = self
            .tensors()
            .tensor(&format!("{stem}.running_mean"))
            .is_ok();
        let fan = (count / shape[0]) as f64;
        let scaled = |u: f64| match shape {
            [1, _, ..] => 0.5 * u,
            [_, _, ..] => u * (1.4 * (3.0 / fan).sqrt()),
            _ if name.ends_with("bias") && batch_norm => 0.75 + 0.25 * u,
            _ if name.ends_with("bias") => 0.1 * u,
            _ if name.ends_with("weight") => 1.0 + 0.25 * u,
            _ => 0.5 + 0.25 * u,
        };
        let values = uniform(name, self.seed, count).into_iter().map(scaled);
        values.flat_map(|v| (v as f32).to_le_bytes()).collect()
    }

    /// A bundle of the architecture, as timm or transformers write it.
    fn write_bundle(&self, name: &str, directory: &Path) {
        let statistics = self.tensors();
        let mut tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = self
            .shapes
            .iter()
            .map(|(name, shape)| {
                (
                    name.clone(),
                    (Dtype::F32, shape.clone(), self.weight(name, shape)),
                )
            })
            .collect();
        for (name, t) in statistics.tensors() {
            if name.contains("running_") {
                tensors.insert(name, (t.dtype(), t.shape().to_vec(), t.data().to_vec()));
            }
        }
        let views = tensors.iter().map(|(name, (dtype, shape, data))| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        std::fs::write(directory.join("model.safetensors"), bytes).unwrap();
        let config = if name.starts_with("hf.") {
            let description = fixture(&format!(
                "../../crates/limpid-model/architectures/{name}.json.gz"
            ));
            let mut text = String::new();
            let file = std::fs::File::open(description).unwrap();
            GzDecoder::new(file).read_to_string(&mut text).unwrap();
            let description: Value = serde_json::from_str(&text).unwrap();
            let served = &description["config"];
            let mut config: Map<String, Value> = served["keys"].as_object().unwrap().clone();
            // What equals the library's default is not in its files.
            config.retain(|key, value| served["defaults"].get(key) != Some(value));
            config.insert("architectures".into(), json!([served["architectures"][0]]));
            let labels = (0..10).map(|i| (i.to_string(), json!(format!("label {i}"))));
            config.insert("id2label".into(), Value::Object(labels.collect()));
            let processor = json!({"size": {"height": self.input[1], "width": self.input[2]},
                "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
                "resample": 2, "do_rescale": true, "rescale_factor": 1.0 / 255.0});
            std::fs::write(
                directory.join("preprocessor_config.json"),
                processor.to_string(),
            )
            .unwrap();
            Value::Object(config)
        } else {
            json!({"architecture": name, "num_classes": 10, "pretrained_cfg": {"input_size": self.input}})
        };
        std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    }

    /// Errors of the logits (relative to the largest), of the kept elements of
    /// the gradient (relative L2), of its norm and of its products; and the
    /// correlation of the elements.
    fn compare(&self, name: &str, device: &Device) -> [f64; 5] {
        let directory = tempfile::tempdir().unwrap();
        self.write_bundle(name, directory.path());
        let model = Model::open(directory.path()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let session = model.session(device.clone()).unwrap();
        let count = self.input.iter().product();
        let x = uniform("x", self.seed, count);
        let x: Vec<f32> = x.iter().map(|u| (u * 3f64.sqrt()) as f32).collect();
        let bytes = limpid::render::encode_npy(&self.input, &x).unwrap();
        let input = Input::from_npy_bytes(&bytes, name).unwrap();
        let logits = session.logits(&input).unwrap();
        let expected = self.floats("logits");
        let largest = expected.iter().fold(0f64, |m, v| m.max(v.abs()));
        let gaps = logits
            .iter()
            .zip(&expected)
            .map(|(a, b)| (f64::from(*a) - b).abs());
        let logit_error = gaps.fold(0f64, f64::max) / largest;

        let target = Target::Class(self.class);
        let maps = session
            .explain_input(&input, &Gradient::new(), &target, &RunOptions::default())
            .unwrap();
        let map: Vec<f64> = maps[0]
            .attribution()
            .map
            .data()
            .iter()
            .map(|v| f64::from(*v))
            .collect();
        let expected = self.floats("gradient.elements");
        let chosen = words("gradient.elements", self.seed, expected.len());
        let found: Vec<f64> = chosen.iter().map(|w| map[*w as usize % count]).collect();
        let gap: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
        let norm = |v: &[f64]| dot(v, v).sqrt();
        let whole = self.floats("gradient.norm")[0];
        let products = self.floats("gradient.products");
        let product_error = products.iter().enumerate().map(|(k, expected)| {
            let direction = uniform(&format!("gradient.direction.{k}"), self.seed, count);
            // The scale of a product is that of independent numbers.
            (dot(&direction, &map) - expected).abs() / whole
        });
        [
            logit_error,
            norm(&gap) / norm(&expected),
            (norm(&map) / whole - 1.0).abs(),
            product_error.fold(0f64, f64::max),
            correlation(&found, &expected),
        ]
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let centred = |v: &[f64]| -> Vec<f64> {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        v.iter().map(|x| x - mean).collect()
    };
    let (a, b) = (centred(a), centred(b));
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

fn check(device: &Device, members: impl Fn(&str) -> bool, least: usize) {
    let mut failures = Vec::new();
    let mut checked = 0;
    let folder = std::fs::read_dir(fixture("architectures")).unwrap();
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = name.strip_suffix(".safetensors").filter(|n| members(n)) else {
            continue;
        };
        let found = Fixture::open(&path).compare(name, device);
        let [logits, elements, norm, products, correlation] = found;
        println!(
            "{name}: logits {logits:.1e}, gradient {elements:.1e}, its norm {norm:.1e}, its products {products:.1e}, 1 - correlation {:.1e}",
            1.0 - correlation
        );
        let good = logits <= 1e-4
            && elements <= 1e-2
            && norm <= 1e-2
            && products <= 1e-2
            && correlation >= 0.9999;
        if !good {
            failures.push(format!("{name}: {found:?}"));
        }
        checked += 1;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(checked >= least, "only {checked} members were checked");
}

#[test]
fn convolutional_networks_agree_with_timm() {
    check(&cpu(), |n| !n.starts_with("hf.") && !is_token(n), 20);
}

#[test]
fn networks_of_tokens_agree_with_timm() {
    check(&cpu(), |n| !n.starts_with("hf.") && is_token(n), 4);
}

#[test]
fn networks_of_transformers_agree() {
    check(&cpu(), |n| n.starts_with("hf."), 5);
}

/// Those of transformers are the same networks by other names; the weights of
#[test]
fn convolutional_networks_on_an_adapter_agree_with_timm() {
    let left_out = |n: &str| n.starts_with("hf.");
    if let Some(adapter) = common::adapter() {
        check(&adapter, |n| !left_out(n) && !is_token(n), 20);
    }
}

#[test]
fn networks_of_tokens_on_an_adapter_agree_with_timm() {
    if let Some(adapter) = common::adapter() {
        check(&adapter, |n| !n.starts_with("hf.") && is_token(n), 4);
    }
}

fn cpu() -> Device {
    Device::cpu(None).unwrap()
}

fn is_token(name: &str) -> bool {
    ["vit_", "deit", "swin", "mixer"]
        .iter()
        .any(|p| name.starts_with(p))
}
