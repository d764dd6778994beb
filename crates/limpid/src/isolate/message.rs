//! What a worker is asked, and what it answers.

use limpid_explain::{
    Attribution, Completeness, Domain, Evaluations, ExplainError, Given, ModelInfo, Objective,
    Parameters, Readout, SmoothGrad,
};
use limpid_plugin_host::{PluginError, Refused};
use limpid_tensor::Tensor;
use serde::{Deserialize, Serialize};

/// A question; each has one answer that ends it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// What the plugin is.
    Describe,
    /// Whether a method can be made from these parameters.
    Make(Chosen),
    /// Its effective parameters.
    Parameters {
        method: Chosen,
        model: ModelInfo,
        input: Vec<usize>,
    },
    /// Its maps. The picture's numbers are the frame's.
    Explain {
        method: Chosen,
        picture: [usize; 3],
        objectives: Vec<Goal>,
        seed: u64,
    },
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// How far an explanation is; more follows.
    Progress {
        done: u64,
        total: u64,
    },
    /// A sentence for the user; more follows.
    Note(String),
    /// A map, whose numbers are the frame's; more follows.
    Map(Map),
    /// All maps were sent.
    Explained,
    Description(Description),
    Made {
        smoothed: bool,
    },
    Parameters(Parameters),
    Failed(Failure),
}

/// A plugin's methods.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) methods: Vec<Method>,
    pub(super) refused: Vec<Refused>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Method {
    /// Without the plugin's id.
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) output: String,
    pub(super) summary: String,
    /// Schemas by name.
    pub(super) params: Parameters,
    pub(super) smooth: Option<u64>,
}

/// A method with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Chosen {
    /// With the plugin's id.
    pub(super) id: String,
    pub(super) given: Parameters,
    pub(super) smooth: Option<u64>,
}

impl Chosen {
    pub(super) fn new(
        id: &str,
        given: &Given,
        smoothing: Option<SmoothGrad>,
    ) -> Result<Self, ExplainError> {
        let given = serde_json::to_value(given).and_then(serde_json::from_value);
        Ok(Self {
            id: id.to_owned(),
            given: given.map_err(|e| ExplainError::Run(Box::new(e)))?,
            smooth: smoothing.map(|s| s.samples),
        })
    }
}

/// An objective. A weight is the bits of its f32.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Goal {
    weights: Vec<(usize, u32)>,
    readout: Readout,
}

impl From<&Objective> for Goal {
    fn from(objective: &Objective) -> Self {
        let weights = objective.weights().iter();
        Self {
            weights: weights.map(|(class, w)| (*class, w.to_bits())).collect(),
            readout: objective.readout(),
        }
    }
}

impl From<&Goal> for Objective {
    fn from(goal: &Goal) -> Self {
        let weights = goal.weights.iter();
        let weights = weights.map(|(class, bits)| (*class, f32::from_bits(*bits)));
        Self::weighted(weights.collect()).read_as(goal.readout)
    }
}

/// A map without its numbers, which are the map's and then, where it has one,
/// the standard error's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Map {
    shape: Vec<usize>,
    domain: Domain,
    has_error: bool,
    signed: bool,
    /// What the attributions should add up to.
    expected: Option<f64>,
    evaluations: Evaluations,
}

impl From<&Attribution> for Map {
    fn from(map: &Attribution) -> Self {
        Self {
            shape: map.map.dims().to_vec(),
            domain: map.domain.clone(),
            has_error: map.standard_error.is_some(),
            signed: map.signed,
            expected: map.completeness.map(|c| c.expected),
            evaluations: map.evaluations,
        }
    }
}

impl Map {
    /// The map with its numbers.
    pub(super) fn attribution(self, numbers: &[f32]) -> Result<Attribution, ExplainError> {
        let (values, error) = match self.has_error {
            true => numbers.split_at(numbers.len() / 2),
            false => (numbers, &[][..]),
        };
        let dims = &self.shape[..];
        let error = self.has_error.then(|| Tensor::from_slice(dims, error));
        let map = Tensor::from_slice(dims, values)?;
        let mut attribution = Attribution {
            signed: self.signed,
            standard_error: error.transpose()?,
            ..Attribution::new(map, self.domain, self.evaluations)
        };
        let total = attribution.total();
        attribution.completeness = self.expected.map(|e| Completeness::new(total, e));
        Ok(attribution)
    }
}

/// What went wrong in a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    Cancelled,
    /// The call was wrong.
    Refused {
        method: String,
        message: String,
    },
    Plugin {
        plugin: String,
        message: String,
    },
    Other(String),
}

impl Failure {
    /// An error that has nothing to do with the call.
    pub(super) fn other(error: impl ToString) -> Self {
        Self::Other(error.to_string())
    }

    /// The library cannot be used.
    pub(super) fn of_plugin(error: &PluginError) -> Self {
        Self::Refused {
            method: String::new(),
            message: error.to_string(),
        }
    }
}

impl From<ExplainError> for Failure {
    fn from(error: ExplainError) -> Self {
        let message = error.to_string();
        match error {
            ExplainError::Cancelled => Self::Cancelled,
            ExplainError::Plugin { plugin, message } => Self::Plugin { plugin, message },
            ExplainError::Parameter { method, .. }
            | ExplainError::Conflict { method, .. }
            | ExplainError::Refused { method, .. } => Self::Refused { method, message },
            _ => Self::Other(message),
        }
    }
}

/// An error of a worker, in its words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reported(String);

impl From<Failure> for ExplainError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Cancelled => Self::Cancelled,
            Failure::Refused { method, message } => Self::Refused { method, message },
            Failure::Plugin { plugin, message } => Self::Plugin { plugin, message },
            Failure::Other(message) => Self::Run(Box::new(Reported(message))),
        }
    }
}
