use crate::{Device, Error, Labels, ModelError, Preprocess, SaveOptions, Session, SessionOptions};
use limpid_graph::grid::{Grid, Maps};
use limpid_graph::ops::Op;
use limpid_graph::passes::lower;
use limpid_graph::{Fact, Graph, Node, ValueId};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// A model: its graph, weights, preprocessing and labels.
///
/// ```
/// let model = limpid::Model::embedded()?;
/// assert_eq!(model.architecture(), "tf_efficientnet_lite0");
/// assert_eq!(model.labels().len(), 1000);
/// assert_eq!(model.preprocess().input_size(), [3, 224, 224]);
/// assert_eq!(model.sha256().len(), 64);
/// assert!(model.notes().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Model(Arc<limpid_model::Model>);

/// A layer of a model, as `limpid model inspect` lists it.
#[derive(Debug, Clone, Serialize)]
pub struct LayerInfo {
    /// Its name: the module's path.
    pub name: String,
    /// The operator that makes its output.
    pub op: &'static str,
    /// The shape of its output, without the batch.
    pub shape: Vec<usize>,
    /// The parameters that its operator reads, without running statistics.
    pub parameters: u64,
    /// Multiply-adds of its operator for one picture.
    pub multiply_adds: u64,
    /// Whether a class activation map can use it: a grid of more than one cell
    /// that the scores depend on.
    pub cam: bool,
    /// Rows and columns of that grid, which may be one axis of tokens.
    pub grid: Option<[usize; 2]>,
}

impl Model {
    /// A bundle directory or an `.onnx` file (what exists or has a separator in
    /// it), or the name of the embedded model.
    ///
    /// A bundle's weights are read again when they are needed: their file stays open
    /// and may be replaced, but not written to, while the model is in use.
    ///
    /// # Errors
    /// When a file is missing, damaged or does not fit the others.
    ///
    /// ```
    /// let model = limpid::Model::open("tf_efficientnet_lite0")?;
    /// assert_eq!(model.name(), "tf_efficientnet_lite0");
    /// assert!(limpid::Model::open("no/such/folder").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(model: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self(Arc::new(limpid_model::Model::find(model)?)))
    }

    /// The names of the built-in architectures, in byte order: for them a bundle
    /// needs weights and a config.json alone. Those that begin with `hf.` are
    /// the transformers library's, found by the configuration.
    ///
    /// ```
    /// assert!(limpid::Model::architectures().any(|name| name == "resnet50"));
    /// ```
    pub fn architectures() -> impl Iterator<Item = &'static str> {
        limpid_model::Description::known()
    }

    /// The embedded ImageNet classifier.
    ///
    /// # Errors
    /// None but for a lack of memory.
    pub fn embedded() -> Result<Self, ModelError> {
        limpid_model::Model::embedded().map(|m| Self(Arc::new(m)))
    }

    /// The model on a device, with default options.
    ///
    /// # Errors
    /// When the device cannot run the model.
    ///
    /// ```
    /// let session = limpid::Model::embedded()?.session(limpid::Device::auto()?)?;
    /// assert_eq!(session.device().capabilities().kind.name(), "cpu");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn session(&self, device: Device) -> Result<Session, Error> {
        Session::new(self.clone(), device, SessionOptions::default())
    }

    /// The directory, or the name of the embedded model.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The architecture.
    #[must_use]
    pub fn architecture(&self) -> &str {
        self.0.architecture()
    }

    /// The names of the classes.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        self.0.labels()
    }

    /// The preprocessing of pictures.
    #[must_use]
    pub fn preprocess(&self) -> &Preprocess {
        self.0.preprocess()
    }

    /// Whether each class is a tag by itself, so that a picture can have
    /// several.
    ///
    /// ```
    /// assert!(!limpid::Model::embedded()?.is_multi_label());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_multi_label(&self) -> bool {
        self.0.is_multi_label()
    }

    /// The SHA-256 of model.safetensors, in hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        self.0.sha256()
    }

    /// Remarks on the files, for people.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        self.0.notes()
    }

    /// The number of parameters, as frameworks count them: what training
    /// changes, so without the running statistics of batch normalisation.
    ///
    /// ```
    /// assert_eq!(limpid::Model::embedded()?.parameters(), 4_652_008);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.0.parameters()
    }

    /// The layers in the order in which they run.
    ///
    /// # Errors
    /// When the graph does not fit its configuration.
    ///
    /// ```
    /// let layers = limpid::Model::embedded()?.layers()?;
    /// let head = layers.iter().find(|l| l.name == "bn2").ok_or("no such layer")?;
    /// assert!(head.cam && head.shape == [1280, 7, 7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn layers(&self) -> Result<Vec<LayerInfo>, Error> {
        let graph = self.graph()?;
        let reaches = reaches_output(&graph);
        let lowered = lower(&graph)?;
        let maps = Maps::of(&lowered);
        let mut layers: Vec<(ValueId, LayerInfo)> = graph
            .layers()
            .iter()
            .filter_map(|(name, &v)| {
                let (_, node) = graph.producer(v)?;
                let shape = graph.fact(v).shape.get(1..).unwrap_or_default().to_vec();
                let grid = lowered.layers().get(name).and_then(|v| maps.grid(*v));
                let info = LayerInfo {
                    name: name.clone(),
                    op: node.op.name(),
                    parameters: weights(&graph, node).map(|(_, size)| size).sum(),
                    multiply_adds: multiply_adds(&graph, node),
                    cam: grid.is_some_and(|g| g.is_map()) && reaches[v.index()],
                    grid: grid.filter(Grid::is_map).map(|g| [g.rows, g.columns]),
                    shape,
                };
                Some((v, info))
            })
            .collect();
        layers.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
        Ok(layers.into_iter().map(|(_, l)| l).collect())
    }

    /// Multiply-adds of the whole graph for one picture.
    ///
    /// # Errors
    /// When the graph does not fit its configuration.
    ///
    /// ```
    /// let millions = limpid::Model::embedded()?.multiply_adds()? / 1_000_000;
    /// assert_eq!(millions, 385);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn multiply_adds(&self) -> Result<u64, Error> {
        let graph = self.graph()?;
        Ok(graph.nodes().iter().map(|n| multiply_adds(&graph, n)).sum())
    }

    /// The layer that a class activation map uses by default: the input of
    /// global pooling, by its shortest name, which is the outermost module's; with
    /// a class token, the normalised input of the last attention.
    ///
    /// # Errors
    /// When the graph does not fit its configuration.
    ///
    /// ```
    /// assert_eq!(limpid::Model::embedded()?.cam_layer()?.as_deref(), Some("bn2"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cam_layer(&self) -> Result<Option<String>, Error> {
        Ok(Maps::of(&lower(&self.graph()?)?).default_layer())
    }

    /// The most evaluations that the model can do at once, where there is such a
    /// number: an ONNX file may have its batch built in.
    #[must_use]
    pub fn max_batch(&self) -> Option<usize> {
        self.0.max_batch()
    }

    /// Writes the model as a bundle: `graph.json`, `model.safetensors` and
    /// `config.json` in a new directory, which appears when all is written.
    ///
    /// # Errors
    /// When the directory exists, an option does not fit the model, or a file
    /// cannot be written.
    ///
    /// ```
    /// use limpid::{Model, SaveOptions};
    /// let folder = tempfile::tempdir()?;
    /// let out = folder.path().join("lite0");
    /// Model::embedded()?.save_bundle(&out, &SaveOptions::default())?;
    /// assert_eq!(Model::open(&out)?.labels().len(), 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save_bundle(
        &self,
        directory: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<(), Error> {
        Ok(self.0.save_bundle(directory, options)?)
    }

    pub(crate) fn check_input(&self, input: &crate::Input) -> Result<(), ModelError> {
        self.0.check_input(input)
    }

    pub(crate) fn graph(&self) -> Result<Graph, Error> {
        Ok(self.0.graph(1)?)
    }
}

/// The multiply-adds of a node.
fn multiply_adds(graph: &Graph, node: &Node) -> u64 {
    let facts = |ids: &[ValueId]| -> Vec<&Fact> { ids.iter().map(|v| graph.fact(*v)).collect() };
    let cost = node.op.cost(&facts(&node.inputs), &facts(&node.outputs));
    cost.multiply_adds
}

/// The parameters that a node reads, and their sizes.
fn weights<'a>(graph: &'a Graph, node: &'a Node) -> impl Iterator<Item = (ValueId, u64)> + 'a {
    let statistics = matches!(node.op, Op::BatchNormalization(_));
    let trained = if statistics { 3 } else { node.inputs.len() };
    node.inputs
        .iter()
        .take(trained)
        .filter_map(|v| Some((*v, graph.constant_of(*v)?.elements())))
}

fn reaches_output(graph: &Graph) -> Vec<bool> {
    let mut reaches = vec![false; graph.values().len()];
    for v in graph.outputs() {
        reaches[v.index()] = true;
    }
    for node in graph.nodes().iter().rev() {
        if node.outputs.iter().any(|v| reaches[v.index()]) {
            for v in &node.inputs {
                reaches[v.index()] = true;
            }
        }
    }
    reaches
}
