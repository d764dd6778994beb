//! Models: a graph with its weights, labels and preprocessing.

use crate::{Config, Description, Labels, ModelError, Preprocess, Weights, transformers};
use limpid_graph::{Constant, Graph, nearest_names};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

mod from_onnx;
mod save;

pub use save::SaveOptions;

/// A model that is ready to be run: an architecture bound to weights, with the
/// names of its classes and the preprocessing of its pictures.
#[derive(Debug, Clone)]
pub struct Model {
    name: String,
    architecture: String,
    description: Description,
    weights_file: String,
    tensors: BTreeMap<String, Constant>,
    labels: Labels,
    preprocess: Preprocess,
    payload: Option<&'static [u8]>,
    sha256: OnceLock<String>,
    notes: Vec<String>,
    /// Why pictures run one by one, where they do.
    alone: Option<String>,
    /// Whether each class is a tag by itself.
    tags: bool,
}

impl Model {
    /// Opens an `.onnx` file, or a bundle: a directory with `model.safetensors`
    /// and `config.json`, and with `graph.json` where the architecture is not a
    /// built-in one.
    ///
    /// The weights of a bundle are read again when a device prepares them: the file
    /// stays open, may be replaced, and must not be written to.
    ///
    /// # Errors
    /// When a file is missing, damaged or does not fit the others; the message
    /// names it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let directory = path.as_ref();
        let onnx = directory
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("onnx"));
        if onnx && !directory.is_dir() {
            return Self::open_onnx(directory);
        }
        let name = directory.display().to_string();
        let not = |reason: &str| ModelError::NotAModel {
            name: name.clone(),
            reason: reason.to_owned(),
        };
        if !directory.is_dir() {
            return Err(not(if directory.exists() {
                "it is neither a directory nor an .onnx file; give a directory that holds config.json and model.safetensors, or such a file"
            } else {
                "it does not exist; give a directory that holds config.json and model.safetensors, or an .onnx file"
            }));
        }
        let (weights, config, graph) = (
            directory.join("model.safetensors"),
            directory.join("config.json"),
            directory.join("graph.json"),
        );
        if !weights.exists() {
            return Err(not(
                if directory.join("model.safetensors.index.json").exists() {
                    "its weights are split into several files; merge them into one model.safetensors"
                } else {
                    "it has no model.safetensors; export the weights in that format (pickled files such as .bin and .pth are never read)"
                },
            ));
        }
        let description = if graph.exists() {
            Some(Description::open(graph)?)
        } else {
            None
        };
        let config = if config.exists() {
            Config::open(config)?
        } else if description.is_some() {
            Config::empty(&config.display().to_string())
        } else {
            return Err(not("it has neither config.json nor graph.json"));
        };
        let (description, config) = match description {
            Some(d) => (
                Some(d),
                transformers::with_preprocessing(directory, &config)?,
            ),
            None if config.architecture()?.is_some() => (None, config),
            None => match transformers::read(directory, &config)? {
                Some((description, config)) => (Some(description), config),
                None => (None, config),
            },
        };
        let weights = Weights::open(weights)?;
        // Hashing takes about as long as binding.
        let (model, sha256) = std::thread::scope(|scope| {
            let hash = scope.spawn(|| weights.sha256());
            let model = Self::assemble(&name, &config, description, &weights);
            (model, hash.join())
        });
        let model = model?;
        let sha256 = sha256.unwrap_or_else(|_| weights.sha256())?;
        Ok(Self {
            sha256: OnceLock::from(sha256),
            ..model
        })
    }

    /// Puts a model together from its parts. `description` goes before the
    /// architecture that `config` names.
    ///
    /// # Errors
    /// When the parts do not fit each other.
    pub fn from_parts(
        name: &str,
        config: &Config,
        description: Option<Description>,
        weights: &Weights,
    ) -> Result<Self, ModelError> {
        let model = Self::assemble(name, config, description, weights)?;
        Ok(Self {
            sha256: OnceLock::from(weights.sha256()?),
            ..model
        })
    }

    /// A model whose payload is part of the program and hashed when asked for.
    pub(crate) fn from_static(
        name: &str,
        config: &Config,
        payload: &'static [u8],
    ) -> Result<Self, ModelError> {
        let weights = Weights::from_bytes(payload, &format!("{name}/model.safetensors"))?;
        let model = Self::assemble(name, config, None, &weights)?;
        Ok(Self {
            payload: Some(payload),
            ..model
        })
    }

    fn assemble(
        name: &str,
        config: &Config,
        description: Option<Description>,
        weights: &Weights,
    ) -> Result<Self, ModelError> {
        let architecture = config.architecture()?;
        let description = match (description, architecture) {
            (Some(description), _) => description,
            (None, Some(architecture)) => {
                Description::built_in(architecture)?.ok_or_else(|| {
                    ModelError::UnknownArchitecture {
                        file: config.file().to_owned(),
                        name: architecture.to_owned(),
                        near: nearest_names(architecture, Description::known()),
                    }
                })?
            }
            (None, None) => {
                return Err(config.wrong(
                    "architecture",
                    "is missing; name one, or put a graph.json beside the file",
                ));
            }
        };
        let tensors = description.bind(weights)?;
        let unused: Vec<&str> = weights
            .names()
            .filter(|n| !tensors.contains_key(*n))
            .collect();
        let notes = unused_note(weights, &unused).into_iter().collect();
        let architecture = architecture
            .or(config.transformers_class()?)
            .unwrap_or("graph.json")
            .to_owned();
        Self::finish(
            name,
            architecture,
            config,
            description,
            tensors,
            weights.file(),
            notes,
            None,
        )
    }

    /// What remains once the weights are bound: preprocessing, classes, labels.
    /// `alone` says why pictures must run one by one, where they must.
    fn finish(
        name: &str,
        architecture: String,
        config: &Config,
        description: Description,
        tensors: BTreeMap<String, Constant>,
        weights_file: &str,
        notes: Vec<String>,
        alone: Option<String>,
    ) -> Result<Self, ModelError> {
        let channels = description.input_channels(&tensors);
        let preprocess = config.preprocess(description.defaults(), channels)?;
        if description.fixed_size() && preprocess.input_size() != description.input_shape() {
            return Err(config.wrong(
                "input_size",
                &format!(
                    "is {:?}, and {} takes {:?} alone; correct the key",
                    preprocess.input_size(),
                    description.file(),
                    description.input_shape()
                ),
            ));
        }
        let mut model = Self {
            name: name.to_owned(),
            architecture,
            weights_file: weights_file.to_owned(),
            description,
            tensors,
            labels: Labels::default(),
            preprocess,
            payload: None,
            sha256: OnceLock::new(),
            notes,
            alone,
            tags: config.multi_label()?,
        };
        let classes = crate::batch::classes(
            &model.description,
            &model.tensors,
            model.preprocess.input_size(),
            &model.weights_file,
            model.max_batch(),
        )?;
        if let Some(stated) = config.num_classes()?
            && stated != classes
        {
            return Err(config.wrong(
                "num_classes",
                &format!(
                    "is {stated}, and the classifier of {} has {classes} classes; correct the key",
                    model.weights_file
                ),
            ));
        }
        model.notes.extend_from_slice(config.notes());
        model.labels = match config.label_names()? {
            None => {
                model.notes.push(format!(
                    "{} has no label_names; classes have numbers only",
                    config.file()
                ));
                Labels::unnamed(classes)
            }
            Some(names) if names.len() == classes => Labels::new(names),
            Some(names) => {
                return Err(config.wrong(
                    "label_names",
                    &format!(
                        "has {} names, and the classifier of {} has {classes} classes; correct the key or remove it",
                        names.len(),
                        model.weights_file
                    ),
                ));
            }
        };
        Ok(model)
    }

    /// The graph for `batch` pictures: input `[batch, C, H, W]` of the
    /// preprocessing's size, output logits `[batch, classes]`, layers named by
    /// module path. Graphs of one model share their weights.
    ///
    /// # Errors
    /// When a shape does not fit the operators.
    pub fn graph(&self, batch: usize) -> Result<Graph, ModelError> {
        self.description.graph(
            &self.tensors,
            self.preprocess.input_size(),
            batch,
            &self.weights_file,
        )
    }

    /// The most pictures that [`Model::graph`] can be asked for at once, where
    /// there is such a number: an ONNX file may have the batch that it was
    /// exported for built into it.
    #[must_use]
    pub fn max_batch(&self) -> Option<usize> {
        self.alone.as_ref().map(|_| 1)
    }

    /// The path, or the name of the embedded model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The architecture, or `graph.json` where the configuration names none.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The names of the classes.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The preprocessing of pictures.
    #[must_use]
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The weights that the graph uses, by name. The large ones of a bundle stay
    /// in its file, which is kept open; those of an ONNX file are in memory.
    #[must_use]
    pub fn tensors(&self) -> &BTreeMap<String, Constant> {
        &self.tensors
    }

    /// The number of parameters, as frameworks count them: what training
    /// changes, so without the running statistics of batch normalisation.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let statistics = self.description.statistics();
        let names = self.description.tensor_names();
        let trained = names.difference(&statistics);
        let sizes = trained.filter_map(|name| self.tensors.get(*name));
        sizes.map(Constant::elements).sum()
    }

    /// The SHA-256 of model.safetensors, in 64 lower-case hexadecimal digits.
    /// The embedded model's is computed at the first call.
    #[must_use]
    pub fn sha256(&self) -> &str {
        self.sha256
            .get_or_init(|| crate::file::sha256_hex(self.payload.unwrap_or_default()))
    }

    /// Whether each class is a tag by itself, so that a picture can have several:
    /// the configuration's `problem_type` is `multi_label_classification`, or an
    /// ONNX file ends in a sigmoid.
    #[must_use]
    pub fn is_multi_label(&self) -> bool {
        self.tags
    }

    /// Remarks on the files that do not stand in the way, for people.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Refuses an input whose shape is not the model's.
    ///
    /// # Errors
    /// [`ModelError::InputShape`]
    pub fn check_input(&self, input: &crate::Input) -> Result<(), ModelError> {
        let expected = self.preprocess.input_size();
        if input.tensor().dims() == expected {
            return Ok(());
        }
        Err(ModelError::InputShape {
            file: input
                .path()
                .map_or_else(|| "the input".to_owned(), |p| p.display().to_string()),
            expected: expected.to_vec(),
            found: input.tensor().dims().to_vec(),
        })
    }
}

fn unused_note(weights: &Weights, unused: &[&str]) -> Option<String> {
    let first = unused.first()?;
    Some(format!(
        "{} has {} tensor{} that the architecture does not use, such as `{first}`",
        weights.file(),
        unused.len(),
        if unused.len() == 1 { "" } else { "s" }
    ))
}
