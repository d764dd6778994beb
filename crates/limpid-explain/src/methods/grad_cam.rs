use crate::{
    Attribution, Context, Domain, ExplainError, Explainer, ModelInfo, Parameters, Request,
};
use limpid_tensor::Tensor;

/// Grad-CAM: the channels of a layer, weighted by the spatial mean of the
/// score's gradient (Selvaraju et al., ICCV 2017). The map is on the layer's
/// grid, not normalised; negative sums are cut off unless `relu` is false.
///
/// ```
/// use limpid_explain::{Explainer, methods::GradCam};
/// let method = GradCam::new().layer("blocks.4").relu(false);
/// assert_eq!(method.id(), "grad-cam");
/// ```
#[derive(Debug, Clone)]
pub struct GradCam {
    /// The layer; `None` stands for the input of the model's global pooling.
    pub layer: Option<String>,
    /// Whether negative sums are cut off.
    pub relu: bool,
}

impl Default for GradCam {
    fn default() -> Self {
        Self {
            layer: None,
            relu: true,
        }
    }
}

impl GradCam {
    /// At the model's default layer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At another layer.
    #[must_use]
    pub fn layer(mut self, layer: impl Into<String>) -> Self {
        self.layer = Some(layer.into());
        self
    }

    /// With or without cutting off negative sums.
    #[must_use]
    pub fn relu(mut self, relu: bool) -> Self {
        self.relu = relu;
        self
    }

    fn effective_layer(&self, model: &ModelInfo) -> Option<String> {
        self.layer.clone().or_else(|| model.cam_layer.clone())
    }
}

impl Explainer for GradCam {
    fn id(&self) -> &str {
        "grad-cam"
    }

    fn parameters(&self, model: &ModelInfo, _input: &[usize]) -> Parameters {
        Parameters::from_iter([
            ("layer".to_owned(), self.effective_layer(model).into()),
            ("relu".to_owned(), self.relu.into()),
        ])
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Attribution, ExplainError> {
        let layer = self.effective_layer(cx.model());
        let layer = layer.ok_or_else(|| ExplainError::NoCamLayer {
            method: self.id().to_owned(),
        })?;
        let at = cx.layer_gradient(request.image, &layer, &request.objective)?;
        let &[channels, h, w] = at.activation.dims() else {
            return Err(ExplainError::NotSpatial {
                layer,
                shape: at.activation.shape().to_string(),
            });
        };
        let plane = h * w;
        let mut sum = vec![0.0f64; plane];
        for c in 0..channels {
            let gradient = &at.gradient.data()[c * plane..][..plane];
            let weight = gradient.iter().map(|g| f64::from(*g)).sum::<f64>() / plane as f64;
            for (s, a) in sum.iter_mut().zip(&at.activation.data()[c * plane..]) {
                *s += weight * f64::from(*a);
            }
        }
        let cut = |v: f64| if self.relu { v.max(0.0) } else { v };
        let map = Tensor::new([h, w], sum.into_iter().map(|v| cut(v) as f32).collect())?;
        // `max` would turn a NaN into 0, so the inputs are what is checked.
        if !(map.is_finite() && at.gradient.is_finite() && at.activation.is_finite()) {
            return Err(ExplainError::NonFinite {
                what: format!("the map of {} at layer {layer}", self.id()),
            });
        }
        Ok(Attribution {
            map,
            domain: Domain::Layer(layer),
            signed: !self.relu,
            completeness: None,
            evaluations: cx.evaluations(),
        })
    }
}
