use super::rewrite;
use crate::{Graph, GraphError, Op, OpError, ValueId};
use limpid_tensor::Tensor;

/// Writes every operator that is made of simpler ones with those, so that
/// devices and gradients know few operators and networks may use many.
///
/// # Errors
/// When an operator refuses the inputs that another's writing gives it.
pub fn lower(graph: &Graph) -> Result<Graph, GraphError> {
    rewrite(graph, |new, map, _, node| {
        let outs = push(new, &node.name, node.op.clone(), &map.all(&node.inputs))?;
        Ok(outs.into_iter().map(Some).collect())
    })
}

/// Pushes an operator, written with simpler ones where it is made of them.
pub(super) fn push(
    graph: &mut Graph,
    name: &str,
    op: Op,
    inputs: &[ValueId],
) -> Result<Vec<ValueId>, GraphError> {
    let facts = graph.infer(name, &op, inputs)?;
    let mut cx = LowerContext {
        graph,
        name,
        op: op.name(),
        inputs,
    };
    match op.lower(&mut cx)? {
        Some(outputs) => Ok(outputs),
        None => Ok(graph.append(name.to_owned(), op, inputs, facts)),
    }
}

/// What an operator sees while it is written with simpler ones.
pub struct LowerContext<'a> {
    graph: &'a mut Graph,
    name: &'a str,
    op: &'static str,
    inputs: &'a [ValueId],
}

impl LowerContext<'_> {
    /// The operator's inputs.
    #[must_use]
    pub fn inputs(&self) -> &[ValueId] {
        self.inputs
    }

    /// An input.
    #[must_use]
    pub fn input(&self, position: usize) -> ValueId {
        self.inputs[position]
    }

    /// The extents of a value.
    #[must_use]
    pub fn dims(&self, value: ValueId) -> Vec<usize> {
        self.graph.fact(value).shape.to_vec()
    }

    /// What the operator has found wrong.
    #[must_use]
    pub fn error(&self, source: OpError) -> GraphError {
        GraphError::Op {
            node: self.name.to_owned(),
            op: self.op,
            source,
        }
    }

    /// Appends a node, which may be written with simpler ones in its turn, and
    /// returns its first output.
    ///
    /// # Errors
    /// When the operator refuses the inputs.
    pub fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
        Ok(push(self.graph, self.name, op.into(), inputs)?[0])
    }

    /// Whether a value is a constant.
    #[must_use]
    pub fn is_constant(&self, value: ValueId) -> bool {
        self.graph.is_constant(value)
    }

    /// A constant.
    ///
    /// # Errors
    /// When the data do not fit the shape.
    pub fn constant(&mut self, shape: &[usize], data: Vec<f32>) -> Result<ValueId, GraphError> {
        let tensor = Tensor::new(shape, data)?;
        Ok(self.graph.constant(self.name, tensor))
    }

    /// `value` under another shape. A first extent that stays is written as
    /// kept, so that the batch may change.
    ///
    /// # Errors
    /// When the element counts differ, or a constant cannot be read.
    pub fn reshape(&mut self, value: ValueId, shape: &[usize]) -> Result<ValueId, GraphError> {
        let from = self.dims(value);
        if from == shape {
            return Ok(value);
        }
        if let Some(constant) = self.graph.constant_of(value) {
            let data = constant.load()?.data().to_vec();
            return self.constant(shape, data);
        }
        let mut to: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
        if let (Some(first), true) = (to.first_mut(), from.first() == shape.first()) {
            *first = 0;
        }
        self.push(crate::ops::Reshape { shape: to }, &[value])
    }
}
