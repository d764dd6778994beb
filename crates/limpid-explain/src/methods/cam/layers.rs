use crate::{ExplainError, ModelInfo};

/// The layers that the parameter `layer` names.
///
/// # Errors
/// When there is no default layer, a name is empty, or there are not as many
/// maps as `last:N` asks for.
pub(super) fn chosen(
    method: &str,
    text: Option<&str>,
    model: &ModelInfo,
) -> Result<Vec<String>, ExplainError> {
    let Some(text) = text else {
        let layer = model.cam_layer.clone();
        return layer
            .map(|l| vec![l])
            .ok_or_else(|| ExplainError::NoCamLayer {
                method: method.to_owned(),
            });
    };
    let wrong = |expected: String| ExplainError::Parameter {
        method: method.to_owned(),
        name: "layer".into(),
        expected,
        found: text.chars().take(80).collect(),
    };
    // A name may have a comma or colon in it.
    if model.cam_layers.iter().any(|name| name == text) {
        return Ok(vec![text.to_owned()]);
    }
    if let Some(count) = text.strip_prefix("last:") {
        // What comes after the default layer has no gradient at the picture's
        // tokens, or is no layer of a CAM's kind.
        let default = model.cam_layer.as_ref();
        let place = model
            .cam_layers
            .iter()
            .position(|name| Some(name) == default);
        let until = place.map_or(model.cam_layers.len(), |last| last + 1);
        let count = count.parse().ok().filter(|n| (1..=until).contains(n));
        let first = until - count.ok_or_else(|| wrong(format!("last:1 to last:{until}")))?;
        return Ok(model.cam_layers[first..until].to_vec());
    }
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) {
        return Err(wrong("names of layers with one comma between them".into()));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelInfo {
        let layers = ["stem", "a,b", "blocks.0", "norm", "head.norm"];
        ModelInfo {
            classes: 2,
            black: vec![0.0; 3],
            white: vec![1.0; 3],
            cam_layer: Some("norm".into()),
            cam_layers: layers.map(str::to_owned).to_vec(),
        }
    }

    fn names(text: Option<&str>) -> Result<Vec<String>, String> {
        chosen("grad-cam", text, &model()).map_err(|e| e.to_string())
    }

    #[test]
    fn layers_are_chosen_by_name_and_from_the_default_layer_back() {
        assert_eq!(names(None).unwrap(), ["norm"]);
        assert_eq!(names(Some("stem, norm")).unwrap(), ["stem", "norm"]);
        assert_eq!(names(Some("a,b")).unwrap(), ["a,b"]);
        assert_eq!(names(Some("last:1")).unwrap(), ["norm"]);
        assert_eq!(names(Some("last:3")).unwrap(), ["a,b", "blocks.0", "norm"]);
    }

    #[test]
    fn what_names_no_layers_is_refused() {
        for text in [
            "last:0",
            "last:5",
            "last:x",
            "last:-1",
            "last:99999999999999999999",
        ] {
            let message = names(Some(text)).unwrap_err();
            let expected = format!("layer` of grad-cam must be last:1 to last:4, not `{text}`");
            assert!(message.contains(&expected), "{message}");
        }
        for text in ["", "stem,", ",stem", "a,,c"] {
            assert!(
                names(Some(text)).unwrap_err().contains("names of layers"),
                "{text}"
            );
        }
        let none = ModelInfo {
            cam_layer: None,
            cam_layers: Vec::new(),
            ..model()
        };
        assert!(matches!(
            chosen("x", None, &none),
            Err(ExplainError::NoCamLayer { .. })
        ));
        assert!(chosen("x", Some("last:1"), &none).is_err());
    }
}
