//! How near joint and nested sampling come to a converged map.
//!
//! ```text
//! cargo run --release -p limpid --example sampling -- OUT.json PHOTO...
//! ```
//!
//! For each photograph, smoothed Blur IG and smoothed Integrated Gradients:
//! the relative L2 distance from a reference of jointly sampled gradients (20,480
//! for the first photograph, 4,096 for the others), for several numbers of
//! gradients and seeds, and the share of pixels whose 95 % interval holds the
//! reference. Writes the numbers, a plot beside them (`OUT.svg`), and prints a
//! table. What is there already is not measured again, so a run can be
//! continued.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use anyhow::{Context, Result};
use limpid::{
    BlurIntegratedGradients, Device, Explainer, GradientMethod, Image, Input, IntegratedGradients,
    Joint, Model, RunOptions, Session, SmoothGrad, Target, Tensor,
};
use serde_json::{Map, Value, json};
use std::path::Path;

const REFERENCES: [u64; 2] = [20_480, 4096];
const SEEDS: u64 = 3;
const METHODS: [&str; 2] = ["blur-ig", "integrated-gradients"];
const JOINT: [u64; 5] = [48, 64, 104, 200, 400];
/// Draws and steps.
const NESTED: [(u64, u64); 4] = [(5, 10), (10, 10), (10, 20), (20, 20)];
/// PAIR's default, once.
const PAIR: (u64, u64) = (25, 100);
/// Student's quantile for seven degrees of freedom.
const T7: f64 = 2.365;

fn method(id: &str, steps: u64, smoothing: SmoothGrad) -> Box<dyn Explainer> {
    match id {
        "blur-ig" => Box::new(
            BlurIntegratedGradients::new()
                .steps(steps)
                .smoothed(smoothing),
        ),
        _ => Box::new(IntegratedGradients::new().steps(steps).smoothed(smoothing)),
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, photos @ ..] = &arguments[..] else {
        anyhow::bail!("give OUT.json and photographs");
    };
    let session = Model::embedded()?.session(Device::auto()?)?;
    let mut all: Map<String, Value> = match std::fs::read(out) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(_) => Map::new(),
    };
    for id in METHODS {
        for (i, photo) in photos.iter().enumerate() {
            let name = Path::new(photo)
                .file_stem()
                .context("a file")?
                .to_string_lossy();
            let key = format!("{id} {name}");
            if all.contains_key(&key) {
                continue;
            }
            let input = session.input(&Image::open(photo)?)?;
            eprintln!("{key}");
            let reference = REFERENCES[i.min(1)];
            all.insert(key, measure(&session, id, &input, reference)?);
            std::fs::write(out, serde_json::to_vec_pretty(&all)?)?;
        }
    }
    let curves = METHODS.iter().flat_map(|id| curves(id, &all));
    let curves: Vec<Curve> = curves.filter(|c| !c.points.is_empty()).collect();
    std::fs::write(Path::new(out).with_extension("svg"), plot(&curves))?;
    for curve in &curves {
        let points = curve.points.iter().map(|(n, e)| format!("{n}: {e:.3}"));
        println!(
            "| {} | {} |",
            curve.name,
            points.collect::<Vec<_>>().join(", ")
        );
    }
    Ok(())
}

/// Errors over numbers of gradients, the mean over seeds and photographs.
struct Curve {
    name: String,
    points: Vec<(u64, f64)>,
}

/// The curves of a method: joint, then nested sampling.
fn curves(id: &str, all: &Map<String, Value>) -> Vec<Curve> {
    let of_method = |(key, _): &(&String, &Value)| key.starts_with(&format!("{id} "));
    let photos: Vec<&Value> = all.iter().filter(of_method).map(|(_, v)| v).collect();
    let mean = |kind: &str, key: &str| {
        let errors = photos.iter().flat_map(|p| p[kind][key]["error"].as_array());
        let errors: Vec<f64> = errors.flatten().filter_map(Value::as_f64).collect();
        (!errors.is_empty()).then(|| errors.iter().sum::<f64>() / errors.len() as f64)
    };
    let joint = JOINT
        .iter()
        .filter_map(|n| Some((*n, mean("joint", &n.to_string())?)));
    let nested = NESTED.into_iter().chain([PAIR]);
    let nested = nested.filter_map(|(d, s)| Some((d * s, mean("nested", &format!("{d}x{s}"))?)));
    vec![
        Curve {
            name: format!("{id}, joint"),
            points: joint.collect(),
        },
        Curve {
            name: format!("{id}, nested"),
            points: nested.collect(),
        },
    ]
}

/// A plot with two logarithmic axes.
fn plot(curves: &[Curve]) -> String {
    let (width, height, left, bottom) = (640.0, 400.0, 60.0, 350.0);
    let x = |n: f64| left + (n / 40.0).log2() / (2800f64 / 40.0).log2() * (width - left - 20.0);
    let y = |e: f64| bottom - (e / 0.04).log2() / (1.2f64 / 0.04).log2() * (bottom - 20.0);
    let colours = ["#0072b2", "#56b4e9", "#d55e00", "#e69f00"];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\"><rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n"
    );
    for n in [50, 100, 200, 400, 800, 1600] {
        let at = x(f64::from(n));
        svg += &format!(
            "<path d=\"M{at:.1} 20V{bottom}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" \
             y=\"{}\" text-anchor=\"middle\">{n}</text>\n",
            bottom + 16.0
        );
    }
    for e in [0.05, 0.1, 0.2, 0.4, 0.8] {
        let at = y(e);
        svg += &format!(
            "<path d=\"M{left} {at:.1}H{}\" stroke=\"#ddd\"/><text x=\"{}\" \
             y=\"{:.1}\" text-anchor=\"end\">{e}</text>\n",
            width - 20.0,
            left - 6.0,
            at + 4.0
        );
    }
    for (i, curve) in curves.iter().enumerate() {
        let colour = colours[i % colours.len()];
        let points: Vec<String> = curve
            .points
            .iter()
            .map(|(n, e)| format!("{:.1},{:.1}", x(*n as f64), y(*e)))
            .collect();
        svg += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
            points.join(" ")
        );
        svg += &format!(
            "<text x=\"420\" y=\"{}\" fill=\"{colour}\">{}</text>\n",
            40 + 18 * i,
            curve.name
        );
    }
    svg + &format!(
        "<text x=\"340\" y=\"{}\" text-anchor=\"middle\">gradients</text>\
         <text x=\"16\" y=\"185\" transform=\"rotate(-90 16 185)\" text-anchor=\"middle\">\
         relative L2 error</text></svg>\n",
        bottom + 38.0
    )
}

fn measure(session: &Session, id: &str, input: &Input, reference: u64) -> Result<Value> {
    let run = |method: &dyn Explainer, seed: u64| {
        let options = RunOptions {
            seed,
            ..RunOptions::default()
        };
        let maps = session.explain_input(input, method, &Target::Top(1), &options)?;
        anyhow::Ok(maps[0].attribution().clone())
    };
    let joint = |evaluations| {
        let joint = Joint {
            evaluations,
            tolerance: None,
        };
        method(id, 64, SmoothGrad::new().joint(joint))
    };
    let gradients = reference;
    let reference = run(&*joint(gradients), 1_000_003)?;
    let mut joints = Map::new();
    for n in JOINT {
        let (mut errors, mut claimed, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for seed in 0..SEEDS {
            let found = run(&*joint(n), seed)?;
            errors.push(distance(&found.map, &reference.map));
            claimed.push(found.relative_standard_error());
            let error = found.standard_error.as_ref().context("a standard error")?;
            held.push(covered(&found.map, error, &reference.map));
        }
        joints.insert(
            n.to_string(),
            json!({"error": errors, "claimed": claimed, "covered": held}),
        );
    }
    let mut nested = Map::new();
    for (draws, steps) in NESTED.into_iter().chain([PAIR]) {
        let seeds = if (draws, steps) == PAIR { 1 } else { SEEDS };
        let method = method(id, steps, SmoothGrad::new().samples(draws).nested());
        let errors = (0..seeds)
            .map(|seed| Ok(distance(&run(&*method, seed)?.map, &reference.map)))
            .collect::<Result<Vec<f64>>>()?;
        nested.insert(format!("{draws}x{steps}"), json!({"error": errors}));
    }
    Ok(json!({
        "reference": {
            "gradients": gradients,
            "standard_error": reference.relative_standard_error(),
        },
        "joint": joints,
        "nested": nested,
    }))
}

/// The L2 norm of the difference over that of the reference.
fn distance(map: &Tensor, reference: &Tensor) -> f64 {
    let pairs = map.data().iter().zip(reference.data());
    let error: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let norm: f64 = reference.data().iter().map(|b| f64::from(*b).powi(2)).sum();
    (error / norm).sqrt()
}

/// The share of elements whose 95 % interval holds the reference.
fn covered(map: &Tensor, error: &Tensor, reference: &Tensor) -> f64 {
    let triples = map.data().iter().zip(error.data()).zip(reference.data());
    let held = triples.filter(|((a, e), b)| f64::from((*a - *b).abs()) <= T7 * f64::from(**e));
    held.count() as f64 / map.data().len() as f64
}
