//! Class activation maps: what a layer's channels show, on the layer's grid.
//!
//! A rule makes a map of each layer; [`Cam`] chooses the layers, cuts off
//! negative sums where that is wanted, and joins several layers' maps.

mod ablation;
mod cells;
mod channels;
mod eigen;
mod fuse;
mod grid_map;
mod layers;
mod recipro;
mod score;

pub use ablation::{AblationCam, ChannelAblation};
pub use cells::{
    ElementWiseCam, GradientTimesActivation, HiResCam, LayerCam, PositiveGradient, PositiveProducts,
};
pub use channels::{
    AxiomaticWeights, GradCam, GradCamPlusPlus, HigherOrderGradient, MeanGradient, XGradCam,
};
pub use eigen::{EigenCam, EigenGradCam, PrincipalActivation, PrincipalProduct};
pub use fuse::Fuse;
pub use grid_map::GridMap;
pub use recipro::{Kept, KeptCells, ReciproCam};
pub use score::{MaskScores, ScoreCam};

use super::MethodInfo;
use crate::params::Given;
use crate::{
    Attribution, Context, Domain, ExplainError, Explainer, ModelInfo, ParamInfo, ParamKind,
    Parameters, Request,
};
use limpid_tensor::Tensor;
use serde_json::Value;
use std::sync::Arc;

/// What makes one class activation map different from others.
pub trait CamRule: Clone + Default + std::fmt::Debug + Send + Sync + 'static {
    /// The method's id.
    const ID: &'static str;

    /// Whether negative values are cut off by default; `None` where there are
    /// none.
    const RELU: Option<bool>;

    /// Every parameter's effective value, besides those that all CAMs have.
    fn parameters(&self) -> Parameters {
        Parameters::new()
    }

    /// For each layer a map for each objective, before anything is cut off.
    ///
    /// # Errors
    /// When a layer is no map of the picture, a value is not finite, or the run
    /// was cancelled.
    fn maps(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        layers: &[String],
    ) -> Result<Vec<Vec<GridMap>>, ExplainError>;
}

/// A class activation map by a rule; [`GradCam`] and the others
/// are its aliases.
///
/// The map of one layer is raw and on the layer's own grid. Maps of several
/// layers are joined: each is resized bilinearly to the largest grid and divided
/// by its largest absolute value before.
///
/// ```
/// use limpid_explain::{Explainer, methods::{Fuse, GradCam, ScoreCam}};
/// let method = GradCam::new().layer("blocks.4,blocks.5").fuse(Fuse::Max).relu(false);
/// assert_eq!(method.id(), "grad-cam");
/// assert_eq!(ScoreCam::new().layer("last:3").channels(64).id(), "score-cam");
/// ```
#[derive(Debug, Clone)]
pub struct Cam<R> {
    rule: R,
    layer: Option<String>,
    relu: Option<bool>,
    fuse: Fuse,
}

impl<R: CamRule> Default for Cam<R> {
    fn default() -> Self {
        Self {
            rule: R::default(),
            layer: None,
            relu: R::RELU,
            fuse: Fuse::default(),
        }
    }
}

impl<R: CamRule> Cam<R> {
    /// At the model's default layer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At other layers: a name, several with commas between them, or `last:N`
    /// for the last N maps up to the default layer.
    #[must_use]
    pub fn layer(mut self, layer: impl Into<String>) -> Self {
        self.layer = Some(layer.into());
        self
    }

    /// With or without cutting off negative values, where the rule has any.
    #[must_use]
    pub fn relu(mut self, relu: bool) -> Self {
        self.relu = R::RELU.map(|_| relu);
        self
    }

    /// With the maps of several layers joined in another way.
    #[must_use]
    pub fn fuse(mut self, fuse: Fuse) -> Self {
        self.fuse = fuse;
        self
    }
}

impl<R: CamRule> Explainer for Cam<R> {
    fn id(&self) -> &str {
        R::ID
    }

    fn parameters(&self, model: &ModelInfo, _input: &[usize]) -> Parameters {
        let layers = layers::chosen(R::ID, self.layer.as_deref(), model);
        let layer = layers.map_or_else(|_| self.layer.clone(), |names| Some(names.join(",")));
        let mut parameters = Parameters::from_iter([("layer".to_owned(), layer.into())]);
        if let Some(relu) = self.relu {
            parameters.insert("relu".into(), relu.into());
        }
        parameters.insert("fuse".into(), self.fuse.name().into());
        parameters.extend(self.rule.parameters());
        parameters
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let layers = layers::chosen(R::ID, self.layer.as_deref(), cx.model())?;
        let before = cx.evaluations();
        let mut of_layers: Vec<_> = self
            .rule
            .maps(cx, request, &layers)?
            .into_iter()
            .map(Vec::into_iter)
            .collect();
        let evaluations = cx.evaluations().since(before);
        let name = layers.join(",");
        let mut attribution = |_| {
            let mut maps: Vec<GridMap> = of_layers.iter_mut().filter_map(Iterator::next).collect();
            for map in &mut maps {
                // Checked first: a maximum would turn a NaN into 0.
                finite::<R>(map.is_finite(), &name)?;
                if self.relu == Some(true) {
                    map.values.iter_mut().for_each(|v| *v = v.max(0.0));
                }
            }
            let map = self.fuse.join(maps).tensor()?;
            finite::<R>(map.is_finite(), &name)?;
            Ok(Attribution {
                map,
                standard_error: None,
                domain: Domain::Layer(name.clone()),
                signed: self.relu == Some(false),
                completeness: None,
                evaluations,
            })
        };
        request.objectives.iter().map(&mut attribution).collect()
    }
}

fn finite<R: CamRule>(is: bool, layer: &str) -> Result<(), ExplainError> {
    if is {
        return Ok(());
    }
    Err(ExplainError::NonFinite {
        what: format!("the map of {} at layer {layer}", R::ID),
    })
}

/// The maps that `map` makes of each layer's output and each objective's
/// gradient, `[C, h, w]` both: all from one forward pass and one batch of
/// vector-Jacobian products.
fn by_gradients<R: CamRule>(
    cx: &mut dyn Context,
    request: &Request<'_>,
    layers: &[String],
    map: impl Fn(&Tensor, &Tensor) -> Result<GridMap, ExplainError>,
) -> Result<Vec<Vec<GridMap>>, ExplainError> {
    let found = cx.layer_gradients(request.image, layers, request.objectives)?;
    let mut all = Vec::with_capacity(layers.len());
    for (layer, at) in layers.iter().zip(found) {
        checked::<R>(layer, &at.activation)?;
        let mut maps = Vec::with_capacity(at.gradients.len());
        for gradient in &at.gradients {
            checked::<R>(layer, gradient)?;
            maps.push(map(&at.activation, gradient)?);
        }
        all.push(maps);
    }
    Ok(all)
}

/// A rule without parameters that reads one output and its gradient at a time.
pub trait GradientRule: Clone + Default + std::fmt::Debug + Send + Sync + 'static {
    /// The method's id.
    const ID: &'static str;

    /// Whether negative values are cut off by default; `None` where there are
    /// none.
    const RELU: Option<bool>;

    /// What it computes, and what becomes of negative values by default.
    const SUMMARY: &'static str;

    /// The map of a layer's output and an objective's gradient with respect to
    /// it, `[C, h, w]` both.
    fn map(activation: &Tensor, gradient: &Tensor) -> GridMap;
}

impl<R: GradientRule> CamRule for R {
    const ID: &'static str = <R as GradientRule>::ID;
    const RELU: Option<bool> = <R as GradientRule>::RELU;

    fn maps(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        layers: &[String],
    ) -> Result<Vec<Vec<GridMap>>, ExplainError> {
        by_gradients::<R>(cx, request, layers, |activation, gradient| {
            Ok(R::map(activation, gradient))
        })
    }
}

impl<R: GradientRule> Listed for R {
    const SUMMARY: &'static str = <R as GradientRule>::SUMMARY;
}

/// Each layer's output, `[C, h, w]`, from one forward pass.
fn activations<R: CamRule>(
    cx: &mut dyn Context,
    request: &Request<'_>,
    layers: &[String],
) -> Result<Vec<Tensor>, ExplainError> {
    let found = cx.layer_gradients(request.image, layers, &[])?;
    let mut all = Vec::with_capacity(layers.len());
    for (layer, at) in layers.iter().zip(found) {
        checked::<R>(layer, &at.activation)?;
        all.push(at.activation);
    }
    Ok(all)
}

/// Whether a tensor is a map of finite values.
fn checked<R: CamRule>(layer: &str, tensor: &Tensor) -> Result<(), ExplainError> {
    if tensor.dims().len() != 3 {
        return Err(ExplainError::NotSpatial {
            layer: layer.to_owned(),
            shape: tensor.shape().to_string(),
        });
    }
    finite::<R>(tensor.is_finite(), layer)
}

/// A rule as the program lists it.
trait Listed: CamRule {
    /// What it computes, without what becomes of negative values.
    const SUMMARY: &'static str;

    /// Its parameters, besides those that all CAMs have.
    fn params() -> Vec<ParamInfo> {
        Vec::new()
    }

    /// From parameters.
    fn given(_given: &Given) -> Result<Self, ExplainError> {
        Ok(Self::default())
    }
}

/// What is known of the method by a rule.
fn info<R: Listed>() -> MethodInfo {
    let mut params = vec![ParamInfo::new(
        "layer",
        ParamKind::Text,
        Value::Null,
        "the layer, or several with commas between them; last:N means the last N maps up to the default layer, which is the input of global pooling, or of the last attention where a class token is read",
    )];
    params.extend(R::RELU.map(|relu| {
        let help = "whether negative values are cut off";
        ParamInfo::new("relu", ParamKind::Bool, relu, help)
    }));
    params.push(ParamInfo::new(
        "fuse",
        ParamKind::choice(&Fuse::NAMES),
        Fuse::default().name(),
        "how the maps of several layers are joined, each resized to the largest grid and divided by its largest absolute value before",
    ));
    params.extend(R::params());
    MethodInfo {
        id: R::ID.into(),
        kind: "cam".into(),
        output: "[h,w]".into(),
        summary: R::SUMMARY.into(),
        params,
        smooth: None,
        build: Arc::new(build::<R>),
    }
}

fn build<R: Listed>(
    given: &Given,
    _: Option<crate::SmoothGrad>,
) -> Result<Box<dyn Explainer>, ExplainError> {
    Ok(Box::new(Cam {
        rule: R::given(given)?,
        layer: given.text("layer").map(str::to_owned),
        relu: R::RELU.map(|relu| given.bool("relu").unwrap_or(relu)),
        fuse: given
            .text("fuse")
            .and_then(Fuse::from_name)
            .unwrap_or_default(),
    }))
}

/// All class activation maps.
pub(super) fn list() -> Vec<MethodInfo> {
    vec![
        info::<MeanGradient>(),
        info::<HigherOrderGradient>(),
        info::<GradientTimesActivation>(),
        info::<PositiveProducts>(),
        info::<PositiveGradient>(),
        info::<AxiomaticWeights>(),
        info::<PrincipalActivation>(),
        info::<PrincipalProduct>(),
        info::<MaskScores>(),
        info::<ChannelAblation>(),
        info::<KeptCells>(),
    ]
}
