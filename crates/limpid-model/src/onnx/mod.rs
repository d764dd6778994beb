//! ONNX files: opsets 7 to 28, the operators of image networks.
//!
//! [`import`] turns a file's content into a graph. What does not depend on the
//! picture is folded on the way, shape arithmetic included; local functions and
//! branches with a known condition are put in place; every value keeps its name
//! as a layer. A value that cannot be made is an error only where an output
//! needs it.

mod attributes;
mod builder;
mod call;
mod external;
mod lift;
mod literal;
mod network;
mod ops;
#[allow(missing_docs, unreachable_pub)]
mod proto;
mod refusal;
mod scan;
mod translate;

use crate::ModelError;
use builder::{Builder, Value};
use external::External;
use limpid_graph::reference::RefTensor;
use limpid_graph::{Fact, Graph};
use limpid_tensor::Shape;
use literal::{Kind, Literal};
use prost::Message as _;
use prost::bytes::Bytes;
use proto::tensor_shape_proto::Dimension;
use proto::tensor_shape_proto::dimension::Value as Extent;
use proto::{ModelProto, TensorProto, ValueInfoProto};
use refusal::{Refusal, Result as Imports};
use std::collections::BTreeMap;
use std::path::PathBuf;
use translate::{Scope, Translator};

/// How a file is imported.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The file's name, for errors.
    pub file: String,
    /// The folder in which external data may lie; `None` refuses such data.
    pub directory: Option<PathBuf>,
    /// Inputs that are constants from now on.
    pub bound: BTreeMap<String, BoundTensor>,
    /// The shapes of inputs whose extents the file leaves open. An open first
    /// extent, the batch, is 1 where nothing is said.
    pub input_shapes: BTreeMap<String, Vec<usize>>,
    /// Channels, height and width of pictures, where the file leaves them open.
    pub picture: Option<[usize; 3]>,
    /// Whether outputs that cannot be made are left out, with a note, as long
    /// as one can be made.
    pub partial: bool,
    /// The most elements of a constant that the file computes rather than holds;
    /// 0 stands for 2^24, which bounds what a small file can make one allocate.
    pub largest_constant: u64,
}

/// The content of an input that is a constant; its type is the input's.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundTensor {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl BoundTensor {
    /// A tensor of `shape` with its elements in C order.
    ///
    /// # Errors
    /// When their number does not fit the shape.
    pub fn new(shape: &[usize], values: Vec<f64>) -> Result<Self, ModelError> {
        if Shape::from(shape).elements().ok() == Some(values.len()) {
            let shape = shape.to_vec();
            return Ok(Self { shape, values });
        }
        Err(ModelError::Onnx {
            file: "a bound input".to_owned(),
            reason: format!(
                "{} elements do not make the shape {shape:?}; give as many as the shape has",
                values.len()
            ),
        })
    }

    /// The content of a file that holds one serialised `TensorProto`.
    ///
    /// # Errors
    /// When it is damaged or has elements that are no numbers.
    pub fn from_protobuf(bytes: &[u8], file: &str) -> Result<Self, ModelError> {
        let read = || -> Imports<Self> {
            scan::check(bytes, scan::Message::Tensor)?;
            let proto = TensorProto::decode(bytes)
                .map_err(|e| Refusal::new(format!("is no tensor: {e}")))?;
            let literal = Literal::read(&proto, &mut External::new(None))?;
            let tensor = literal.double().into_owned();
            Ok(Self {
                shape: tensor.shape.to_vec(),
                values: tensor.data,
            })
        };
        read().map_err(|e| e.in_file(file))
    }

    /// The extents.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements in C order.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

/// An imported file.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The network: the file's inputs that are not bound, its outputs, and a
    /// layer for every value that depends on an input.
    pub graph: Graph,
    /// The names of the outputs, in the graph's order.
    pub outputs: Vec<String>,
    /// Remarks for people.
    pub notes: Vec<String>,
}

/// The names of the operators that are read, in byte order but for `If`.
pub fn operators() -> impl Iterator<Item = &'static str> {
    ops::names()
}

/// Imports the content of an ONNX file.
///
/// # Errors
/// [`ModelError::Onnx`]: names the node and its operator, and what to do.
///
/// ```
/// use limpid_model::onnx::{ImportOptions, import};
/// let options = ImportOptions { file: "x.onnx".to_owned(), ..ImportOptions::default() };
/// let error = import(b"not a model", &options).unwrap_err();
/// assert!(error.to_string().starts_with("x.onnx: "));
/// ```
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Imported, ModelError> {
    read(Bytes::copy_from_slice(bytes), options).map_err(|e| e.in_file(&options.file))
}

/// The classifier of pictures that a file holds.
pub(crate) fn network(
    bytes: Bytes,
    options: &ImportOptions,
) -> Result<network::Network, ModelError> {
    let classifier = || network::network(read(bytes, options)?, &options.file);
    classifier().map_err(|e| e.in_file(&options.file))
}

fn read(bytes: Bytes, options: &ImportOptions) -> Imports<Imported> {
    scan::check(&bytes, scan::Message::Model)?;
    let model = ModelProto::decode(bytes).map_err(|e| {
        Refusal::new(format!(
            "it is not a sound ONNX model ({e}); export or download it again"
        ))
    })?;
    let graph = model
        .graph
        .as_ref()
        .filter(|g| !g.output.is_empty())
        .ok_or_else(|| Refusal::new("it holds no network; export or download the model again"))?;
    let mut scope = Scope::new(&model.opset_import);
    scope.opset()?;
    let builder = Builder::new(
        External::new(options.directory.clone()),
        options.largest_constant,
    );
    let mut translator = Translator::new(builder, &model.functions);
    for input in &graph.input {
        if let Some(bound) = options.bound.get(input.name()) {
            let kind = element_kind(input)?;
            let tensor = RefTensor::new(&bound.shape[..], bound.values.clone());
            scope.define(
                input.name(),
                Value::literal(Literal::new(input.name(), kind, tensor)),
            )?;
        }
    }
    // Before IR 4 weights are inputs too; those are no inputs of a run.
    translator.initializers(&graph.initializer, &mut scope)?;
    for input in &graph.input {
        if scope.contains(input.name()) {
            continue;
        }
        let place = || format!("input `{}`", crate::description::short(input.name()));
        let kind = element_kind(input).map_err(|e| e.at(place))?;
        let shape = input_shape(input, options).map_err(|e| e.at(place))?;
        let id = translator
            .builder
            .graph
            .input(input.name(), Fact::f32(shape));
        scope.define(input.name(), translate::computed(id, kind))?;
    }
    let nodes: Vec<_> = graph.node.iter().collect();
    let read = graph.output.iter().map(ValueInfoProto::name).collect();
    translator.nodes(&nodes, &mut scope, read)?;
    finish(translator, &scope, &graph.output, options)
}

/// Declares the outputs and the further names of layers.
fn finish(
    translator: Translator<'_>,
    scope: &Scope,
    outputs: &[ValueInfoProto],
    options: &ImportOptions,
) -> Imports<Imported> {
    let Translator {
        mut builder,
        aliases,
        ..
    } = translator;
    let mut made = Vec::new();
    let mut names = Vec::new();
    let mut failed = None;
    for output in outputs {
        let name = output.name();
        match scope.value(name) {
            Ok(value) => {
                made.push(builder.place(&value)?);
                names.push(name.to_owned());
            }
            Err(e) if options.partial => {
                failed.get_or_insert((name, e));
            }
            Err(e) => return Err(e.at(|| format!("output `{}`", crate::description::short(name)))),
        }
    }
    match failed {
        Some((_, refusal)) if made.is_empty() => return Err(refusal),
        Some((name, _)) => builder.notes.push(format!(
            "{} has the output `{name}`, which is left out since it is not supported",
            options.file
        )),
        None => {}
    }
    builder.graph.set_outputs(&made);
    // A node's own name means its first output, unless that is another's name.
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (node, _) in &aliases {
        *counts.entry(node).or_default() += 1;
    }
    for (node, value) in &aliases {
        let layers = builder.graph.layers();
        if counts[node.as_str()] == 1
            && !layers.contains_key(node)
            && let Some(&id) = layers.get(value)
        {
            builder.graph.set_layer(node.clone(), id);
        }
    }
    Ok(Imported {
        graph: builder.graph,
        outputs: names,
        notes: builder.notes,
    })
}

fn element_kind(input: &ValueInfoProto) -> Imports<Kind> {
    let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let tensor = tensor
        .ok_or_else(|| Refusal::new("is no tensor; export the model with tensors as inputs"))?;
    Kind::of(tensor.elem_type())
}

/// The shape of an input for one picture.
fn input_shape(input: &ValueInfoProto, options: &ImportOptions) -> Imports<Shape> {
    let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let dims = tensor.and_then(|t| t.shape.as_ref()).map(|s| &s.dim[..]);
    let given = options.input_shapes.get(input.name()).cloned();
    let given = given.or_else(|| open_picture(dims?, options.picture?));
    let Some(dims) = dims else {
        let given = given.ok_or_else(|| {
            Refusal::new("has no shape; export the model with the shapes of its inputs")
        })?;
        return Ok(Shape::from(&given[..]));
    };
    let stated: Vec<i64> = dims
        .iter()
        .enumerate()
        .map(|(axis, d)| match d.value {
            Some(Extent::DimValue(extent)) if extent > 0 => extent,
            _ => match given.as_ref().and_then(|g| g.get(axis)) {
                Some(&extent) => i64::try_from(extent).unwrap_or(-1),
                None if axis == 0 => 1,
                None => -1,
            },
        })
        .collect();
    if stated.contains(&-1) && stated.len() <= crate::limits::MAX_RANK {
        return Err(Refusal::new(
            "leaves an extent open besides the batch; export the model with a fixed size, or give the input's size",
        ));
    }
    let shape = literal::shape(&stated)?;
    if given.is_some_and(|g| g.len() != shape.len()) {
        return Err(Refusal::new(format!(
            "has the shape {shape}; give as many extents"
        )));
    }
    Ok(shape)
}

/// The shape of an input of pictures, with channels last where the file says
/// so many of them and says nothing of a second axis.
fn open_picture(dims: &[Dimension], picture: [usize; 3]) -> Option<Vec<usize>> {
    let [_, second, _, last] = dims else {
        return None;
    };
    let channels = |d: &Dimension| matches!(d.value, Some(Extent::DimValue(1 | 3 | 4)));
    let [c, h, w] = picture;
    let last = channels(last) && !channels(second);
    Some(if last {
        vec![1, h, w, c]
    } else {
        vec![1, c, h, w]
    })
}
