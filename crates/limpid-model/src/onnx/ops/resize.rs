//! Resize and its predecessor Upsample.

use super::one;
use crate::onnx::builder::Value;
use crate::onnx::call::{Call, axes};
use crate::onnx::refusal::{Refusal, Result};
use serde_json::{Value as Json, json};

/// Scales for every axis, 1 where an axis stays, or sizes, 0 where it stays.
enum Target {
    Scales(Vec<f64>),
    Sizes(Vec<usize>),
}

pub(super) fn resize(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let dims = c.dims(&x);
    if c.opset < 11 {
        return before_eleven(c, &x, 1);
    }
    let list = c.attributes.ints("axes")?;
    let axes = list.map_or_else(
        || Ok((0..dims.len()).collect()),
        |list| axes(list, dims.len()),
    )?;
    let target = target(c, &dims, &axes)?;
    let transform = c
        .attributes
        .text("coordinate_transformation_mode", "half_pixel")?;
    let mut attrs = json!({
        "mode": c.attributes.text("mode", "nearest")?,
        "coordinate_transformation_mode": transform,
        "nearest_mode": c.attributes.text("nearest_mode", "round_prefer_floor")?,
        "cubic_coeff_a": c.attributes.float("cubic_coeff_a", -0.75)?,
        "exclude_outside": c.attributes.flag("exclude_outside", false)?,
        "antialias": c.attributes.flag("antialias", false)?,
        "extrapolation_value": c.attributes.float("extrapolation_value", 0.0)?,
    });
    if transform == "tf_crop_and_resize" {
        let given = c.numbers(1, "region")?.unwrap_or_default();
        if given.len() != 2 * axes.len() {
            return Err(Refusal::new(
                "lacks the region that tf_crop_and_resize needs; export the model again",
            ));
        }
        let mut region = [vec![0.0; dims.len()], vec![1.0; dims.len()]].concat();
        for (i, &a) in axes.iter().enumerate() {
            region[a] = given[i];
            region[dims.len() + a] = given[axes.len() + i];
        }
        attrs["roi"] = json!(region);
    }
    apply(c, &x, attrs, target)
}

fn target(c: &Call<'_>, dims: &[usize], axes: &[usize]) -> Result<Target> {
    let given = |list: Option<Vec<f64>>| list.filter(|l| !l.is_empty());
    let (scales, sizes) = (
        given(c.numbers(2, "scales")?),
        given(c.numbers(3, "sizes")?),
    );
    let wrong = || {
        Refusal::new(
            "needs one positive scale or size for each axis that it resizes; export the model again",
        )
    };
    let fits = |list: &[f64]| list.len() == axes.len() && list.iter().all(|&v| v > 0.0 && v < 1e9);
    match (scales, sizes) {
        (Some(scales), _) if fits(&scales) => {
            let mut all = vec![1.0; dims.len()];
            for (&a, scale) in axes.iter().zip(scales) {
                all[a] = scale;
            }
            Ok(Target::Scales(all))
        }
        (None, Some(sizes)) if fits(&sizes) => {
            let ratios = || axes.iter().zip(&sizes).map(|(&a, &s)| s / dims[a] as f64);
            let common = match c.attributes.text("keep_aspect_ratio_policy", "stretch")? {
                "not_larger" => Some(ratios().fold(f64::INFINITY, f64::min)),
                "not_smaller" => Some(ratios().fold(0.0, f64::max)),
                _ => None,
            };
            let mut all = vec![0; dims.len()];
            for (&a, size) in axes.iter().zip(sizes) {
                let size = common.map_or(size, |s| (s * dims[a] as f64 + 0.5).floor().max(1.0));
                all[a] = if size as usize == dims[a] {
                    0
                } else {
                    size as usize
                };
            }
            Ok(Target::Sizes(all))
        }
        _ => Err(wrong()),
    }
}

/// `scales` are an attribute before opset 9, input 1 after.
pub(super) fn upsample(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    before_eleven(c, &x, 9)
}

/// Resize-10 and Upsample: pixels are counted from their corners, and the
/// nearest is the one before when a picture grows, the one behind when it shrinks.
fn before_eleven(c: &mut Call<'_>, x: &Value, since: i64) -> Result<Vec<Value>> {
    let scales = if c.opset >= since {
        c.numbers(1, "scales")?
    } else {
        c.attributes
            .floats("scales")?
            .map(|l| l.iter().map(|&v| f64::from(v)).collect())
    };
    let rank = c.dims(x).len();
    let scales = scales
        .filter(|s: &Vec<f64>| s.len() == rank && s.iter().all(|&v| v > 0.0 && v < 1e9))
        .ok_or_else(|| {
            Refusal::new("needs one positive scale for each axis; export the model again")
        })?;
    let mode = match c.attributes.text("mode", "nearest")? {
        "bilinear" | "trilinear" => "linear",
        mode => mode,
    };
    let shrinks = scales.iter().any(|&s| s < 1.0);
    let attrs = json!({
        "mode": mode,
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": if shrinks { "ceil" } else { "floor" },
    });
    apply(c, x, attrs, Target::Scales(scales))
}

fn apply(c: &mut Call<'_>, x: &Value, mut attrs: Json, target: Target) -> Result<Vec<Value>> {
    let stays = match &target {
        Target::Scales(s) => s.iter().all(|&s| s == 1.0),
        Target::Sizes(s) => s.iter().all(|&s| s == 0),
    };
    if stays && attrs.get("roi").is_none() {
        return one(x.clone());
    }
    match target {
        Target::Scales(scales) => attrs["scales"] = json!(scales),
        Target::Sizes(sizes) => attrs["sizes"] = json!(sizes),
    }
    c.apply("Resize", attrs, &[x]).and_then(one)
}
