use super::perturb::{as_seen, pixel_map};
use super::{Baseline, IntegratedGradients, MethodInfo, registry};
use crate::regions::{Growth, xrai_merge, xrai_segments};
use crate::{
    Attribution, Context, Domain, ExplainError, Explainer, ModelInfo, ParamInfo, ParamKind,
    Parameters, Request,
};
use std::sync::Arc;

/// Regions with fewer new pixels are left out.
const MIN_NEW_PIXELS: usize = 50;

/// Gradients from each of black and white, in the default base.
const STEPS: u64 = 100;

/// XRAI (Kapishnikov et al., ICCV 2019): overlapping regions of six sizes join the
/// map in the order of their mean attribution, and give it to their pixels. The
/// map adds up to what the base attributes, of which the largest channel is
/// taken.
///
/// ```
/// use limpid_explain::{Explainer, methods::{BlurIntegratedGradients, Xrai}};
/// let method = Xrai::new().base(BlurIntegratedGradients::new());
/// assert_eq!(method.id(), "xrai");
/// ```
#[derive(Clone)]
pub struct Xrai {
    /// What makes the attribution, a map `[C, H, W]`; `None` stands for the mean
    /// of Integrated Gradients from black and from white.
    pub base: Option<Arc<dyn Explainer>>,
    /// Gradients from each of black and white; of no use to another base.
    pub steps: u64,
    /// How regions join.
    pub growth: Growth,
}

impl Default for Xrai {
    fn default() -> Self {
        Self {
            base: None,
            steps: STEPS,
            growth: Growth::Full { area: 1.0 },
        }
    }
}

impl std::fmt::Debug for Xrai {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Xrai")
            .field("base", &self.base.as_ref().map(|b| b.id()))
            .field("steps", &self.steps)
            .field("growth", &self.growth)
            .finish()
    }
}

impl Xrai {
    /// On Integrated Gradients from black and white, 100 each.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// On another method, whose maps are `[C, H, W]`.
    #[must_use]
    pub fn base(mut self, base: impl Explainer + 'static) -> Self {
        self.base = Some(Arc::new(base));
        self
    }

    /// With another number of gradients from each of black and white.
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// With regions that join in another way.
    #[must_use]
    pub fn growth(mut self, growth: Growth) -> Self {
        self.growth = growth;
        self
    }

    /// The base's maps, `[H, W]` for each objective: the mean over its methods of
    /// the maps, of which the largest channel.
    fn attributions(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Vec<f32>>, ExplainError> {
        let from = |baseline| {
            IntegratedGradients::new()
                .steps(self.steps)
                .baseline(baseline)
        };
        let maps = match &self.base {
            Some(base) => vec![base.explain(cx, request)?],
            None => vec![
                from(Baseline::Black).explain(cx, request)?,
                from(Baseline::White).explain(cx, request)?,
            ],
        };
        let plane = request.image.dims()[1] * request.image.dims()[2];
        let largest = |objective: usize| {
            let mut sum = vec![0.0f64; request.image.data().len()];
            for maps in &maps {
                let map = &maps[objective];
                if map.domain != Domain::Input {
                    return Err(ExplainError::Conflict {
                        method: self.id().to_owned(),
                        message: format!(
                            "the base's map is {}, not [C, H, W]: choose a gradient or path method",
                            map.map.shape()
                        ),
                    });
                }
                sum.iter_mut()
                    .zip(map.map.data())
                    .for_each(|(s, v)| *s += f64::from(*v));
            }
            let share = 1.0 / maps.len() as f64;
            let pixel = |i: usize| {
                let channels = sum[i..].iter().step_by(plane);
                (channels.fold(f64::NEG_INFINITY, |m, v| m.max(*v)) * share) as f32
            };
            Ok((0..plane).map(pixel).collect())
        };
        (0..request.objectives.len()).map(largest).collect()
    }
}

impl Explainer for Xrai {
    fn id(&self) -> &str {
        "xrai"
    }

    fn parameters(&self, model: &ModelInfo, input: &[usize]) -> Parameters {
        let mut all = Parameters::new();
        match &self.base {
            None => {
                all.insert("base".into(), DEFAULT_BASE.into());
                all.insert("steps".into(), self.steps.into());
            }
            Some(base) => {
                all.insert("base".into(), base.id().into());
                for (name, value) in base.parameters(model, input) {
                    all.insert(format!("base.{name}"), value);
                }
            }
        }
        match self.growth {
            Growth::Full { area } => {
                all.insert("algorithm".into(), "full".into());
                all.insert("area".into(), area.into());
            }
            Growth::Fast => {
                all.insert("algorithm".into(), "fast".into());
            }
        }
        all
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let before = cx.evaluations();
        let attributions = self.attributions(cx, request)?;
        let evaluations = cx.evaluations().since(before);
        let segments = xrai_segments(&as_seen(cx.model(), request.image)?)?;
        let size = [request.image.dims()[1], request.image.dims()[2]];
        let map = |attribution: Vec<f32>| {
            cx.check()?;
            let map = xrai_merge(&attribution, &segments, self.growth, MIN_NEW_PIXELS)?;
            let map: Vec<f64> = map.into_iter().map(f64::from).collect();
            pixel_map(self.id(), size, &map, true, evaluations)
        };
        attributions.into_iter().map(map).collect()
    }
}

/// The name of the mean of Integrated Gradients from black and from white.
const DEFAULT_BASE: &str = "black-and-white";

/// `xrai`.
pub(super) fn info() -> MethodInfo {
    MethodInfo {
        id: "xrai".into(),
        kind: "region".into(),
        output: "[H,W]".into(),
        summary:
            "overlapping regions in the order of their mean attribution, which their pixels get"
                .into(),
        params: vec![
            ParamInfo::new(
                "base",
                ParamKind::Text,
                DEFAULT_BASE,
                "what attributes: black-and-white (the mean of integrated-gradients from both) or the id of a method whose maps are [C,H,W]",
            ),
            ParamInfo::new(
                "steps",
                ParamKind::Integer {
                    min: 1,
                    max: 10_000,
                },
                STEPS,
                "with base=black-and-white: gradients from each of the two",
            ),
            ParamInfo::new(
                "algorithm",
                ParamKind::choice(&["full", "fast"]),
                "full",
                "full: the mean over a region's new pixels, again after each one that joins; fast: over all its pixels, once",
            ),
            ParamInfo::new(
                "area",
                ParamKind::Float { min: 0.0, max: 1.0 },
                1.0,
                "with algorithm=full: the share of the picture at which regions cease to join",
            ),
        ],
        smooth: None,
        build: Arc::new(build),
    }
}

fn build(
    given: &crate::params::Given,
    _: Option<crate::SmoothGrad>,
) -> Result<Box<dyn Explainer>, ExplainError> {
    let conflict = |message: &str| ExplainError::Conflict {
        method: "xrai".into(),
        message: message.to_owned(),
    };
    let steps = given.integer("steps");
    let base = match given.text("base") {
        None | Some(DEFAULT_BASE) => None,
        Some(_) if steps.is_some() => {
            return Err(conflict(
                "`steps` needs base=black-and-white: leave one of the two out",
            ));
        }
        Some(id) => match registry::info(id)? {
            method if method.output == "[C,H,W]" => {
                Some(Arc::from(registry::build(id, &[], None)?))
            }
            method => {
                return Err(ExplainError::Parameter {
                    method: "xrai".into(),
                    name: "base".into(),
                    expected: "a method whose maps are [C,H,W]".into(),
                    found: format!("{id}, whose maps are {}", method.output),
                });
            }
        },
    };
    let growth = match (given.text("algorithm"), given.float("area")) {
        (Some("fast"), Some(_)) => {
            return Err(conflict(
                "`area` needs algorithm=full: leave one of the two out",
            ));
        }
        (Some("fast"), None) => Growth::Fast,
        (_, area) => Growth::Full {
            area: area.unwrap_or(1.0),
        },
    };
    Ok(Box::new(Xrai {
        base,
        steps: steps.unwrap_or(STEPS),
        growth,
    }))
}
