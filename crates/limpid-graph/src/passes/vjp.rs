use crate::ops::{Add, MaxPool, MaxPoolArgmax, Mul, RangeMask, ReduceSum, Reshape, Residual};
use crate::{Fact, Graph, GraphError, Node, Op, OpError, Source, ValueId};
use limpid_tensor::Tensor;
use std::sync::Arc;

/// Which rule operators use for their vector-Jacobian product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The derivative.
    #[default]
    Standard,
}

/// A graph and its gradient.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// The forward nodes followed by those of the gradient. Its inputs are the
    /// forward graph's and, last, the cotangent of the output; its outputs are
    /// the forward graph's and then the gradients in the order of `wrt`.
    pub graph: Graph,
    /// The input that takes the cotangent.
    pub cotangent: ValueId,
    /// The gradients, of the shapes of `wrt`.
    pub gradients: Vec<ValueId>,
}

/// Reverse mode as a pass: appends the nodes that compute the product of
/// `output`'s Jacobian with a cotangent, for each value of `wrt`. Only nodes on
/// a path from `wrt` to `output` are visited; constants have no gradient.
///
/// # Errors
/// [`GraphError::NoPath`] when a value of `wrt` does not reach the output, and
/// [`OpError::NoGradient`] when an operator on the way has none.
pub fn vjp(
    graph: &Graph,
    output: ValueId,
    wrt: &[ValueId],
    rule: Rule,
) -> Result<Gradient, GraphError> {
    let Rule::Standard = rule;
    let on_path = on_path(graph, wrt);
    let mut new = graph.clone();
    let cotangent = new.input("cotangent", graph.fact(output).clone());
    let mut cotangents: Vec<Option<ValueId>> = vec![None; graph.values().len()];
    cotangents[output.index()] = Some(cotangent);
    for node in graph.nodes().iter().rev() {
        let reached = node.outputs.iter().any(|v| cotangents[v.index()].is_some());
        for (i, &input) in node.inputs.iter().enumerate() {
            if !reached || !on_path[input.index()] {
                continue;
            }
            let mut cx = VjpContext {
                residual: node.op.residual(i),
                cotangents: node.outputs.iter().map(|v| cotangents[v.index()]).collect(),
                graph: &mut new,
                on_path: &on_path,
                node,
            };
            let g = node.op.vjp(&mut cx, i)?;
            debug_assert_eq!(new.fact(g).shape, graph.fact(input).shape, "{}", node.name);
            cotangents[input.index()] = Some(match cotangents[input.index()] {
                None => g,
                Some(sum) => {
                    let name = format!("grad of {}", graph.value(input).name);
                    new.push(name, Add {}, &[sum, g])?[0]
                }
            });
        }
    }
    let gradients = wrt
        .iter()
        .map(|v| {
            cotangents[v.index()].ok_or_else(|| GraphError::NoPath {
                layer: graph.value(*v).name.clone(),
                output: graph.value(output).name.clone(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let outputs = [graph.outputs(), &gradients].concat();
    new.set_outputs(&outputs);
    Ok(Gradient {
        graph: new,
        cotangent,
        gradients,
    })
}

/// The values that depend on a value of `wrt`, and those values themselves.
fn on_path(graph: &Graph, wrt: &[ValueId]) -> Vec<bool> {
    let mut on = vec![false; graph.values().len()];
    for v in wrt {
        on[v.index()] = true;
    }
    for node in graph.nodes() {
        if node.inputs.iter().any(|v| on[v.index()]) {
            for v in &node.outputs {
                on[v.index()] = true;
            }
        }
    }
    on
}

/// What an operator sees while it appends its gradient. It hands out only the
/// residuals that the operator has declared.
pub struct VjpContext<'a> {
    graph: &'a mut Graph,
    node: &'a Node,
    on_path: &'a [bool],
    cotangents: Vec<Option<ValueId>>,
    residual: Residual,
}

impl VjpContext<'_> {
    fn error(&self, source: OpError) -> GraphError {
        GraphError::Op {
            node: self.node.name.clone(),
            op: self.node.op.name(),
            source,
        }
    }

    /// The error of an operator that has no gradient with respect to `input`.
    #[must_use]
    pub fn no_gradient(&self, input: usize) -> GraphError {
        self.error(OpError::NoGradient { input })
    }

    pub(crate) fn not_lowered(&self) -> GraphError {
        self.error(OpError::NotLowered)
    }

    fn undeclared(&self, what: &'static str) -> GraphError {
        self.error(OpError::UndeclaredResidual { what })
    }

    /// The cotangent of an output that is known to have one: the only output.
    ///
    /// # Errors
    /// When the output does not reach the result.
    pub fn cotangent(&self, output: usize) -> Result<ValueId, GraphError> {
        self.cotangent_of(output).ok_or_else(|| self.no_gradient(0))
    }

    /// The cotangent of an output, if it reaches the result.
    #[must_use]
    pub fn cotangent_of(&self, output: usize) -> Option<ValueId> {
        self.cotangents[output]
    }

    /// The number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.node.inputs.len()
    }

    /// Type and shape of an input, which cost nothing to know.
    #[must_use]
    pub fn input_fact(&self, input: usize) -> &Fact {
        self.graph.fact(self.node.inputs[input])
    }

    /// Type and shape of any value.
    #[must_use]
    pub fn fact(&self, value: ValueId) -> &Fact {
        self.graph.fact(value)
    }

    /// An input that is a constant.
    ///
    /// # Errors
    /// When it is computed and the operator did not declare [`Residual::Value`].
    pub fn constant_input(&self, input: usize) -> Result<ValueId, GraphError> {
        if self
            .graph
            .constant_tensor(self.node.inputs[input])
            .is_some()
        {
            return Ok(self.node.inputs[input]);
        }
        self.value(input)
    }

    /// An input that steers the operator (a standard deviation, a matrix of a
    /// filter): given to the run or constant, so that keeping it costs nothing.
    ///
    /// # Errors
    /// [`OpError::NoGradient`] when it depends on what is differentiated.
    pub fn control_input(&self, input: usize) -> Result<ValueId, GraphError> {
        let value = self.node.inputs[input];
        if self.on_path[value.index()] {
            return Err(self.no_gradient(input));
        }
        Ok(value)
    }

    /// The value of an input, kept from the forward pass.
    ///
    /// # Errors
    /// When the operator did not declare [`Residual::Value`].
    pub fn value(&self, input: usize) -> Result<ValueId, GraphError> {
        let value = self.node.inputs[input];
        let free = !matches!(self.graph.value(value).source, Source::Node { .. });
        if free || self.residual == Residual::Value {
            return Ok(value);
        }
        Err(self.undeclared("an input's value"))
    }

    /// The value of an output, kept from the forward pass.
    ///
    /// # Errors
    /// When the operator did not declare [`Residual::Value`].
    pub fn output_value(&self, output: usize) -> Result<ValueId, GraphError> {
        if self.residual == Residual::Value {
            return Ok(self.node.outputs[output]);
        }
        Err(self.undeclared("an output's value"))
    }

    /// One bit for each element of the output, made in the forward pass.
    ///
    /// # Errors
    /// When the operator did not declare [`Residual::SignBits`].
    pub fn output_mask(&mut self, mask: RangeMask) -> Result<ValueId, GraphError> {
        if self.residual != Residual::SignBits {
            return Err(self.undeclared("a mask"));
        }
        let name = format!("mask of {}", self.node.name);
        Ok(self.graph.push(name, mask, &[self.node.outputs[0]])?[0])
    }

    /// One byte for each element of the output of a pooling: which tap of its
    /// window was the largest.
    ///
    /// # Errors
    /// When the operator did not declare [`Residual::ArgmaxU8`].
    pub fn input_argmax(&mut self, pool: MaxPool) -> Result<ValueId, GraphError> {
        if self.residual != Residual::ArgmaxU8 {
            return Err(self.undeclared("the largest taps"));
        }
        let name = format!("largest taps of {}", self.node.name);
        let argmax = MaxPoolArgmax { pool };
        Ok(self.graph.push(name, argmax, &[self.node.inputs[0]])?[0])
    }

    /// Appends a node and returns its first output.
    ///
    /// # Errors
    /// When the operator refuses the inputs.
    pub fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
        Ok(self.push_all(op, inputs)?[0])
    }

    /// Appends a node and returns its outputs.
    ///
    /// # Errors
    /// When the operator refuses the inputs.
    pub fn push_all(
        &mut self,
        op: impl Into<Op>,
        inputs: &[ValueId],
    ) -> Result<Vec<ValueId>, GraphError> {
        let name = format!("grad of {}", self.node.name);
        super::lower::push(self.graph, &name, op.into(), inputs)
    }

    /// A constant of one value.
    ///
    /// # Errors
    /// When memory is short.
    pub fn constant_filled(&mut self, shape: &[usize], value: f32) -> Result<ValueId, GraphError> {
        let mut t = Tensor::zeros(shape)?;
        t.data_mut().fill(value);
        Ok(self.graph.constant(format!("{value}"), Arc::new(t)))
    }

    /// `value` times a number.
    ///
    /// # Errors
    /// When memory is short.
    pub fn scale(&mut self, value: ValueId, factor: f32) -> Result<ValueId, GraphError> {
        let factor = self.constant_filled(&[], factor)?;
        self.push(Mul {}, &[value, factor])
    }

    /// Sums `g` over the axes along which `input` was stretched.
    ///
    /// # Errors
    /// None for a cotangent of the operator's output.
    pub fn sum_to_input(&mut self, g: ValueId, input: usize) -> Result<ValueId, GraphError> {
        let (from, to) = (
            self.fact(g).shape.clone(),
            self.input_fact(input).shape.clone(),
        );
        if from == to {
            return Ok(g);
        }
        let missing = from.len() - to.len();
        let stretched = |i: &usize| *i < missing || to[*i - missing] != from[*i];
        let axes: Vec<usize> = (0..from.len()).filter(stretched).collect();
        let g = self.push(ReduceSum { axes }, &[g])?;
        if missing == 0 {
            return Ok(g);
        }
        self.reshape_to_input(g, input)
    }

    /// `g` under the shape of `input`.
    ///
    /// # Errors
    /// When the element counts differ.
    pub fn reshape_to_input(&mut self, g: ValueId, input: usize) -> Result<ValueId, GraphError> {
        let to = self.input_fact(input).shape.clone();
        let shape = to.iter().map(|d| *d as i64).collect();
        self.push(Reshape { shape }, &[g])
    }
}
