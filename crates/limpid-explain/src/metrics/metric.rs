use super::{LabelMask, pixel_map};
use crate::paths::{Fragment, Path, Stack};
use crate::{
    Attribution, Context, ExplainError, Explainer, Objective, Points, Readout, Sample, Subject,
};
use limpid_graph::{Graph, ValueId};
use limpid_tensor::Tensor;
use serde::Serialize;
use serde_json::Value;

/// The random stream of metrics.
pub(super) const STREAM: u32 = 5;

/// Which values of a metric speak for a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Large ones.
    Higher,
    /// Small ones.
    Lower,
    /// Neither: it depends on what one looks for.
    Neither,
}

impl Better {
    /// `higher` or `lower`; `None` for neither.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Higher => Some("higher"),
            Self::Lower => Some("lower"),
            Self::Neither => None,
        }
    }
}

/// What a metric needs besides the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Map,
    /// Scores of changed pictures.
    Scores,
    /// Maps of other pictures or seeds.
    Method,
    /// To know what is where in the picture.
    Regions,
    /// Maps by models with other weights.
    Randomised,
}

/// A part of a picture that has a name, such as the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// The mask that bears it, of the size of the model's input.
    pub mask: LabelMask,
    /// Its label in the mask.
    pub label: u8,
}

/// Makes maps by models whose weights are random from the top down to a stage.
pub trait Randomised {
    /// How many stages there are; after the last no layer is left as it was.
    fn stages(&self) -> usize;

    /// The share of the layers that are random at a stage, above 0 to 1.
    fn share(&self, stage: usize) -> f64;

    /// The map of the same picture, score and method at a stage.
    ///
    /// # Errors
    /// When the model cannot be made or the method fails on it.
    fn explain(&self, stage: usize) -> Result<Attribution, ExplainError>;
}

/// What is measured: a map, and what it was made of.
pub struct Case<'a> {
    /// The normalised input, `[C, H, W]`.
    pub image: &'a Tensor,
    /// The score that the map explains.
    pub objective: &'a Objective,
    /// How the model's scores become probabilities.
    pub probability: Readout,
    /// The map.
    pub map: &'a Attribution,
    /// The method that made it.
    pub method: &'a dyn Explainer,
    /// The seed of everything random.
    pub seed: u64,
    /// What is where in the picture; empty where that is not known.
    pub regions: &'a [Region],
    /// Maps by models with random weights, where there are some.
    pub randomised: Option<&'a dyn Randomised>,
}

impl Case<'_> {
    /// The score, read as a probability.
    #[must_use]
    pub fn probability(&self) -> Objective {
        self.objective.clone().read_as(self.probability)
    }

    /// Height and width of the input.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        let dims = self.image.dims();
        [dims[dims.len() - 2], dims[dims.len() - 1]]
    }

    /// The map as a picture of the input's size, by [`pixel_map`].
    #[must_use]
    pub fn pixels(&self) -> Vec<f32> {
        pixel_map(self.map, self.size())
    }
}

/// A number by which a map is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The metric's id, with `.` and a part's name where it has several numbers.
    pub name: String,
    /// Which values are good.
    pub better: Better,
    /// The number; `None` where there is none for this map.
    pub value: Option<f64>,
}

/// A curve whose summary a number is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// The name of the number, or of a part of it.
    #[serde(skip)]
    pub name: String,
    /// What is varied.
    pub x: Vec<f64>,
    /// What was measured there.
    pub y: Vec<f64>,
}

/// What a metric finds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurement {
    /// The numbers, the most important first.
    pub values: Vec<Measured>,
    /// The curves behind them.
    pub curves: Vec<Curve>,
    /// Why a number is missing.
    pub note: Option<String>,
}

impl Measurement {
    /// One number.
    #[must_use]
    pub fn one(name: &str, better: Better, value: Option<f64>) -> Self {
        Self::default().and(name, better, value)
    }

    /// With another number.
    #[must_use]
    pub fn and(mut self, name: impl Into<String>, better: Better, value: Option<f64>) -> Self {
        let name = name.into();
        self.values.push(Measured {
            name,
            better,
            value,
        });
        self
    }

    /// With a curve.
    #[must_use]
    pub fn with_curve(mut self, name: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        let name = name.into();
        self.curves.push(Curve { name, x, y });
        self
    }

    /// With the reason why a number is missing.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// A way to measure maps. Its fields are its protocol: with another protocol
/// the numbers are others.
pub trait Metric: Send + Sync {
    /// Its id, as the option `--metrics` takes it.
    fn id(&self) -> &str;

    /// What it measures, in a sentence.
    fn summary(&self) -> &'static str;

    /// Every number and choice that defines it.
    fn protocol(&self) -> Value;

    /// What it needs besides the map.
    fn needs(&self) -> Needs;

    /// Measures a map.
    ///
    /// # Errors
    /// When the model or the method fails, or the run was cancelled.
    fn measure(&self, cx: &mut dyn Context, case: &Case<'_>) -> Result<Measurement, ExplainError>;
}

/// Makes the picture `[C, H, W]` of a number, in C order.
type Make<'a> = dyn Fn(usize) -> Result<Vec<f32>, ExplainError> + Send + Sync + 'a;

/// Changed pictures, each made when its batch is put through the model, so that
/// memory does not grow with their number. The position is a picture's number.
struct Changed<'a>(&'a Make<'a>);

impl Path for Changed<'_> {
    fn build(&self, graph: &mut Graph, x: ValueId, batch: usize) -> Result<Fragment, ExplainError> {
        Stack::default().build(graph, x, batch)
    }

    fn controls(&self, samples: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        let mut data = Vec::new();
        for sample in samples {
            data.extend((self.0)(sample.position as usize)?);
        }
        Ok(vec![data])
    }
}

/// The objectives at `count` changed pictures: for each a row of their values.
pub(super) fn scores(
    cx: &mut dyn Context,
    image: &Tensor,
    objectives: &[Objective],
    count: usize,
    make: &Make<'_>,
) -> Result<Vec<f64>, ExplainError> {
    let path = Changed(make);
    let points: Vec<Sample> = (0..count).map(|i| Sample::at(i as f64)).collect();
    cx.scores(&Points {
        subject: Subject::new(image, &path),
        objectives,
        points: &points,
    })
}
