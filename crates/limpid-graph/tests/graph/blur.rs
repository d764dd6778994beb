//! The heat kernel against scipy, and its slope against its own differences.

use limpid_graph::Operator;
use limpid_graph::ops::HeatKernel;
use limpid_graph::reference::RefTensor;

fn fixture() -> serde_json::Value {
    let text = include_str!("../../../../tests/fixtures/ops/gaussian_filter.json");
    serde_json::from_str(text).unwrap()
}

fn numbers(v: &serde_json::Value) -> Vec<f64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn blur(image: &RefTensor, sigmas: &[f64]) -> Vec<RefTensor> {
    let sigmas = RefTensor::new([sigmas.len()], sigmas.to_vec());
    HeatKernel {}.reference(&[image, &sigmas])
}

fn image() -> RefTensor {
    let fixture = fixture();
    let shape = numbers(&fixture["shape"]);
    let shape = [1, 1, shape[0] as usize, shape[1] as usize];
    RefTensor::new(shape, numbers(&fixture["image"]))
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

#[test]
fn agrees_with_scipy() {
    let (image, fixture) = (image(), fixture());
    let blurs = fixture["blurs"].as_array().unwrap();
    assert_eq!(blurs.len(), 4);
    for b in blurs {
        let sigma = b["sigma"].as_f64().unwrap();
        let found = blur(&image, &[sigma]);
        let difference = largest_difference(&found[0].data, &numbers(&b["blurred"]));
        assert!(difference < 1e-10, "sigma {sigma}: {difference}");
    }
}

#[test]
fn slope_is_the_derivative_in_sigma() {
    let image = image();
    for sigma in [0.1, 0.5, 1.0, 3.0, 8.0] {
        let step = 1e-5;
        let found = blur(&image, &[sigma - step, sigma, sigma + step]);
        let n = image.data.len();
        let numerical: Vec<f64> = (0..n)
            .map(|i| (found[0].data[2 * n + i] - found[0].data[i]) / (2.0 * step))
            .collect();
        let difference = largest_difference(&found[1].data[n..2 * n], &numerical);
        assert!(difference < 1e-8, "sigma {sigma}: {difference}");
    }
}

#[test]
fn limits() {
    let image = image();
    let n = image.data.len();
    let mean = image.data.iter().sum::<f64>() / n as f64;
    let found = blur(&image, &[0.0, 1e4]);
    // No blur is the identity, and endless blur the mean; both have no slope.
    assert!(largest_difference(&found[0].data[..n], &image.data) < 1e-13);
    assert!(largest_difference(&found[0].data[n..], &vec![mean; n]) < 1e-13);
    assert!(found[1].data.iter().all(|v| v.abs() < 1e-13));
    // Every blur keeps the mean.
    let kept = blur(&image, &[0.7]).remove(0).data.iter().sum::<f64>() / n as f64;
    assert!((kept - mean).abs() < 1e-14);
}
