mod deep_lift;
mod rectifiers;
mod relevance;
mod rule;

pub use rule::{LayerRule, Lrp, Rule};

use crate::ops::{
    Add, Elementwise, MaxPool, MaxPoolArgmax, Mul, RangeMask, ReduceSum, Reshape, Residual,
};
use crate::{Expr, Fact, Formula, Graph, GraphError, Node, Op, OpError, Source, ValueId};
use deep_lift::DeepLift;
use limpid_tensor::Tensor;
use relevance::Relevance;

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
/// `output`'s Jacobian with a cotangent, for each value of `wrt`, or what `rule`
/// puts in its place. Only nodes on a path from `wrt` to `output` are visited;
/// constants have no gradient.
///
/// # Errors
/// [`GraphError::NoPath`] when a value of `wrt` does not reach the output,
/// [`OpError::NoGradient`] and [`OpError::NoRule`] when an operator on the way
/// has no gradient or no rule, [`GraphError::NoRectifier`] when the rule is about
/// rectifiers and there is none, [`GraphError::Option`] when a number of the rule
/// is out of range, and [`GraphError::NoBaseline`] for [`Rule::DeepLift`].
pub fn vjp(
    graph: &Graph,
    output: ValueId,
    wrt: &[ValueId],
    rule: Rule,
) -> Result<Gradient, GraphError> {
    vjp_with_baseline(graph, output, wrt, rule, None)
}

/// [`vjp`] with a baseline, which [`Rule::DeepLift`] needs and the other rules do
/// not read: a value of the graph that broadcasts to the first of `wrt` and
/// stands in its place in the reference. The nodes of the reference are appended
/// here; the multipliers of further values of `wrt`, which may depend on the
/// first, belong to their difference to the reference as well.
///
/// # Errors
/// Those of [`vjp`], and [`OpError::Shape`] when the baseline does not fit.
pub fn vjp_with_baseline(
    graph: &Graph,
    output: ValueId,
    wrt: &[ValueId],
    rule: Rule,
    baseline: Option<ValueId>,
) -> Result<Gradient, GraphError> {
    let on_path = on_path(graph, wrt);
    let mut new = graph.clone();
    let method = Method::new(&mut new, wrt, rule, baseline)?;
    let cotangent = new.input("cotangent", graph.fact(output).clone());
    let mut cotangents: Vec<Option<ValueId>> = vec![None; graph.values().len()];
    cotangents[output.index()] = Some(match method {
        Method::Relevance(_) => new.push("relevance", Mul {}, &[cotangent, output])?[0],
        _ => cotangent,
    });
    let mut rectifiers = 0;
    for (position, node) in graph.nodes().iter().enumerate().rev() {
        let inputs: Vec<usize> = (0..node.inputs.len())
            .filter(|i| on_path[node.inputs[*i].index()])
            .collect();
        let reached = node.outputs.iter().any(|v| cotangents[v.index()].is_some());
        if !reached || inputs.is_empty() {
            continue;
        }
        rectifiers += usize::from(rectifiers::is_rectifier(&node.op));
        let mut cx = VjpContext {
            residual: Residual::None,
            cotangents: node.outputs.iter().map(|v| cotangents[v.index()]).collect(),
            graph: &mut new,
            on_path: &on_path,
            node,
        };
        let made = method.through(&mut cx, position, &inputs)?;
        for (i, g) in inputs.into_iter().zip(made) {
            let (input, Some(g)) = (node.inputs[i], g) else {
                continue;
            };
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
    if let (Method::Rectifiers { name, .. }, 0) = (&method, rectifiers) {
        let output = graph.value(output).name.clone();
        return Err(GraphError::NoRectifier { rule: name, output });
    }
    let outputs = [graph.outputs(), &gradients].concat();
    new.set_outputs(&outputs);
    Ok(Gradient {
        graph: new,
        cotangent,
        gradients,
    })
}

/// A rule and what it has found out about a graph.
enum Method {
    Derivative,
    Rectifiers { name: &'static str, guided: bool },
    Relevance(Relevance),
    DeepLift(DeepLift),
}

impl Method {
    fn new(
        graph: &mut Graph,
        wrt: &[ValueId],
        rule: Rule,
        baseline: Option<ValueId>,
    ) -> Result<Self, GraphError> {
        let rectifiers = |name, guided| Ok(Self::Rectifiers { name, guided });
        match rule {
            Rule::Standard => Ok(Self::Derivative),
            Rule::GuidedBackpropagation => rectifiers("guided backpropagation", true),
            Rule::Deconvnet => rectifiers("deconvnet", false),
            Rule::Relevance(lrp) => Ok(Self::Relevance(Relevance::new(graph, lrp)?)),
            Rule::DeepLift => Ok(Self::DeepLift(DeepLift::new(graph, wrt, baseline)?)),
        }
    }

    /// What the inputs of the node at `position` get of the cotangents of its
    /// outputs; `None` for one that gets nothing whatever the values.
    fn through(
        &self,
        cx: &mut VjpContext<'_>,
        position: usize,
        inputs: &[usize],
    ) -> Result<Vec<Option<ValueId>>, GraphError> {
        match self {
            Self::Relevance(relevance) => relevance.through(cx, position, inputs),
            Self::DeepLift(rescale) => rescale.through(cx, inputs),
            Self::Rectifiers { guided, .. } if rectifiers::is_rectifier(&cx.node.op) => {
                Ok(vec![Some(rectifiers::through(cx, *guided)?)])
            }
            Self::Derivative | Self::Rectifiers { .. } => cx.derivatives(inputs),
        }
    }
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
    /// The derivative's cotangents of these inputs.
    fn derivatives(&mut self, inputs: &[usize]) -> Result<Vec<Option<ValueId>>, GraphError> {
        let node = self.node;
        let derivative = |&i: &usize| {
            self.residual = node.op.residual(i);
            node.op.vjp(self, i).map(Some)
        };
        inputs.iter().map(derivative).collect()
    }

    /// The derivative's cotangent of one input of a node like this context's,
    /// whose operands may be others, for a cotangent of its first output.
    fn derivative_of(
        &mut self,
        node: &Node,
        cotangent: ValueId,
        input: usize,
    ) -> Result<ValueId, GraphError> {
        let mut cotangents = vec![None; node.outputs.len()];
        cotangents[0] = Some(cotangent);
        let mut cx = VjpContext {
            residual: node.op.residual(input),
            graph: &mut *self.graph,
            on_path: self.on_path,
            cotangents,
            node,
        };
        node.op.vjp(&mut cx, input)
    }

    /// The error of an operator for which a rule says nothing.
    fn no_rule(&self, rule: &'static str) -> GraphError {
        self.error(OpError::NoRule { rule })
    }

    /// Appends a function of values.
    fn elementwise(&mut self, expr: &Expr, operands: &[ValueId]) -> Result<ValueId, GraphError> {
        self.push(Elementwise::new(expr, operands.len()), operands)
    }

    /// Appends the function `outer` of functions of values, of which only those
    /// that it reads become operands. It must read a value of the result's shape.
    fn composed(
        &mut self,
        outer: &Expr,
        inner: &[Formula],
        values: &[ValueId],
    ) -> Result<ValueId, GraphError> {
        let formula = Formula::new(outer).compose(inner);
        let read: Vec<usize> = (0..values.len()).filter(|i| formula.reads(*i)).collect();
        let operands: Vec<ValueId> = read.iter().map(|i| values[*i]).collect();
        let op = Elementwise {
            formula: formula.with_operands(&read),
            operands: operands.len(),
        };
        self.push(op, &operands)
    }

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
        if self.graph.is_constant(self.node.inputs[input]) {
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
        if self.on_path.get(value.index()) == Some(&true) {
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
        Ok(self.graph.constant(format!("{value}"), t))
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
