//! The graph as it grows, and the folding of what is constant.

use super::external::External;
use super::literal::{Kind, Literal};
use super::refusal::{Refusal, Result};
use crate::limits::{Budget, MAX_NODES};
use limpid_graph::reference::RefTensor;
use limpid_graph::{Fact, Graph, Op, ValueId};
use limpid_tensor::Shape;
use std::rc::Rc;

/// The most elements of a constant that is computed where nothing else is
/// asked for, and half of all such for a network without weights.
const MAX_FOLDED: u64 = 1 << 24;

/// The most operations that are spent on constants, as it is done naively;
/// what takes more is left to the device.
const MAX_WORK: u64 = 1 << 28;

/// A value of the file: known now, or when the network runs.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Literal(Rc<Literal>),
    Computed(ValueId, Kind),
}

impl Value {
    pub(super) fn literal(literal: Literal) -> Self {
        Self::Literal(Rc::new(literal))
    }

    /// The constant, if it is one.
    pub(super) fn known(&self) -> Option<&Rc<Literal>> {
        match self {
            Self::Literal(l) => Some(l),
            Self::Computed(..) => None,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Literal(l) => l.kind,
            Self::Computed(_, kind) => *kind,
        }
    }

    /// The same elements, seen as another kind.
    pub(super) fn with_kind(self, kind: Kind) -> Self {
        match self {
            Self::Literal(l) if l.kind == kind => Self::Literal(l),
            Self::Literal(l) => Self::literal(Literal::new(&l.name, kind, l.double().into_owned())),
            Self::Computed(id, _) => Self::Computed(id, kind),
        }
    }
}

/// A graph under construction.
pub(super) struct Builder {
    pub(super) graph: Graph,
    pub(super) external: External,
    pub(super) notes: Vec<String>,
    budget: Budget,
    /// The elements of constants that may still be computed.
    foldable: u64,
    /// The operations that may still be spent on them.
    work: u64,
    /// The most elements of a constant that is computed.
    largest: u64,
    /// The elements of the file's own constants.
    weights: u64,
}

impl Builder {
    pub(super) fn new(external: External, largest: u64) -> Self {
        let largest = if largest == 0 { MAX_FOLDED } else { largest };
        Self {
            largest,
            graph: Graph::new(),
            external,
            notes: Vec::new(),
            budget: Budget::new(1),
            foldable: 2 * largest,
            work: MAX_WORK,
            weights: 0,
        }
    }

    pub(super) fn shape(&self, value: &Value) -> Shape {
        match value {
            Value::Literal(l) => l.shape().clone(),
            Value::Computed(id, _) => self.graph.fact(*id).shape.clone(),
        }
    }

    /// The value in the graph; a constant is placed there once.
    pub(super) fn place(&mut self, value: &Value) -> Result<ValueId> {
        match value {
            Value::Computed(id, _) => Ok(*id),
            Value::Literal(l) => match l.placed.get() {
                Some(id) => Ok(id),
                None => {
                    let id = self.graph.constant(l.name.clone(), l.single()?);
                    l.placed.set(Some(id));
                    Ok(id)
                }
            },
        }
    }

    /// Applies an operator of one output: now, in double precision, where all
    /// inputs are known, else as a node called `name`.
    pub(super) fn apply(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[&Value],
        kind: Kind,
    ) -> Result<Value> {
        let known: Option<Vec<&Rc<Literal>>> = inputs.iter().map(|v| v.known()).collect();
        if let Some(known) = known
            && let Some(tensor) = self.fold(&op, &known)?
        {
            return Ok(Value::literal(Literal::computed(name, kind, tensor)?));
        }
        if self.graph.nodes().len() >= MAX_NODES {
            return Err(Refusal::fatal(format!(
                "brings the network to more than {MAX_NODES} operators; no network that this program runs needs as many"
            )));
        }
        let ids: Vec<ValueId> = inputs
            .iter()
            .map(|v| self.place(v))
            .collect::<Result<_>>()?;
        let facts: Vec<&Fact> = ids.iter().map(|&v| self.graph.fact(v)).collect();
        let made = op
            .infer(&facts)
            .map_err(|e| Refusal::new(format!("{} {e}", op.name())))?;
        let made: Vec<&Fact> = made.iter().collect();
        let cost = op.cost(&facts, &made);
        self.budget.take(&made, cost).map_err(Refusal::fatal)?;
        match self.graph.push(name, op, &ids)?[..] {
            [id] => Ok(Value::Computed(id, kind)),
            ref outputs => Err(Refusal::new(format!(
                "makes {} values where one is needed",
                outputs.len()
            ))),
        }
    }

    fn fold(&mut self, op: &Op, inputs: &[&Rc<Literal>]) -> Result<Option<RefTensor>> {
        let facts: Vec<Fact> = inputs.iter().map(|l| Fact::f32(l.shape())).collect();
        let facts: Vec<&Fact> = facts.iter().collect();
        let made = op
            .infer(&facts)
            .map_err(|e| Refusal::new(format!("{} {e}", op.name())))?;
        let made: Vec<&Fact> = made.iter().collect();
        let cost = op.cost(&facts, &made);
        let work = cost.multiply_adds.saturating_add(cost.elementwise);
        match self.work.checked_sub(work) {
            Some(left) => self.work = left,
            None => return Ok(None),
        }
        for fact in &made {
            self.allow(&fact.shape)?;
        }
        let tensors: Vec<_> = inputs.iter().map(|l| l.double()).collect();
        let tensors: Vec<&RefTensor> = tensors.iter().map(|t| &**t).collect();
        Ok(op.reference(&tensors).into_iter().next())
    }

    /// Accounts for a constant of `shape` that is about to be computed.
    pub(super) fn allow(&mut self, shape: &Shape) -> Result<()> {
        let elements = shape.elements()? as u64;
        self.foldable = Some(elements)
            .filter(|&n| n <= self.largest.max(self.weights))
            .and_then(|n| self.foldable.checked_sub(n))
            .ok_or_else(|| {
                Refusal::fatal(format!(
                    "computes a constant of the shape {shape}; at most {} elements, and {} in all, are computed where weights are fewer",
                    self.largest,
                    2 * self.largest
                ))
            })?;
        Ok(())
    }

    /// Lets as many more elements be computed as weights are read: exporters
    /// transpose and scale weights in the graph.
    pub(super) fn grant(&mut self, weights: u64) {
        self.weights = self.weights.saturating_add(weights);
        self.foldable = self.foldable.saturating_add(weights.saturating_mul(4));
        self.work = self.work.saturating_add(weights.saturating_mul(4));
    }
}
