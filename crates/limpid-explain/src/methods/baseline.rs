use super::blur_ig::default_max_sigma;
use crate::params::Given;
use crate::paths::uniform_noise;
use crate::{Context, ExplainError, Request};
use limpid_graph::ops::HeatKernel;
use limpid_graph::{Fact, Graph};
use limpid_tensor::Tensor;

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

    /// From the parameter `baseline` of a method; black where none is given.
    pub(super) fn given(method: &str, given: &Given) -> Result<Self, ExplainError> {
        let text = given.text("baseline").unwrap_or("black");
        Self::parse(text).ok_or_else(|| ExplainError::Parameter {
            method: method.to_owned(),
            name: "baseline".into(),
            expected: format!("one of {} or file:PATH", Self::NAMES.join(", ")),
            found: text.to_owned(),
        })
    }

    pub(super) fn name(&self) -> String {
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
    pub(super) fn tensor(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Tensor, ExplainError> {
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
                let sigma = Tensor::new([1], vec![default_max_sigma(h, w) as f32])?;
                let x = image.clone().reshape([1, c, h, w])?;
                let mut graph = Graph::new();
                let inputs = [
                    graph.input("x", Fact::f32([1, c, h, w])),
                    graph.input("sigma", Fact::f32([1])),
                ];
                let out = graph.push("blur", HeatKernel {}, &inputs)?;
                graph.set_outputs(&out[..1]);
                let blurred = cx.run(&graph, &[&x, &sigma])?.remove(0);
                Ok(blurred.reshape([c, h, w])?)
            }
            Self::Noise => {
                let noise = uniform_noise(&black, &white, plane, request.seed, 0);
                Ok(Tensor::new([c, h, w], noise.collect())?)
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
