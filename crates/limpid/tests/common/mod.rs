//! What the integration tests share: fixtures, and a session on the embedded model.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::print_stderr, reason = "it is told why a test is skipped")]

use limpid::{Device, Image, Input, Model, Session, SessionOptions, WgpuOptions};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::path::PathBuf;

pub const PHOTOS: [&str; 4] = ["astronaut", "cat", "coffee", "rocket"];

pub fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(path)
}

pub fn embedded() -> Session {
    let model = Model::embedded().unwrap();
    model.session(Device::cpu(None).unwrap()).unwrap()
}

/// The best graphics adapter, in hardware or software. A test is over where
/// there is none, unless LIMPID_REQUIRE_WGPU is set.
pub fn adapter() -> Option<Device> {
    match Device::wgpu(WgpuOptions::default()) {
        Ok(device) => Some(device),
        Err(e) if std::env::var_os("LIMPID_REQUIRE_WGPU").is_some() => panic!("{e}"),
        Err(e) => {
            eprintln!("skipped: {e}");
            None
        }
    }
}

pub fn with(batch: Option<usize>, memory: Option<u64>, threads: usize) -> Session {
    let options = SessionOptions { batch, memory };
    let device = Device::cpu(Some(threads)).unwrap();
    Session::new(Model::embedded().unwrap(), device, options).unwrap()
}

pub fn photo(name: &str) -> Image {
    Image::open(fixture(&format!("photos/{name}.jpg"))).unwrap()
}

/// The normalised input made of exactly the pixels that the fixtures saw.
pub fn crop(name: &str) -> Input {
    let image = Image::open(fixture(&format!("explanations/{name}.crop.png"))).unwrap();
    let plane = (image.width() * image.height()) as usize;
    let mut data = vec![0.0; 3 * plane];
    for (i, pixel) in image.pixels().chunks(3).enumerate() {
        for (c, v) in pixel.iter().enumerate() {
            data[c * plane + i] = (f32::from(*v) / 255.0 - 0.5) / 0.5;
        }
    }
    let shape = [3, image.height() as usize, image.width() as usize];
    let bytes = limpid::render::encode_npy(&shape, &data).unwrap();
    Input::from_npy_bytes(&bytes, name).unwrap()
}

/// The tensors and numbers that PyTorch computed for a photograph.
pub struct Expected {
    bytes: Vec<u8>,
    numbers: serde_json::Value,
}

impl Expected {
    pub fn of(name: &str) -> Self {
        let file = |f: String| std::fs::read(fixture(&f)).unwrap();
        let numbers = file("explanations/numbers.json".into());
        let numbers: serde_json::Value = serde_json::from_slice(&numbers).unwrap();
        Self {
            bytes: file(format!("explanations/{name}.safetensors")),
            numbers: numbers["photos"][name].clone(),
        }
    }

    pub fn class(&self) -> usize {
        self.numbers["target"].as_u64().unwrap() as usize
    }

    pub fn number(&self, map: &str, key: &str) -> f64 {
        self.numbers["maps"][map][key].as_f64().unwrap()
    }

    pub fn map(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let t = file.tensor(name).unwrap();
        let scale = self.numbers["maps"][name]["scale"].as_f64().unwrap_or(1.0);
        match t.dtype() {
            // Computed in f64 and stored as they are.
            Dtype::F64 => numbers(&t),
            _ => numbers(&t).into_iter().map(|v| scale * v).collect(),
        }
    }
}

/// A fixture's numbers, whatever their type, in f64.
pub fn numbers(tensor: &TensorView<'_>) -> Vec<f64> {
    let bytes = tensor.data();
    match tensor.dtype() {
        Dtype::F16 => bytes
            .chunks_exact(2)
            .map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f64())
            .collect(),
        Dtype::F32 => bytes
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect(),
        Dtype::F64 => bytes
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect(),
        other => panic!("fixture of type {other:?}"),
    }
}

/// The L2 norm of the difference over that of the expected map.
pub fn relative_l2(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let error: f64 = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (f64::from(*a) - b).powi(2))
        .sum();
    let norm: f64 = expected.iter().map(|b| b * b).sum();
    (error / norm).sqrt()
}

/// Pearson's correlation.
pub fn correlation(found: &[f32], expected: &[f64]) -> f64 {
    let n = expected.len() as f64;
    let (ma, mb) = (
        found.iter().map(|v| f64::from(*v)).sum::<f64>() / n,
        expected.iter().sum::<f64>() / n,
    );
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in found.iter().zip(expected) {
        let (a, b) = (f64::from(*a) - ma, b - mb);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    ab / (aa * bb).sqrt()
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}
