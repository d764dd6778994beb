use crate::{Constant, GraphError, Op};
use limpid_tensor::{DType, Shape, Tensor};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Type and shape of a value, known before anything runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fact {
    /// The element type.
    pub dtype: DType,
    /// The extents.
    pub shape: Shape,
}

impl Fact {
    /// A value of 32-bit floats.
    pub fn f32(shape: impl Into<Shape>) -> Self {
        Self::new(DType::F32, shape)
    }

    /// A value of 32-bit unsigned integers.
    pub fn u32(shape: impl Into<Shape>) -> Self {
        Self::new(DType::U32, shape)
    }

    /// A mask of one bit an element.
    pub fn bits(shape: impl Into<Shape>) -> Self {
        Self::new(DType::Bits, shape)
    }

    /// A value of type `dtype`.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        Self { dtype, shape }
    }
}

impl std::fmt::Display for Fact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.dtype, self.shape)
    }
}

/// The index of a value in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

impl ValueId {
    /// The position in [`Graph::values`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Given anew at every run: the position among the graph's inputs.
    Input(usize),
    /// Part of the graph: a weight.
    Constant(Constant),
    /// The output of a node.
    Node {
        /// The node's position.
        node: usize,
        /// Which of its outputs.
        output: usize,
    },
}

/// A value of a graph.
#[derive(Debug, Clone)]
pub struct Value {
    /// Its name, for people; not necessarily unique.
    pub name: String,
    /// Its type and shape.
    pub fact: Fact,
    /// Where it comes from.
    pub source: Source,
}

/// An operator applied to values.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name, for people.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// The values it reads.
    pub inputs: Vec<ValueId>,
    /// The values it makes.
    pub outputs: Vec<ValueId>,
}

/// A graph of operators. Nodes stand in topological order by construction: a
/// node can only read values that exist already.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    layers: BTreeMap<String, ValueId>,
}

impl Graph {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn value_of(&mut self, name: String, fact: Fact, source: Source) -> ValueId {
        let id = ValueId(self.values.len() as u32);
        self.values.push(Value { name, fact, source });
        id
    }

    /// Adds an input.
    pub fn input(&mut self, name: impl Into<String>, fact: Fact) -> ValueId {
        let id = self.value_of(name.into(), fact, Source::Input(self.inputs.len()));
        self.inputs.push(id);
        id
    }

    /// Adds a constant.
    pub fn constant(&mut self, name: impl Into<String>, constant: impl Into<Constant>) -> ValueId {
        let constant = constant.into();
        let fact = Fact::f32(constant.shape());
        self.value_of(name.into(), fact, Source::Constant(constant))
    }

    /// Adds a node and returns its outputs. Their types and shapes are
    /// inferred here, so a graph that exists is consistent.
    ///
    /// # Errors
    /// [`GraphError::Op`] when the operator refuses the inputs.
    pub fn push(
        &mut self,
        name: impl Into<String>,
        op: impl Into<Op>,
        inputs: &[ValueId],
    ) -> Result<Vec<ValueId>, GraphError> {
        let (name, op) = (name.into(), op.into());
        let facts = self.infer(&name, &op, inputs)?;
        Ok(self.append(name, op, inputs, facts))
    }

    /// Types and shapes of what an operator makes of these values.
    pub(crate) fn infer(
        &self,
        name: &str,
        op: &Op,
        inputs: &[ValueId],
    ) -> Result<Vec<Fact>, GraphError> {
        let facts: Vec<&Fact> = inputs.iter().map(|&v| self.fact(v)).collect();
        op.infer(&facts).map_err(|source| GraphError::Op {
            node: name.to_owned(),
            op: op.name(),
            source,
        })
    }

    /// Adds a node whose outputs have been inferred.
    pub(crate) fn append(
        &mut self,
        name: String,
        op: Op,
        inputs: &[ValueId],
        facts: Vec<Fact>,
    ) -> Vec<ValueId> {
        let node = self.nodes.len();
        let outputs: Vec<ValueId> = facts
            .into_iter()
            .enumerate()
            .map(|(output, fact)| {
                let name = if output == 0 {
                    name.clone()
                } else {
                    format!("{name}:{output}")
                };
                self.value_of(name, fact, Source::Node { node, output })
            })
            .collect();
        self.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
            outputs: outputs.clone(),
        });
        outputs
    }

    /// Declares what the graph computes.
    pub fn set_outputs(&mut self, outputs: &[ValueId]) {
        self.outputs = outputs.to_vec();
    }

    /// Gives `value` the layer name `name`.
    pub fn set_layer(&mut self, name: impl Into<String>, value: ValueId) {
        self.layers.insert(name.into(), value);
    }

    /// The value that the layer of this name puts out.
    ///
    /// # Errors
    /// [`GraphError::UnknownLayer`] with the names that are near, if any.
    pub fn layer(&self, name: &str) -> Result<ValueId, GraphError> {
        self.layers
            .get(name)
            .copied()
            .ok_or_else(|| GraphError::UnknownLayer {
                name: name.to_owned(),
                similar: crate::nearest_names(name, self.layers.keys().map(String::as_str)),
            })
    }

    /// Layer names and their values.
    #[must_use]
    pub fn layers(&self) -> &BTreeMap<String, ValueId> {
        &self.layers
    }

    /// All values.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// All nodes, in an order in which they can run.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The inputs, in the order in which a run is given them.
    #[must_use]
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The outputs.
    #[must_use]
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// The value.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Type and shape of a value.
    #[must_use]
    pub fn fact(&self, id: ValueId) -> &Fact {
        &self.value(id).fact
    }

    /// The node that makes a value, if one does.
    #[must_use]
    pub fn producer(&self, id: ValueId) -> Option<(usize, &Node)> {
        match self.value(id).source {
            Source::Node { node, .. } => Some((node, &self.nodes[node])),
            _ => None,
        }
    }

    /// Whether a value is a constant.
    #[must_use]
    pub fn is_constant(&self, id: ValueId) -> bool {
        self.constant_of(id).is_some()
    }

    /// The constant that a value is, if it is one.
    #[must_use]
    pub fn constant_of(&self, id: ValueId) -> Option<&Constant> {
        match &self.value(id).source {
            Source::Constant(c) => Some(c),
            _ => None,
        }
    }

    /// How often each value is read, by nodes and as an output.
    #[must_use]
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.values.len()];
        let read = self.nodes.iter().flat_map(|n| &n.inputs);
        for v in read.chain(&self.outputs) {
            uses[v.index()] += 1;
        }
        uses
    }

    /// Puts other numbers in a constant's place.
    ///
    /// # Errors
    /// [`GraphError::Input`] when the value is no constant of this shape.
    pub fn set_constant(
        &mut self,
        id: ValueId,
        constant: impl Into<Constant>,
    ) -> Result<(), GraphError> {
        let (value, constant) = (&mut self.values[id.index()], constant.into());
        match &mut value.source {
            Source::Constant(old) if old.shape() == constant.shape() => {
                *old = constant;
                Ok(())
            }
            _ => Err(GraphError::Input {
                name: value.name.clone(),
                expected: value.fact.to_string(),
                found: format!("a constant of shape {}", constant.shape()),
            }),
        }
    }

    /// Copies the nodes of `other` into this graph, with `inputs` in place of
    /// its inputs, and returns where each of its values went.
    ///
    /// Layers come along; outputs do not. Shapes are inferred anew, so a graph
    /// made for one batch can be laid behind a value of another.
    ///
    /// # Errors
    /// When a node does not take the new shapes.
    pub fn splice(&mut self, other: &Self, inputs: &[ValueId]) -> Result<Vec<ValueId>, GraphError> {
        let mut map: Vec<Option<ValueId>> = vec![None; other.values.len()];
        for (i, v) in other.values.iter().enumerate() {
            map[i] = match &v.source {
                Source::Input(k) => {
                    let given = inputs.get(*k).copied();
                    Some(given.ok_or_else(|| GraphError::Input {
                        name: v.name.clone(),
                        expected: v.fact.to_string(),
                        found: "nothing".into(),
                    })?)
                }
                Source::Constant(c) => Some(self.constant(v.name.clone(), c)),
                Source::Node { .. } => None,
            };
        }
        for node in &other.nodes {
            let ins: Vec<ValueId> = node
                .inputs
                .iter()
                .map(|v| map[v.index()].expect("nodes stand in topological order"))
                .collect();
            let outs = self.push(node.name.clone(), node.op.clone(), &ins)?;
            for (old, new) in node.outputs.iter().zip(outs) {
                map[old.index()] = Some(new);
            }
        }
        let map: Vec<ValueId> = map
            .into_iter()
            .map(|v| v.expect("every value has a source"))
            .collect();
        for (name, v) in &other.layers {
            self.layers.insert(name.clone(), map[v.index()]);
        }
        Ok(map)
    }

    /// A number that differs, but for hash collisions, between graphs that
    /// compute different things. Small constants count by content, so that
    /// graphs built anew agree; weights by identity, so that they need not be read.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut h = DefaultHasher::new();
        for v in &self.values {
            v.fact.hash(&mut h);
            let Source::Constant(c) = &v.source else {
                continue;
            };
            match c.held().map(Tensor::data) {
                Some(data) if data.len() <= Constant::SMALL => {
                    for x in data {
                        x.to_bits().hash(&mut h);
                    }
                }
                _ => c.address().hash(&mut h),
            }
        }
        for n in &self.nodes {
            format!("{:?}", n.op).hash(&mut h);
            n.inputs.hash(&mut h);
        }
        (&self.inputs, &self.outputs).hash(&mut h);
        h.finish()
    }
}
