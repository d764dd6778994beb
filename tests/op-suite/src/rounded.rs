//! Problems for devices that multiply bf16: all that they are given is rounded
//! to it, and images lie in it before and behind the operator.

use crate::compare::{Check, Tolerance};
use crate::problem::Problem;
use half::bf16;
use limpid_graph::ops::{Arrangement, Relayout};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Graph, GraphError, Source, ValueId};
use limpid_tensor::{DType, Tensor};
use std::sync::Arc;

fn round(x: f64) -> f64 {
    bf16::from_f32(x as f32).to_f64()
}

impl Problem {
    /// The problem on inputs and constants of bf16, of which images are read
    /// and written as such.
    #[must_use]
    pub fn rounded(&self) -> Self {
        // The graph exists: it can be built again.
        let rounded = self.try_rounded();
        rounded.unwrap_or_else(|e| panic!("`{}` cannot be rounded: {e}", self.name))
    }

    fn try_rounded(&self) -> Result<Self, GraphError> {
        let old = &self.graph;
        let half = Relayout {
            from: Arrangement::Image,
            to: Arrangement::Half,
        };
        let mut graph = Graph::new();
        let mut map: Vec<Option<ValueId>> = vec![None; old.values().len()];
        for (i, v) in old.values().iter().enumerate() {
            map[i] = match &v.source {
                Source::Input(_) => Some(graph.input(v.name.clone(), v.fact.clone())),
                Source::Constant(c) => {
                    let t = c.load()?;
                    let data = t.data().iter().map(|v| bf16::from_f32(*v).to_f32());
                    let t = Tensor::new(t.shape().clone(), data.collect())?;
                    Some(graph.constant(v.name.clone(), t))
                }
                Source::Node { .. } => None,
            };
        }
        let mut inputs = self.inputs.clone();
        for (v, t) in old.inputs().iter().zip(&mut inputs) {
            if old.fact(*v).dtype == DType::F32 {
                *t = t.map(round);
                if let Some(new) = &mut map[v.index()] {
                    *new = graph.push("rounded", half, &[*new])?[0];
                }
            }
        }
        for node in old.nodes() {
            let read: Vec<ValueId> = node.inputs.iter().filter_map(|v| map[v.index()]).collect();
            let made = graph.push(node.name.clone(), node.op.clone(), &read)?;
            for (v, new) in node.outputs.iter().zip(made) {
                map[v.index()] = Some(new);
            }
        }
        let mut outputs = Vec::new();
        for v in old.outputs().iter().filter_map(|v| map[v.index()]) {
            outputs.push(graph.push("rounded", half, &[v])?[0]);
        }
        graph.set_outputs(&outputs);
        let expected = reference::run(&graph, &inputs)?;
        let checks = self.checks.iter().zip(&expected);
        let checks = checks.map(|(check, expected)| check.rounded(expected));
        Ok(Self {
            name: self.name.clone(),
            checks: checks.collect(),
            graph: Arc::new(graph),
            inputs,
        })
    }
}

impl Check {
    /// What is asked of a result that is rounded to bf16.
    fn rounded(&self, expected: &RefTensor) -> Self {
        let fits = |v: &f64| !v.is_finite() || round(*v) == *v;
        match self {
            Self::Mask(unsure) => Self::Mask(unsure.clone()),
            Self::Exact if expected.data.iter().all(fits) => Self::Exact,
            Self::Exact => Self::close_to_largest(expected, 1.0).rounded(expected),
            Self::Close(scale, _) => Self::Close(scale.clone(), Tolerance::BF16),
        }
    }
}
