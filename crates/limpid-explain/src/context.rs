use crate::{Evaluations, ExplainError, Node, Objective, Path};
use limpid_graph::Graph;
use limpid_graph::passes::Rule;
use limpid_tensor::{Shape, Tensor};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// What explainers know about a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The number of scores.
    pub classes: usize,
    /// Black, in each channel of the normalised input.
    pub black: Vec<f32>,
    /// White, in each channel of the normalised input.
    pub white: Vec<f32>,
    /// The layer that a class activation map uses by default: the input of global pooling.
    pub cam_layer: Option<String>,
    /// The layers that a class activation map can use, in the order in which
    /// they run; of several names for one value the shortest, which is the
    /// outermost module's.
    pub cam_layers: Vec<String>,
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

    /// The reducer of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Mean, Self::Squared, Self::Variance];
        all.into_iter().find(|r| r.name() == name)
    }
}

/// A point: which draw of noise, and where on the path.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// The draw; its noise is this sample of the seed's.
    pub draw: u64,
    /// Where on the path, in the path's own unit.
    pub position: f64,
}

impl Sample {
    /// Without noise, at this position.
    #[must_use]
    pub fn at(position: f64) -> Self {
        Self { draw: 0, position }
    }
}

/// A point with its weight in a sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighted {
    /// The point.
    pub sample: Sample,
    /// The weight.
    pub weight: f64,
    /// Which of several sums it is added to.
    pub row: usize,
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
    /// The path.
    pub path: &'a dyn Path,
    /// The noise on the picture, if any.
    pub noise: Option<Noise>,
    /// How operators pass their gradients on.
    pub rule: Rule,
}

impl<'a> Subject<'a> {
    /// A path from a picture, without noise, by the derivative.
    #[must_use]
    pub fn new(image: &'a Tensor, path: &'a dyn Path) -> Self {
        Self {
            image,
            path,
            noise: None,
            rule: Rule::Standard,
        }
    }
}

/// A sum of gradients along a path: for each draw, the sum over the nodes of
/// weight * gradient at the point * velocity of the point; then reduced.
pub struct Integration<'a> {
    /// What is evaluated.
    pub subject: Subject<'a>,
    /// The score.
    pub objective: &'a Objective,
    /// The points.
    pub schedule: &'a Schedule,
    /// How the draws become one map.
    pub reduce: Reduce,
}

/// Several sums of gradients whose points are chosen as they go.
pub struct Accumulation<'a> {
    /// What is evaluated.
    pub subject: Subject<'a>,
    /// The score.
    pub objective: &'a Objective,
    /// The number of sums.
    pub rows: usize,
    /// What the sums begin with, `[C, H, W]` each; empty stands for zeros.
    pub initial: Vec<Tensor>,
    /// The number of evaluations that are expected, for reports of progress.
    pub expected: u64,
}

/// Chooses the points of an [`Accumulation`], block by block.
pub trait Planner {
    /// The next block, or nothing at the end. `sums` makes the sums so far,
    /// `[C, H, W]` each.
    ///
    /// # Errors
    /// Those of `sums`, or its own.
    fn next(&mut self, sums: &mut Sums<'_>) -> Result<Vec<Weighted>, ExplainError>;
}

/// Makes the sums of an [`Accumulation`] so far.
pub type Sums<'a> = dyn FnMut() -> Result<Vec<Tensor>, ExplainError> + 'a;

/// Points on a path at which scores are asked for.
pub struct Points<'a> {
    /// What is evaluated.
    pub subject: Subject<'a>,
    /// The scores.
    pub objectives: &'a [Objective],
    /// The points.
    pub points: &'a [Sample],
}

/// Points on a path at which gradients are asked for.
pub struct Gradients<'a> {
    /// What is evaluated.
    pub subject: Subject<'a>,
    /// The score.
    pub objective: &'a Objective,
    /// The points.
    pub points: &'a [Sample],
    /// Whether each gradient is multiplied by the path's velocity.
    pub times_velocity: bool,
}

/// Is shown each point's number and gradient, `[C, H, W]` in C order.
pub type Visit<'a> = dyn FnMut(usize, &[f32]) -> Result<(), ExplainError> + 'a;

/// A layer's output and scores' gradients with respect to it.
#[derive(Debug, Clone)]
pub struct LayerGradients {
    /// The output; a map is `[C, h, w]`.
    pub activation: Tensor,
    /// The gradient of each objective, of the same shape.
    pub gradients: Vec<Tensor>,
}

/// Changed outputs of a layer, from which scores are asked for.
pub struct LayerVariants<'a> {
    /// The normalised input, `[C, H, W]`.
    pub image: &'a Tensor,
    /// The layer.
    pub layer: &'a str,
    /// The scores.
    pub objectives: &'a [Objective],
    /// The number of variants.
    pub count: usize,
}

/// Makes a variant out of its number and the layer's output, `[C, h, w]` in C
/// order.
pub type Vary<'a> = dyn FnMut(usize, &mut [f32]) -> Result<(), ExplainError> + 'a;

/// The weights of an attention, and scores' gradients with respect to them.
#[derive(Debug, Clone)]
pub struct Attention {
    /// `[heads, T, T]`: row t holds the weights by which token t reads the others.
    pub weights: Tensor,
    /// The gradient of each objective, of the same shape.
    pub gradients: Vec<Tensor>,
}

/// The attentions of a network in which every token can read every other.
#[derive(Debug, Clone)]
pub struct Attentions {
    /// In the order in which they run.
    pub layers: Vec<Attention>,
    /// The tokens before the picture's: class and register tokens.
    pub before: usize,
    /// The rows of the picture's tokens.
    pub rows: usize,
    /// Their columns.
    pub columns: usize,
    /// Whether the scores are read from the first token; else all tokens are
    /// averaged.
    pub class_token: bool,
}

/// Pictures of a folder, made ready as the model's inputs are.
pub trait Pictures: Send + Sync {
    /// How many there are; at least one.
    fn count(&self) -> usize;

    /// One of them, `[C, H, W]`.
    ///
    /// # Errors
    /// When it cannot be read.
    fn picture(&self, index: usize) -> Result<Arc<Tensor>, ExplainError>;
}

/// Numbers where the model runs. Copies share them; they are freed with the
/// last one.
#[derive(Clone)]
pub struct DeviceTensor {
    shape: Shape,
    storage: Arc<dyn Any + Send + Sync>,
}

impl DeviceTensor {
    /// A tensor that a context keeps in its own way.
    #[must_use]
    pub fn new(shape: Shape, storage: Arc<dyn Any + Send + Sync>) -> Self {
        Self { shape, storage }
    }

    /// The extents.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.shape
    }

    /// The bytes of its numbers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let elements = self.shape.iter().map(|d| *d as u64);
        elements.fold(4, u64::saturating_mul)
    }

    /// What the context made, if it is one of its own.
    ///
    /// # Errors
    /// [`ExplainError::Foreign`] for a tensor of another context.
    pub fn storage<T: Any>(&self) -> Result<&T, ExplainError> {
        self.storage.downcast_ref().ok_or(ExplainError::Foreign)
    }
}

impl std::fmt::Debug for DeviceTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceTensor {}", self.shape)
    }
}

/// Pictures that are put through the model where they lie.
#[derive(Clone, Copy)]
pub struct Passes<'a> {
    /// The pictures, `[N, C, H, W]`.
    pub pictures: &'a DeviceTensor,
    /// The score of which gradients are taken; none for a forward pass alone.
    pub objective: Option<&'a Objective>,
    /// How operators pass their gradients on.
    pub rule: Rule,
    /// The layers whose outputs and gradients are wanted, by name; an empty
    /// name stands for the pictures.
    pub layers: &'a [String],
}

impl<'a> Passes<'a> {
    /// A forward pass of pictures, without layers.
    #[must_use]
    pub fn of(pictures: &'a DeviceTensor) -> Self {
        Self {
            pictures,
            objective: None,
            rule: Rule::Standard,
            layers: &[],
        }
    }
}

/// What pictures became on their way through the model.
#[derive(Debug, Clone)]
pub struct Passed {
    /// The logits, `[N, classes]`.
    pub logits: DeviceTensor,
    /// The output of each layer, of the layer's own shape, `[N, ...]`.
    pub activations: Vec<DeviceTensor>,
    /// The objective's gradient with respect to each, of the same shape; empty
    /// without an objective.
    pub gradients: Vec<DeviceTensor>,
}

/// What a run may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pictures that are put through the model at once; more are split.
    pub batch: u64,
    /// Threads that the run may use.
    pub threads: u64,
    /// Bytes that tensors of an explainer may take together.
    pub bytes: u64,
}

/// What an explainer sees of a model and the device that runs it. Whole loops
/// are services, so that their sums stay on the device. Each counts what it
/// runs, reports progress and ends when the run is cancelled.
pub trait Context {
    /// Facts about the model.
    fn model(&self) -> &ModelInfo;

    /// The map `[C, H, W]` of an integration.
    ///
    /// # Errors
    /// When the graph cannot be built or run, or the run was cancelled.
    fn integrate(&mut self, request: &Integration<'_>) -> Result<Tensor, ExplainError>;

    /// The sums of an accumulation, `[rows, C, H, W]`; each adds its terms in
    /// the order in which the planner puts them.
    ///
    /// # Errors
    /// As [`integrate`](Self::integrate), and the planner's.
    fn accumulate(
        &mut self,
        request: &Accumulation<'_>,
        planner: &mut dyn Planner,
    ) -> Result<DeviceTensor, ExplainError>;

    /// Shows the gradient at each point in turn.
    ///
    /// # Errors
    /// As [`integrate`](Self::integrate), and what `visit` returns.
    fn gradients(
        &mut self,
        request: &Gradients<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ExplainError>;

    /// The objectives at points of a path: for each point a row of their values.
    ///
    /// # Errors
    /// As [`integrate`](Self::integrate).
    fn scores(&mut self, request: &Points<'_>) -> Result<Vec<f64>, ExplainError>;

    /// Layers' outputs and gradients for one picture, as maps `[C, h, w]`;
    /// tokens are laid out on their grid. One forward pass, and one batch of
    /// vector-Jacobian products down to the lowest layer, which counts as one
    /// gradient for each objective; outputs alone, and a forward pass, where
    /// there are no objectives.
    ///
    /// # Errors
    /// When there is no such layer, it is no map of the picture, or no gradient
    /// reaches it.
    fn layer_gradients(
        &mut self,
        image: &Tensor,
        layers: &[String],
        objectives: &[Objective],
    ) -> Result<Vec<LayerGradients>, ExplainError>;

    /// The objectives after changes of a layer's output: for each variant a row
    /// of their values. What the layer does not change is computed once a batch.
    ///
    /// # Errors
    /// As [`layer_gradients`](Self::layer_gradients).
    fn layer_scores(
        &mut self,
        request: &LayerVariants<'_>,
        vary: &mut Vary<'_>,
    ) -> Result<Vec<f64>, ExplainError>;

    /// The network's attentions.
    ///
    /// # Errors
    /// [`ExplainError::NoAttention`] for a network without attention between
    /// all tokens.
    fn attentions(
        &mut self,
        image: &Tensor,
        objectives: &[Objective],
    ) -> Result<Attentions, ExplainError>;

    /// A copy of a tensor where the model runs.
    ///
    /// # Errors
    /// When memory is short.
    fn upload(&mut self, tensor: &Tensor) -> Result<DeviceTensor, ExplainError>;

    /// A copy of a tensor that is where the model runs.
    ///
    /// # Errors
    /// When it is another context's, or memory is short.
    fn download(&mut self, tensor: &DeviceTensor) -> Result<Tensor, ExplainError>;

    /// Runs a small graph of f32 inputs and outputs where they lie: any
    /// operators, among them
    /// [`HeatKernel`](limpid_graph::ops::HeatKernel) (blurs at many scales),
    /// [`WeightedSum`](limpid_graph::ops::WeightedSum) (linear combinations,
    /// added to a sum),
    /// [`RunningMoments`](limpid_graph::ops::RunningMoments) (a streaming mean
    /// and variance) and the reductions.
    ///
    /// # Errors
    /// When the inputs do not fit or the device cannot run it.
    fn compute(
        &mut self,
        graph: &Graph,
        inputs: &[&DeviceTensor],
    ) -> Result<Vec<DeviceTensor>, ExplainError>;

    /// Pictures under noise: `[1 or draws, C, H, W]` becomes
    /// `[draws, C, H, W]`, picture n with the noise of draw `first + n`, which
    /// is that of the same draw everywhere.
    ///
    /// # Errors
    /// When the pictures do not fit or memory is short.
    fn noise(
        &mut self,
        pictures: &DeviceTensor,
        noise: Noise,
        draws: Range<u64>,
    ) -> Result<DeviceTensor, ExplainError>;

    /// Puts pictures through the model, and gradients back to any layers. More
    /// of them than the limits' batch are split. Counts a gradient for each
    /// picture; a forward pass without an objective.
    ///
    /// # Errors
    /// When there is no such layer, the objective does not depend on it, or the
    /// run was cancelled.
    fn pass(&mut self, request: &Passes<'_>) -> Result<Passed, ExplainError>;

    /// Runs a small graph of f32 inputs on the device.
    ///
    /// # Errors
    /// As [`compute`](Self::compute).
    fn run(&mut self, graph: &Graph, inputs: &[&Tensor]) -> Result<Vec<Tensor>, ExplainError> {
        let inputs = inputs.iter().map(|t| self.upload(t));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let outputs = self.compute(graph, &inputs.iter().collect::<Vec<_>>())?;
        outputs.iter().map(|t| self.download(t)).collect()
    }

    /// A picture from a file, made ready as the model's inputs are: `[C, H, W]`.
    ///
    /// # Errors
    /// When it cannot be read.
    fn picture(&mut self, path: &str) -> Result<Tensor, ExplainError>;

    /// The pictures of a folder, in byte order.
    ///
    /// # Errors
    /// When it cannot be read or has none.
    fn pictures(&mut self, folder: &str) -> Result<Arc<dyn Pictures>, ExplainError>;

    /// How many times the model ran since this context was made.
    fn evaluations(&self) -> Evaluations;

    /// What the run may take.
    fn limits(&self) -> Limits;

    /// Ends a run that was cancelled; for methods that compute by themselves
    /// for long.
    ///
    /// # Errors
    /// [`ExplainError::Cancelled`].
    fn check(&self) -> Result<(), ExplainError>;

    /// Reports progress that no service does: passes done, and passes known to
    /// be needed, by the explainer's own count.
    fn progress(&mut self, done: u64, total: u64);

    /// Tells the user something that is no error.
    fn note(&mut self, text: &str);
}
