use super::GradientMethod;
use crate::smoothing::run;
use crate::{
    Attribution, Context, ExplainError, Explainer, ModelInfo, Node, Parameters, Path, Request,
    Rule, paths::Line,
};
use limpid_graph::ops::HeatKernel;
use limpid_graph::{Fact, Graph};
use limpid_tensor::{Tensor, philox};

/// The stream of random numbers that a baseline of noise takes; the noise of
/// SmoothGrad takes stream 0.
const BASELINE_STREAM: u32 = 1;

/// Where the straight line begins.
///
/// ```
/// use limpid_explain::methods::Baseline;
/// assert_eq!(Baseline::parse("file:grey.png"), Some(Baseline::File("grey.png".into())));
/// assert_eq!(Baseline::parse("grey"), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Baseline {
    /// Black pixels.
    #[default]
    Black,
    /// White pixels.
    White,
    /// Zero after normalisation.
    Zero,
    /// The picture's own mean colour.
    Mean,
    /// The picture, blurred by a standard deviation of 50 * sqrt(H W) / 224 pixels.
    Blur,
    /// Uniform noise between black and white, drawn from the seed.
    Noise,
    /// A picture from a file.
    File(String),
}

impl Baseline {
    /// The words that the parameter `baseline` takes, besides `file:PATH`.
    pub const NAMES: [&str; 6] = ["black", "white", "zero", "mean", "blur", "noise"];

    /// Reads the parameter `baseline`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "black" => Self::Black,
            "white" => Self::White,
            "zero" => Self::Zero,
            "mean" => Self::Mean,
            "blur" => Self::Blur,
            "noise" => Self::Noise,
            _ => Self::File(
                text.strip_prefix("file:")
                    .filter(|p| !p.is_empty())?
                    .to_owned(),
            ),
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Black => "black".into(),
            Self::White => "white".into(),
            Self::Zero => "zero".into(),
            Self::Mean => "mean".into(),
            Self::Blur => "blur".into(),
            Self::Noise => "noise".into(),
            Self::File(path) => format!("file:{path}"),
        }
    }

    /// The baseline for a picture, `[C, H, W]`.
    fn tensor(&self, cx: &mut dyn Context, request: &Request<'_>) -> Result<Tensor, ExplainError> {
        let image = request.image;
        let [c, h, w] = extents(image);
        let plane = h * w;
        let model = cx.model();
        let (black, white) = (model.black.clone(), model.white.clone());
        let colour = |of: &dyn Fn(usize) -> f32| {
            let data = (0..c).flat_map(|ch| vec![of(ch); plane]).collect();
            Ok(Tensor::new([c, h, w], data)?)
        };
        match self {
            Self::Black => colour(&|ch| black[ch]),
            Self::White => colour(&|ch| white[ch]),
            Self::Zero => colour(&|_| 0.0),
            Self::Mean => colour(&|ch| {
                let pixels = &image.data()[ch * plane..][..plane];
                let sum: f64 = pixels.iter().map(|v| f64::from(*v)).sum();
                (sum / plane as f64) as f32
            }),
            Self::Blur => {
                let sigma = Tensor::new([1], vec![super::blur_ig::default_max_sigma(h, w) as f32])?;
                let x = image.clone().reshape([1, c, h, w])?;
                let mut graph = Graph::new();
                let inputs = [
                    graph.input("x", Fact::f32([1, c, h, w])),
                    graph.input("sigma", Fact::f32([1])),
                ];
                let out = graph.push("blur", HeatKernel {}, &inputs)?;
                graph.set_outputs(&out[..1]);
                let blurred = cx.run(graph, &[&x, &sigma])?.remove(0);
                Ok(blurred.reshape([c, h, w])?)
            }
            Self::Noise => {
                let key = philox::key(request.seed);
                let data = (0..c * plane)
                    .map(|i| {
                        let quad = philox::uniform4(key, BASELINE_STREAM, [0; 2], (i / 4) as u32);
                        let (lo, hi) = (f64::from(black[i / plane]), f64::from(white[i / plane]));
                        (lo + (hi - lo) * quad[i % 4]) as f32
                    })
                    .collect();
                Ok(Tensor::new([c, h, w], data)?)
            }
            Self::File(path) => {
                let picture = cx.picture(path)?;
                if picture.shape() == image.shape() {
                    return Ok(picture);
                }
                Err(ExplainError::Baseline {
                    path: path.clone(),
                    reason: format!(
                        "its shape is {}, the input's is {}",
                        picture.shape(),
                        image.shape()
                    ),
                })
            }
        }
    }
}

pub(super) fn extents(image: &Tensor) -> [usize; 3] {
    let dims = image.dims();
    [dims[0], dims[1], dims[2]]
}

/// Integrated Gradients: the integral of the gradient along the straight line
/// from a baseline to the picture, times their difference (Sundararajan, Taly
/// and Yan, ICML 2017).
///
/// ```
/// use limpid_explain::methods::{Baseline, IntegratedGradients};
/// let method = IntegratedGradients::new().steps(32).baseline(Baseline::White);
/// assert_eq!(method.baseline, Baseline::White);
/// ```
#[derive(Debug, Clone)]
pub struct IntegratedGradients {
    /// Gradients on the path.
    pub steps: usize,
    /// The quadrature.
    pub rule: Rule,
    /// Where the line begins.
    pub baseline: Baseline,
}

impl Default for IntegratedGradients {
    fn default() -> Self {
        Self {
            steps: 64,
            rule: Rule::default(),
            baseline: Baseline::default(),
        }
    }
}

impl IntegratedGradients {
    /// 64 midpoints from black.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With another number of gradients.
    #[must_use]
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// With another quadrature.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// With another baseline.
    #[must_use]
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }
}

impl GradientMethod for IntegratedGradients {
    fn path(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<(Box<dyn Path>, Vec<Node>), ExplainError> {
        let baseline = self.baseline.tensor(cx, request)?;
        Ok((Box::new(Line::from(baseline)), self.rule.nodes(self.steps)))
    }
}

impl Explainer for IntegratedGradients {
    fn id(&self) -> &str {
        "integrated-gradients"
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        Parameters::from_iter([
            ("steps".to_owned(), self.steps.into()),
            ("rule".to_owned(), self.rule.name().into()),
            ("sampling".to_owned(), "nested".into()),
            ("baseline".to_owned(), self.baseline.name().into()),
        ])
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Attribution, ExplainError> {
        run(self, None, cx, request)
    }
}
