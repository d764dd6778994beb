use crate::{Evaluations, ExplainError, Node, Path};
use limpid_graph::Graph;
use limpid_tensor::Tensor;
use std::sync::Arc;

/// What explainers know about a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// The number of scores.
    pub classes: usize,
    /// Black, in each channel of the normalised input.
    pub black: Vec<f32>,
    /// White, in each channel of the normalised input.
    pub white: Vec<f32>,
    /// The layer that a class activation map uses by default: the input of global pooling.
    pub cam_layer: Option<String>,
}

/// The scalar that is explained: a weighted sum of the model's scores (logits).
///
/// ```
/// use limpid_explain::Objective;
/// assert_eq!(Objective::class(1).value(&[3.0, 5.0]), 5.0);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Objective(Vec<(usize, f32)>);

impl Objective {
    /// The score of one class.
    #[must_use]
    pub fn class(index: usize) -> Self {
        Self(vec![(index, 1.0)])
    }

    /// The classes and their weights.
    #[must_use]
    pub fn weights(&self) -> &[(usize, f32)] {
        &self.0
    }

    /// Its gradient with respect to the scores of `classes` classes: the cotangent.
    ///
    /// # Panics
    /// When it weighs a class that there is not.
    #[must_use]
    pub fn cotangent(&self, classes: usize) -> Vec<f32> {
        let mut cotangent = vec![0.0; classes];
        for (class, weight) in &self.0 {
            cotangent[*class] = *weight;
        }
        cotangent
    }

    /// The objective's value for one row of scores, in f64.
    #[must_use]
    pub fn value(&self, scores: &[f32]) -> f64 {
        let term = |(i, w): &(usize, f32)| f64::from(scores[*i]) * f64::from(*w);
        self.0.iter().map(term).sum()
    }
}

/// Gaussian noise on the picture before the path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// The standard deviation, in units of the normalised input.
    pub scale: f32,
    /// The seed.
    pub seed: u64,
}

/// How the maps of several noise draws become one.
///
/// ```
/// use limpid_explain::Reduce;
/// assert_eq!(Reduce::Squared.name(), "squared");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Reduce {
    /// Their mean (SmoothGrad).
    #[default]
    Mean,
    /// The mean of their squares (SmoothGrad-Squared).
    Squared,
    /// Their variance (VarGrad).
    Variance,
}

impl Reduce {
    /// The names that the parameter `reduce` takes.
    pub const NAMES: [&str; 3] = ["mean", "squared", "variance"];

    /// The name that the parameter `reduce` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Which points are evaluated: for each draw of noise, nodes on the path.
///
/// ```
/// use limpid_explain::{Rule, Schedule};
/// let schedule = Schedule::nested(25, Rule::Midpoint.nodes(64));
/// assert_eq!(schedule.evaluations(), Some(1600));
/// ```
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The number of draws; the noise of draw `d` is sample `d` of the seed.
    pub draws: u64,
    /// The nodes of each draw's path.
    pub nodes: Arc<[Node]>,
}

impl Schedule {
    /// The same nodes for each of `draws`: nested sampling.
    #[must_use]
    pub fn nested(draws: u64, nodes: Vec<Node>) -> Self {
        Self {
            draws,
            nodes: nodes.into(),
        }
    }

    /// How many points there are, if so many can be counted.
    #[must_use]
    pub fn evaluations(&self) -> Option<u64> {
        self.draws.checked_mul(self.nodes.len() as u64)
    }
}

/// What the points of an evaluation have in common.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The normalised input, `[C, H, W]`.
    pub image: &'a Tensor,
    /// The score.
    pub objective: &'a Objective,
    /// The path.
    pub path: &'a dyn Path,
    /// The noise on the picture, if any.
    pub noise: Option<Noise>,
}

/// A sum of gradients along a path: for each draw, the sum over the nodes of
/// weight * gradient at the point * velocity of the point; then reduced.
pub struct Integration<'a> {
    /// What is evaluated.
    pub subject: Subject<'a>,
    /// The points.
    pub schedule: &'a Schedule,
    /// How the draws become one map.
    pub reduce: Reduce,
}

/// Points on a path at which scores are asked for.
pub struct Points<'a> {
    /// What is evaluated.
    pub subject: Subject<'a>,
    /// Draw and position of each point.
    pub points: &'a [(u64, f64)],
}

/// A layer's output and the score's gradient with respect to it.
#[derive(Debug, Clone)]
pub struct LayerGradient {
    /// The output, of the layer's shape without the batch.
    pub activation: Tensor,
    /// The gradient, of the same shape.
    pub gradient: Tensor,
}

/// What an explainer sees of a model and the device that runs it. Whole loops
/// are services, so that their sums stay on the device.
pub trait Context {
    /// Facts about the model.
    fn model(&self) -> &ModelInfo;

    /// The map `[C, H, W]` of an integration.
    ///
    /// # Errors
    /// When the graph cannot be built or run, or the run was cancelled.
    fn integrate(&mut self, request: &Integration<'_>) -> Result<Tensor, ExplainError>;

    /// The objective at points of a path.
    ///
    /// # Errors
    /// As [`integrate`](Self::integrate).
    fn scores(&mut self, request: &Points<'_>) -> Result<Vec<f64>, ExplainError>;

    /// A layer's output and gradient for one picture, as maps `[C, h, w]`; tokens
    /// are laid out on their grid.
    ///
    /// # Errors
    /// When there is no such layer, it is no map of the picture, or no gradient
    /// reaches it.
    fn layer_gradient(
        &mut self,
        image: &Tensor,
        layer: &str,
        objective: &Objective,
    ) -> Result<LayerGradient, ExplainError>;

    /// Runs a small graph of f32 inputs on the device.
    ///
    /// # Errors
    /// When the device cannot run it.
    fn run(&mut self, graph: Graph, inputs: &[&Tensor]) -> Result<Vec<Tensor>, ExplainError>;

    /// A picture from a file, made ready as the model's inputs are: `[C, H, W]`.
    ///
    /// # Errors
    /// When it cannot be read.
    fn picture(&mut self, path: &str) -> Result<Tensor, ExplainError>;

    /// How many times the model ran since this context was made.
    fn evaluations(&self) -> Evaluations;
}
