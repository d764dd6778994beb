//! Cases that hold a device to the reference: an operator, its inputs, and how
//! their values are drawn. The values are a function of the case alone.

use crate::reference::RefTensor;
use crate::{Fact, Graph, GraphError, Op, ValueId};
use limpid_tensor::{DType, Shape, Tensor, philox};
use std::sync::Arc;

/// What an input is to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Given at run time, and differentiated where the values are smooth.
    Variable,
    /// Given at run time, not differentiated.
    Fixed,
    /// Part of the graph.
    Constant,
}

/// How an input's values are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values {
    /// Standard normal.
    Normal,
    /// Uniform in [0.25, 4.25).
    Positive,
    /// Whole numbers from the first to the second, for bit-exact comparison.
    Integers(i32, i32),
    /// Zeros and ones.
    Bits,
    /// 32-bit words.
    Words,
    /// Multiples of 1/64 around 0 in random order, none twice: no two are so
    /// near that a numerical gradient exchanges them.
    Distinct,
    /// Whole numbers from 0 to below this.
    Bytes(u8),
}

/// One input of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseInput {
    /// Type and shape.
    pub fact: Fact,
    /// What it is to the operator.
    pub role: Role,
    /// How its values are drawn.
    pub values: Values,
}

impl CaseInput {
    fn new(fact: Fact, role: Role, values: Values) -> Self {
        Self { fact, role, values }
    }

    /// A normal input, differentiated.
    #[must_use]
    pub fn variable(shape: &[usize]) -> Self {
        Self::new(Fact::f32(shape), Role::Variable, Values::Normal)
    }

    /// An input without two equal elements, differentiated.
    #[must_use]
    pub fn distinct(shape: &[usize]) -> Self {
        Self::new(Fact::f32(shape), Role::Variable, Values::Distinct)
    }

    /// A normal input, not differentiated.
    #[must_use]
    pub fn fixed(shape: &[usize]) -> Self {
        Self::new(Fact::f32(shape), Role::Fixed, Values::Normal)
    }

    /// A positive input, not differentiated.
    #[must_use]
    pub fn positive(shape: &[usize]) -> Self {
        Self::new(Fact::f32(shape), Role::Fixed, Values::Positive)
    }

    /// A positive input, differentiated.
    #[must_use]
    pub fn positive_variable(shape: &[usize]) -> Self {
        Self::new(Fact::f32(shape), Role::Variable, Values::Positive)
    }

    /// Whole numbers from `low` to `high`, not differentiated.
    #[must_use]
    pub fn integers(shape: &[usize], low: i32, high: i32) -> Self {
        Self::new(Fact::f32(shape), Role::Fixed, Values::Integers(low, high))
    }

    /// A normal constant.
    #[must_use]
    pub fn constant(shape: &[usize]) -> Self {
        Self::new(Fact::f32(shape), Role::Constant, Values::Normal)
    }

    /// A positive constant.
    #[must_use]
    pub fn positive_constant(shape: &[usize]) -> Self {
        Self::new(Fact::f32(shape), Role::Constant, Values::Positive)
    }

    /// A mask.
    #[must_use]
    pub fn bits(shape: &[usize]) -> Self {
        Self::new(Fact::bits(shape), Role::Fixed, Values::Bits)
    }

    /// 32-bit words.
    #[must_use]
    pub fn words(shape: &[usize]) -> Self {
        Self::new(Fact::u32(shape), Role::Fixed, Values::Words)
    }

    /// Bytes from 0 to below `end`.
    #[must_use]
    pub fn bytes(shape: &[usize], end: u8) -> Self {
        let fact = Fact::new(DType::U8, shape);
        Self::new(fact, Role::Fixed, Values::Bytes(end))
    }

    /// The same input with whole numbers from `low` to `high`.
    #[must_use]
    pub fn integer_valued(mut self, low: i32, high: i32) -> Self {
        self.values = Values::Integers(low, high);
        self
    }
}

/// An operator, its inputs, and their values.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The case's name, unique among the operator's.
    pub name: String,
    /// The operator.
    pub op: Op,
    /// Its inputs.
    pub inputs: Vec<CaseInput>,
}

/// A case made into a graph of one node, with values for its inputs.
#[derive(Debug, Clone)]
pub struct Built {
    /// The graph; its outputs are the node's.
    pub graph: Graph,
    /// The run-time inputs, in the graph's order.
    pub inputs: Vec<RefTensor>,
    /// The graph inputs that are differentiated, as positions among the inputs.
    pub variables: Vec<usize>,
}

impl Case {
    /// A case.
    pub fn new(name: impl Into<String>, op: impl Into<Op>, inputs: Vec<CaseInput>) -> Self {
        let (name, op) = (name.into(), op.into());
        Self { name, op, inputs }
    }

    /// Whether every operand is a whole number, so that sums in any order are exact.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let whole = |v: &Values| !matches!(v, Values::Normal | Values::Positive | Values::Distinct);
        self.inputs.iter().all(|i| whole(&i.values))
    }

    /// The values of one input: numbers that f32 holds exactly.
    #[must_use]
    pub fn draw(&self, input: usize) -> RefTensor {
        let CaseInput { fact, values, .. } = &self.inputs[input];
        let kinks = self.op.kinks();
        let words: Vec<u32> = match values {
            Values::Distinct => (0..fact.shape.iter().product())
                .map(|i: usize| philox::philox4x32([i as u32, input as u32, 0, 5], [0; 2])[0])
                .collect(),
            _ => Vec::new(),
        };
        let mut order: Vec<usize> = (0..words.len()).collect();
        order.sort_by_key(|i| words[*i]);
        let mut ranks = vec![0; words.len()];
        for (rank, i) in order.into_iter().enumerate() {
            ranks[i] = rank;
        }
        RefTensor::from_fn(&fact.shape, |i| {
            let sample = [input as u32, 0];
            let lane = i % 4;
            let normal = || philox::normal4([0; 2], 1, sample, (i / 4) as u32)[lane];
            let uniform = || philox::uniform4([0; 2], 2, sample, (i / 4) as u32)[lane];
            let word = || philox::philox4x32([(i / 4) as u32, input as u32, 0, 3], [0; 2])[lane];
            match *values {
                Values::Normal => {
                    // A numerical gradient must not step over a kink.
                    let near = |v: f64| kinks.iter().find(|k| (v - *k).abs() < 0.01).copied();
                    let v = f64::from(normal() as f32);
                    near(v).map_or(v, |k| f64::from((k + 0.25) as f32))
                }
                Values::Positive => f64::from((uniform() * 4.0 + 0.25) as f32),
                Values::Integers(low, high) => {
                    let span = f64::from(high - low + 1);
                    f64::from(low) + (uniform() * span).floor().min(span - 1.0)
                }
                Values::Bits => f64::from(word() & 1),
                Values::Words => f64::from(word()),
                Values::Distinct => (ranks[i] as f64 - (ranks.len() / 2) as f64) / 64.0,
                Values::Bytes(end) => f64::from(word() % u32::from(end)),
            }
        })
    }

    /// The case as a graph.
    ///
    /// # Errors
    /// When the operator refuses the case.
    pub fn build(&self) -> Result<Built, GraphError> {
        let mut graph = Graph::new();
        let (mut inputs, mut variables, mut ids) = (Vec::new(), Vec::new(), Vec::<ValueId>::new());
        for (i, input) in self.inputs.iter().enumerate() {
            let values = self.draw(i);
            let name = format!("input {i}");
            if input.role == Role::Constant {
                let data = values.data.iter().map(|v| *v as f32).collect();
                let tensor = Tensor::new(input.fact.shape.clone(), data)?;
                ids.push(graph.constant(name, Arc::new(tensor)));
            } else {
                if input.role == Role::Variable {
                    variables.push(inputs.len());
                }
                ids.push(graph.input(name, input.fact.clone()));
                inputs.push(values);
            }
        }
        let outputs = graph.push(&self.name, self.op.clone(), &ids)?;
        graph.set_outputs(&outputs);
        Ok(Built {
            graph,
            inputs,
            variables,
        })
    }
}

/// A cotangent for an output of shape `shape`: normal, from a stream of its own.
#[must_use]
pub fn cotangent(shape: &Shape, dtype: DType) -> Option<RefTensor> {
    (dtype == DType::F32).then(|| {
        RefTensor::from_fn(shape, |i| {
            let n = philox::normal4([0; 2], 4, [0; 2], (i / 4) as u32)[i % 4];
            f64::from(n as f32)
        })
    })
}
