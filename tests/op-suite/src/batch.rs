//! Batches of pictures, and the same pictures one by one.

use crate::{Check, Problem};
use limpid_device::Device;
use limpid_graph::case::{Case, Role};
use limpid_graph::passes::lower;
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph, Op};

/// A case on a batch, and on each of its images alone.
pub struct Batched {
    /// On all of them.
    pub all: Problem,
    /// On each.
    pub each: Vec<Problem>,
}

impl Batched {
    /// The same on numbers of bf16.
    #[must_use]
    pub fn rounded(&self) -> Self {
        Self {
            all: self.all.rounded(),
            each: self.each.iter().map(Problem::rounded).collect(),
        }
    }
}

/// The bits of what a device puts out.
///
/// # Panics
/// When it cannot run the problem.
pub fn bits(device: &dyn Device, problem: &Problem) -> Vec<Vec<u32>> {
    let fail = |e: &dyn std::fmt::Display| -> ! { panic!("{}: {e}", problem.name) };
    let prepared = problem.prepare(device).unwrap_or_else(|e| fail(&e));
    let outputs = problem.execute(device, &*prepared);
    let bits = |o: &Vec<f32>| o.iter().map(|v| v.to_bits()).collect();
    outputs
        .unwrap_or_else(|e| fail(&e))
        .iter()
        .map(bits)
        .collect()
}

/// The cases whose first axis is a batch of images that do not meet.
///
/// # Panics
/// When there are fewer than twenty: the cases have changed.
#[must_use]
pub fn batched_problems() -> Vec<Batched> {
    let all: Vec<Batched> = Op::cases().iter().filter_map(batched).collect();
    assert!(all.len() > 20, "only {} cases have batches", all.len());
    all
}

fn batched(case: &Case) -> Option<Batched> {
    let n = case.inputs[0].fact.shape.first().copied().unwrap_or(1);
    if n < 2 {
        return None;
    }
    let each = (0..n)
        .map(|i| images(case, i, 1))
        .collect::<Option<Vec<_>>>()?;
    let all = images(case, 0, n)?;
    // Not every operator treats its first axis as a batch.
    let exact = |p: &Problem| {
        let outputs = reference::run(&p.graph, &p.inputs).ok()?;
        Some(outputs.into_iter().next()?.data)
    };
    let alone: Vec<Vec<f64>> = each.iter().map(exact).collect::<Option<_>>()?;
    (alone.concat() == exact(&all)?).then_some(Batched { all, each })
}

/// The case on `count` of its images from `first` on, if images are all that
/// it is given and it treats each on its own.
fn images(case: &Case, first: usize, count: usize) -> Option<Problem> {
    let only = |(i, role)| (role == Role::Constant) == (i > 0);
    if !case.inputs.iter().map(|i| i.role).enumerate().all(only) {
        return None;
    }
    let whole = case.build().ok()?;
    let mut shape = whole.inputs[0].shape.to_vec();
    let image = whole.inputs[0].data.len() / shape[0];
    shape[0] = count;
    let mut graph = Graph::new();
    let mut ids = vec![graph.input("x", Fact::f32(&shape[..]))];
    for v in &whole.graph.nodes()[0].inputs[1..] {
        ids.push(graph.constant("constant", whole.graph.constant_of(*v)?));
    }
    let y = graph.push(&case.name, case.op.clone(), &ids).ok()?[0];
    graph.set_outputs(&[y]);
    let graph = lower(&graph).ok()?;
    let y = graph.outputs()[0];
    graph.producer(y)?;
    let batched = graph.fact(y).shape[0] == count && graph.fact(y).dtype == Fact::f32([]).dtype;
    let data = whole.inputs[0].data[first * image..][..count * image].to_vec();
    batched.then(|| Problem {
        name: case.name.clone(),
        graph: graph.into(),
        inputs: vec![RefTensor::new(shape, data)],
        checks: vec![Check::Exact],
    })
}
