use limpid_device::DeviceError;
use limpid_explain::ExplainError;
use limpid_graph::GraphError;
use limpid_model::{LabelError, ModelError};
use limpid_plugin_host::PluginError;
use limpid_render::RenderError;
use limpid_tensor::TensorError;

/// What can go wrong in a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of a model or picture.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A target's label.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A method, its parameters, or its run.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// A plugin's file.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The model's graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Memory.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A picture or file of a map.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A target asks for more classes than there are.
    #[error("top:{asked} asks for {asked} classes; ask for 1 to {classes}")]
    TooManyClasses {
        /// The classes asked for.
        asked: usize,
        /// The classes that there are.
        classes: usize,
    },
    /// A target asks for tags of a network that has none.
    #[error(
        "the classes of {model} exclude each other, so it has no tags: give top:K in place of tags"
    )]
    NoTags {
        /// The model.
        model: String,
    },
    /// No tag is probable enough.
    #[error("no tag has a probability of at least {least}: ask for less, as in tags:0.1")]
    NoProbableTag {
        /// The least probability asked for.
        least: f64,
    },
    /// The right side of a comparison is not one class.
    #[error("a class is compared with one other; the target behind `vs` means {found}")]
    NotOneClass {
        /// The classes that it means.
        found: usize,
    },
    /// A class is compared with itself.
    #[error("class {index} is compared with itself")]
    SameClass {
        /// The class.
        index: usize,
    },
    /// The model's scores are not finite.
    #[error(
        "the model's scores for {input} are not finite: it overflows on this input in {precision}"
    )]
    NonFiniteScores {
        /// What the device computes in; f32 has the widest range.
        precision: String,
        /// The input.
        input: String,
    },
    /// One picture alone needs more memory than the bound.
    #[error(
        "one picture needs {needed} bytes of working memory, the bound is {bound}: raise --memory"
    )]
    Memory {
        /// The bytes that batch 1 needs.
        needed: u64,
        /// The bound.
        bound: u64,
    },
    /// What a pass through the model would keep takes more than the bound.
    #[error(
        "what is asked of the pictures' pass takes {needed} bytes, the bound is {bound}: ask for fewer pictures or layers, or raise --memory"
    )]
    Results {
        /// The bytes of all results.
        needed: u64,
        /// The bound.
        bound: u64,
    },
    /// A mask does not fit its picture.
    #[error("the mask of `{region}` has {} x {} pixels, the picture {} x {}", found[1], found[0], expected[1], expected[0])]
    MaskSize {
        /// The region.
        region: String,
        /// Height and width of the mask.
        found: [usize; 2],
        /// Height and width of the picture.
        expected: [usize; 2],
    },
    /// A blur that there is not.
    #[error("a blur has a standard deviation of zero or more pixels, not {sigma}")]
    Blur {
        /// The standard deviation asked for.
        sigma: f32,
    },
    /// An input of neither one nor three channels has no picture to draw on.
    #[error("{0} is no picture to draw on")]
    NoPicture(String),
}

impl Error {
    /// Whether something smaller may fit where this did not.
    pub(crate) fn is_of_size(&self) -> bool {
        match self {
            Self::Memory { .. } => true,
            Self::Device(e) => e.is_of_size(),
            _ => false,
        }
    }

    /// Whether the call was wrong (a method, a parameter or an option that
    /// does not exist or does not fit), rather than a file or a run.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Plugin(_)
                | Self::Explain(
                    ExplainError::UnknownMethod { .. }
                        | ExplainError::UnknownMetric { .. }
                        | ExplainError::Parameter { .. }
                        | ExplainError::Conflict { .. }
                        | ExplainError::Refused { .. }
                )
        )
    }
}
