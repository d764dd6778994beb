//! A node that is being translated, and what translations have in common.

use super::attributes::Attributes;
use super::builder::{Builder, Value};
use super::literal::{Kind, Literal};
use super::refusal::{Refusal, Result};
use limpid_graph::Op;
use limpid_graph::reference::RefTensor;
use limpid_tensor::Shape;
use serde_json::{Value as Json, json};

/// A node with its inputs at hand.
pub(super) struct Call<'c> {
    pub(super) builder: &'c mut Builder,
    pub(super) attributes: Attributes<'c>,
    /// The operator's name in the file.
    pub(super) op: &'c str,
    /// The version of the operator set.
    pub(super) opset: i64,
    /// The name of the first output.
    pub(super) name: String,
    pub(super) inputs: Vec<Option<Value>>,
    /// Which outputs somebody reads.
    pub(super) wanted: Vec<bool>,
}

impl Call<'_> {
    /// An input that must be there.
    pub(super) fn input(&self, i: usize) -> Result<Value> {
        self.optional(i)
            .ok_or_else(|| Refusal::new(format!("lacks its input {i}; export the model again")))
    }

    pub(super) fn optional(&self, i: usize) -> Option<Value> {
        self.inputs.get(i).cloned().flatten()
    }

    /// All inputs of an operator that takes any number.
    pub(super) fn all(&self) -> Result<Vec<Value>> {
        (0..self.inputs.len().max(1))
            .map(|i| self.input(i))
            .collect()
    }

    /// Whether somebody reads output `i`.
    pub(super) fn wants(&self, i: usize) -> bool {
        self.wanted.get(i).copied().unwrap_or(false)
    }

    /// Refuses outputs from `first` on, which are not made.
    pub(super) fn only_outputs(&self, first: usize) -> Result<()> {
        match (first..self.wanted.len()).find(|&i| self.wants(i)) {
            None => Ok(()),
            Some(i) => Err(Refusal::new(format!(
                "makes the output {i} that is read later, which is not supported; export the model without it"
            ))),
        }
    }

    /// The whole numbers of an input, which must be known before the network runs.
    pub(super) fn ints(&self, i: usize, what: &str) -> Result<Option<Vec<i64>>> {
        match self.optional(i) {
            None => Ok(None),
            Some(Value::Literal(l)) => l.ints().map(Some),
            Some(Value::Computed(..)) => Err(unknown(what)),
        }
    }

    /// The numbers of an input, which must be known before the network runs.
    pub(super) fn numbers(&self, i: usize, what: &str) -> Result<Option<Vec<f64>>> {
        match self.optional(i) {
            None => Ok(None),
            Some(Value::Literal(l)) => Ok(Some(l.double().data.clone())),
            Some(Value::Computed(..)) => Err(unknown(what)),
        }
    }

    /// Whole numbers that older opsets give as an attribute and newer ones, from
    /// `since` on, as input `i`.
    pub(super) fn ints_since(&self, since: i64, i: usize, name: &str) -> Result<Option<Vec<i64>>> {
        if self.opset >= since {
            self.ints(i, name)
        } else {
            Ok(self.attributes.ints(name)?.map(<[i64]>::to_vec))
        }
    }

    /// The extents of a value.
    pub(super) fn dims(&self, value: &Value) -> Vec<usize> {
        self.builder.shape(value).to_vec()
    }

    /// Attribute `name` as an axis of a value of `rank`.
    pub(super) fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize> {
        axis(self.attributes.int(name)?.unwrap_or(default), rank)
    }

    /// Applies one of this program's operators, under its name and with its
    /// attributes as a description has them.
    pub(super) fn apply(&mut self, op: &str, attrs: Json, inputs: &[&Value]) -> Result<Value> {
        let kind = inputs.first().map_or(Kind::Float, |v| v.kind());
        self.apply_as(kind, op, attrs, inputs)
    }

    /// The same for a result of another kind than the first input's.
    pub(super) fn apply_as(
        &mut self,
        kind: Kind,
        op: &str,
        attrs: Json,
        inputs: &[&Value],
    ) -> Result<Value> {
        let op: Op = serde_json::from_value(json!({"op": op, "attrs": attrs}))
            .map_err(|e| Refusal::new(format!("has attributes that {op} does not take: {e}")))?;
        self.builder.apply(&self.name, op, inputs, kind)
    }

    /// Applies an operator without attributes.
    pub(super) fn plain(&mut self, op: &str, inputs: &[&Value]) -> Result<Value> {
        self.apply(op, json!({}), inputs)
    }

    /// A constant without axes.
    pub(super) fn scalar(&self, value: f64) -> Value {
        self.constant(&[], vec![value], Kind::Float)
    }

    /// A constant; `data` fits `dims`.
    pub(super) fn constant(&self, dims: &[usize], data: Vec<f64>, kind: Kind) -> Value {
        Value::literal(Literal::new(&self.name, kind, RefTensor::new(dims, data)))
    }

    /// The same elements under other extents.
    pub(super) fn reshape(&mut self, value: &Value, dims: &[usize]) -> Result<Value> {
        let (from, to) = (self.builder.shape(value), Shape::from(dims));
        if from == to {
            return Ok(value.clone());
        }
        if from.elements()? != to.elements()? {
            return Err(Refusal::new(format!(
                "cannot make the shape {to} of {from}; export the model again"
            )));
        }
        if let Value::Literal(l) = value {
            self.builder.allow(&to)?;
            return Ok(Value::literal(l.reshaped(to)?));
        }
        self.apply("Reshape", json!({"shape": dims}), &[value])
    }

    /// The axes in another order.
    pub(super) fn transpose(&mut self, value: &Value, perm: &[usize]) -> Result<Value> {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return Ok(value.clone());
        }
        self.apply("Transpose", json!({"perm": perm}), &[value])
    }

    /// Stretched to `dims` as numpy broadcasts.
    pub(super) fn expand(&mut self, value: &Value, dims: &[usize]) -> Result<Value> {
        if self.dims(value) == dims {
            return Ok(value.clone());
        }
        self.apply("Expand", json!({"shape": dims}), &[value])
    }

    /// Every `step`-th of `count` slices from `start` along `axis`.
    pub(super) fn slice(
        &mut self,
        value: &Value,
        axis: usize,
        start: usize,
        step: i64,
        count: usize,
    ) -> Result<Value> {
        let dims = self.dims(value);
        if start == 0 && step == 1 && dims.get(axis) == Some(&count) {
            return Ok(value.clone());
        }
        if count == 0 {
            return self.empty(value, axis);
        }
        let attrs = json!({"axis": axis, "start": start, "step": step, "count": count});
        self.apply("Slice", attrs, &[value])
    }

    /// Nothing of a constant; the graph itself has no empty values.
    pub(super) fn empty(&self, value: &Value, axis: usize) -> Result<Value> {
        let mut dims = self.dims(value);
        match (value, dims.get_mut(axis)) {
            (Value::Literal(l), Some(extent)) => {
                *extent = 0;
                Ok(self.constant(&dims, Vec::new(), l.kind))
            }
            _ => Err(Refusal::new(
                "makes a value without elements, which is not supported; export the model again",
            )),
        }
    }

    /// A constant computed element by element from another.
    pub(super) fn map(
        &mut self,
        literal: &Literal,
        kind: Kind,
        f: impl Fn(f64) -> f64,
    ) -> Result<Value> {
        self.builder.allow(literal.shape())?;
        Ok(Value::literal(Literal::new(
            &self.name,
            kind,
            literal.double().map(f),
        )))
    }
}

/// The axis that `axis` means, counted from the end where it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 {
        axis.saturating_add(rank as i64)
    } else {
        axis
    };
    usize::try_from(from_start)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| {
            Refusal::new(format!(
                "has the axis {axis}, and its input has {rank} axes; export the model again"
            ))
        })
}

/// The axes that `axes` mean, in their order; none twice.
pub(super) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>> {
    let mut axes = Vec::with_capacity(list.len().min(rank));
    for &a in list {
        let a = axis(a, rank)?;
        if axes.contains(&a) {
            return Err(Refusal::new(format!(
                "names axis {a} twice; export the model again"
            )));
        }
        axes.push(a);
    }
    Ok(axes)
}

fn unknown(what: &str) -> Refusal {
    Refusal::new(format!(
        "takes its {what} from values that depend on the picture, which is not supported; export the model with fixed sizes"
    ))
}
