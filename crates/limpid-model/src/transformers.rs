//! Models as the transformers library keeps them: the network's class under
//! `architectures` of config.json, the preprocessing in preprocessor_config.json.

use crate::config::Config;
use crate::{Description, ModelError};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The file with the preprocessing.
const PREPROCESSOR: &str = "preprocessor_config.json";

/// PIL's numbers of its filters.
const FILTERS: [&str; 6] = [
    "nearest", "lanczos", "bilinear", "bicubic", "box", "hamming",
];

/// The network that `config` names by its class, and the configuration with the
/// keys of a bundle; `None` where it names no class.
///
/// # Errors
/// When no built-in description serves, or the preprocessing cannot be followed.
pub(crate) fn read(
    directory: &Path,
    config: &Config,
) -> Result<Option<(Description, Config)>, ModelError> {
    let Some(class) = config.transformers_class()? else {
        return Ok(None);
    };
    let description = Description::of_transformers(class, config.keys())?.map_err(|reason| {
        config.wrong(
            "architectures",
            &format!("{reason}; export the network to a bundle with a graph.json, or to ONNX"),
        )
    })?;
    Ok(Some((description, with_preprocessing(directory, config)?)))
}

/// The configuration with what preprocessor_config.json says, if there is one.
///
/// # Errors
/// When the preprocessing cannot be followed.
pub(crate) fn with_preprocessing(directory: &Path, config: &Config) -> Result<Config, ModelError> {
    let path = directory.join(PREPROCESSOR);
    if path.exists() {
        let processor = Config::open(&path)?;
        return Ok(config.with_defaults(keys(&processor)?));
    }
    let mut config = config.clone();
    if config.transformers_class()?.is_some() {
        config.note(format!(
            "there is no {}; pictures are resized and normalised as for ImageNet",
            path.display()
        ));
        let side = config.keys().get("image_size").and_then(Value::as_u64);
        if let Some(side) = side.filter(|side| (1..1 << 16).contains(side)) {
            let size = json!({"input_size": [3, side, side]});
            config = config.with_defaults(size.as_object().cloned().unwrap_or_default());
        }
    }
    Ok(config)
}

/// The preprocessing as the keys of a bundle.
fn keys(processor: &Config) -> Result<Map<String, Value>, ModelError> {
    let get = |key: &str| processor.keys().get(key).filter(|v| !v.is_null());
    let yes = |key: &str, default: bool| get(key).and_then(Value::as_bool).unwrap_or(default);
    let mut keys = Map::new();
    let scale = get("rescale_factor").and_then(Value::as_f64);
    if !yes("do_rescale", true) || scale.is_some_and(|s| (s * 255.0 - 1.0).abs() > 1e-3) {
        return Err(processor.wrong(
            "rescale_factor",
            "must be 1/255, with do_rescale true; other scales are not followed",
        ));
    }
    if yes("do_normalize", true) {
        for (ours, theirs) in [("mean", "image_mean"), ("std", "image_std")] {
            if let Some(value) = get(theirs) {
                keys.insert(ours.to_owned(), value.clone());
            }
        }
    } else {
        keys.insert("mean".to_owned(), json!([0.0, 0.0, 0.0]));
        keys.insert("std".to_owned(), json!([1.0, 1.0, 1.0]));
    }
    if let Some(filter) = get("resample") {
        let name = filter
            .as_u64()
            .and_then(|n| FILTERS.get(usize::try_from(n).ok()?));
        let name = name
            .ok_or_else(|| processor.wrong("resample", "must be one of PIL's filters, 0 to 5"))?;
        keys.insert("interpolation".to_owned(), json!(name));
    }
    let size = match get("size") {
        None => return Ok(keys),
        Some(size) => size,
    };
    let wrong = |key: &str| {
        processor.wrong(
            key,
            "must be a number, {\"height\", \"width\"} or {\"shortest_edge\"}",
        )
    };
    let extent = |value: &Value| value.as_u64().filter(|n| (1..1 << 16).contains(n));
    let sides = |value: &Value| -> Option<[u64; 2]> {
        match value {
            Value::Object(o) => Some([extent(o.get("height")?)?, extent(o.get("width")?)?]),
            value => extent(value).map(|n| [n, n]),
        }
    };
    let shortest = size.get("shortest_edge").and_then(extent);
    let sides_of_size = shortest.map(|n| [n, n]).or_else(|| sides(size));
    let resized = sides_of_size.ok_or_else(|| wrong("size"))?;
    let cropped = if yes("do_center_crop", false) {
        get("crop_size")
    } else {
        None
    };
    let (input, crop_pct, mode) = if let Some(crop) = cropped {
        let [h, w] = sides(crop).ok_or_else(|| wrong("crop_size"))?;
        let edge = resized[0].min(resized[1]);
        ([h, w], h.min(w) as f64 / edge as f64, "center")
    } else {
        // ConvNextImageProcessor: small pictures are cropped, large ones squashed.
        match get("crop_pct").and_then(Value::as_f64) {
            Some(crop) if resized[0] < 384 => (resized, crop, "center"),
            _ => (resized, 1.0, "squash"),
        }
    };
    keys.insert("input_size".to_owned(), json!([3, input[0], input[1]]));
    keys.insert("crop_pct".to_owned(), json!(crop_pct));
    keys.insert("crop_mode".to_owned(), json!(mode));
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preprocessing(processor: Value) -> Result<(Value, f64, String), ModelError> {
        let processor = Config::from_bytes(processor.to_string().as_bytes(), PREPROCESSOR)?;
        let keys = keys(&processor)?;
        let text = |key: &str| keys[key].as_str().unwrap_or_default().to_owned();
        let crop = keys["crop_pct"].as_f64().unwrap_or_default();
        Ok((keys["input_size"].clone(), crop, text("crop_mode")))
    }

    #[test]
    fn processors_are_followed() {
        // ViTImageProcessor, and its older form.
        let whole = (json!([3, 224, 224]), 1.0, "squash".to_owned());
        let size = json!({"height": 224, "width": 224});
        assert_eq!(
            preprocessing(json!({"size": size, "resample": 2})).unwrap(),
            whole
        );
        assert_eq!(preprocessing(json!({"size": 224})).unwrap(), whole);
        // ConvNextImageProcessor: the crop holds for small pictures alone.
        let convnext = |edge: u64| json!({"size": {"shortest_edge": edge}, "crop_pct": 0.875});
        let (input, crop, mode) = preprocessing(convnext(224)).unwrap();
        assert_eq!(
            (input, crop, mode.as_str()),
            (json!([3, 224, 224]), 0.875, "center")
        );
        let (input, crop, mode) = preprocessing(convnext(384)).unwrap();
        assert_eq!(
            (input, crop, mode.as_str()),
            (json!([3, 384, 384]), 1.0, "squash")
        );
        // MobileNetV2ImageProcessor.
        let mobile = json!({"size": {"shortest_edge": 256}, "do_center_crop": true,
            "crop_size": {"height": 224, "width": 224}, "image_mean": [0.5, 0.5, 0.5]});
        let (input, crop, mode) = preprocessing(mobile).unwrap();
        assert_eq!(
            (input, crop, mode.as_str()),
            (json!([3, 224, 224]), 0.875, "center")
        );
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for (processor, key) in [
            (json!({"rescale_factor": 1.0 / 127.5}), "rescale_factor"),
            (json!({"do_rescale": false}), "rescale_factor"),
            (json!({"resample": 17}), "resample"),
            (json!({"size": "large"}), "size"),
            (json!({"size": {"height": 0, "width": 1}}), "size"),
        ] {
            let error = preprocessing(processor).unwrap_err().to_string();
            assert!(error.contains(&format!("key `{key}`")), "{error}");
        }
    }
}
