//! A plugin of Limpid with one method, `my-plugin/strongest`.

use limpid_plugin::explain::methods::MethodInfo;
use limpid_plugin::explain::{
    Attribution, Domain, ExplainError, ModelInfo, ParamInfo, ParamKind, Parameters, Passes, Request,
};
use limpid_plugin::{Context, Explainer};
use std::sync::Arc;

/// What `share` is unless it is given.
const SHARE: f64 = 0.1;

/// The gradient times the picture, of which only the strongest values are kept.
struct Strongest {
    /// The share of the values that is kept.
    share: f64,
}

impl Explainer for Strongest {
    fn id(&self) -> &str {
        "strongest"
    }

    /// What the manifest of a map says: every parameter's effective value.
    fn parameters(&self, _model: &ModelInfo, _picture: &[usize]) -> Parameters {
        Parameters::from_iter([("share".to_owned(), self.share.into())])
    }

    /// A map for each score.
    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        // [C, H, W] becomes a batch of one, where the model runs.
        let batch = [&[1], request.image.dims()].concat();
        let picture = cx.upload(&request.image.clone().reshape(batch)?)?;
        let mut maps = Vec::new();
        for objective in request.objectives {
            let before = cx.evaluations();
            let passed = cx.pass(&Passes {
                objective: Some(objective),
                // The empty name stands for the picture itself.
                layers: &[String::new()],
                ..Passes::of(&picture)
            })?;
            let gradient = cx.download(&passed.gradients[0])?;
            let mut map = gradient.reshape(request.image.dims())?;
            for (value, picture) in map.data_mut().iter_mut().zip(request.image.data()) {
                *value *= picture;
            }
            keep_strongest(map.data_mut(), self.share);
            maps.push(Attribution::new(
                map,
                Domain::Input,
                cx.evaluations().since(before),
            ));
        }
        Ok(maps)
    }
}

/// Sets all values to zero but a share of the largest, whatever their sign; of
/// equal ones at the limit all stay.
fn keep_strongest(values: &mut [f32], share: f64) {
    let kept = (values.len() as f64 * share).ceil() as usize;
    let mut sorted: Vec<f32> = values.iter().map(|v| v.abs()).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let Some(limit) = kept.checked_sub(1).and_then(|last| sorted.get(last)) else {
        return values.fill(0.0);
    };
    for value in values.iter_mut().filter(|v| v.abs() < *limit) {
        *value = 0.0;
    }
}

/// What `limpid methods` shows, and how the method is made.
fn strongest() -> MethodInfo {
    let share = ParamKind::Float { min: 0.0, max: 1.0 };
    MethodInfo {
        id: "strongest".into(),
        kind: "gradient".into(),
        output: "[C,H,W]".into(),
        summary: "the gradient times the picture, of which only the strongest values are kept"
            .into(),
        params: vec![ParamInfo::new(
            "share",
            share,
            SHARE,
            "the share of the values that is kept",
        )],
        smooth: None,
        build: Arc::new(|given, _| {
            let share = given.float("share").unwrap_or(SHARE);
            Ok(Box::new(Strongest { share }))
        }),
    }
}

limpid_plugin::export_explainers! {
    id: "my-plugin",
    name: "my-plugin",
    methods: [strongest()],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_strongest_values_stay() {
        let mut values = [1.0, -4.0, 0.0, 3.0, -2.0];
        keep_strongest(&mut values, 0.4);
        assert_eq!(values, [0.0, -4.0, 0.0, 3.0, 0.0]);
        keep_strongest(&mut values, 0.0);
        assert_eq!(values, [0.0; 5]);
    }

    #[test]
    fn the_share_is_checked() {
        assert!(strongest().build(&[("share", "0.5")], None).is_ok());
        let wrong = strongest().build(&[("share", "2")], None).err();
        let words = "parameter `share` of strongest must be a number from 0 to 1, not `2`";
        assert_eq!(wrong.map(|e| e.to_string()).as_deref(), Some(words));
    }
}
