//! Every gradient with its own draw and position. The sums stay on the device:
//! what leaves it are the pilot's norms, the map and its standard error.

use super::Estimation;
use crate::sampling::{Estimate, JointPlanner, PILOT, REPLICATES};
use crate::{
    Accumulation, Context, DeviceTensor, ExplainError, Joint, Objective, Planner, Sums, Weighted,
};
use limpid_graph::ops::{Add, Mul, ReduceMean, ReduceSum, Sub};
use limpid_graph::{Fact, Graph, GraphError, ValueId};
use limpid_tensor::Tensor;

/// The map of a joint sampling.
pub(super) fn estimate(
    estimation: &Estimation<'_>,
    cx: &mut dyn Context,
    objective: &Objective,
    joint: Joint,
) -> Result<Estimate, ExplainError> {
    let dims = estimation.subject.image.dims();
    let pilot = match estimation.subject.path.ends() {
        Some(_) if joint.total() >= 2 * PILOT => Some(pilot(estimation, cx, objective)?),
        _ => None,
    };
    let (norms, before) = pilot.unzip();
    let norms = norms.unwrap_or_default();
    // Only a rule that stops has to see sums on the way.
    let seen = match (&before, joint.tolerance) {
        (Some(before), Some(_)) => rows(&cx.download(before)?, dims)?,
        _ => Vec::new(),
    };
    let walk = &*estimation.trajectory.joint_walk;
    let mut planner = JointPlanner::new(joint, estimation.seed, walk, &norms, seen);
    let expected = joint.total() - norms.len() as u64;
    let sums = sums(estimation, cx, objective, expected, &mut planner)?;
    let inputs: Vec<&DeviceTensor> = std::iter::once(&sums).chain(&before).collect();
    let made = cx.compute(&moments(dims, inputs.len())?, &inputs)?;
    let [mean, squares] = [cx.download(&made[0])?, cx.download(&made[1])?];
    let pairs = mean.data().iter().zip(squares.data());
    let pairs = pairs.map(|(m, s)| (f64::from(*m), f64::from(*s)));
    Estimate::from_moments(dims, pairs, planner.done())
}

/// The replicates' sums of what a planner asks for.
fn sums(
    estimation: &Estimation<'_>,
    cx: &mut dyn Context,
    objective: &Objective,
    expected: u64,
    planner: &mut dyn Planner,
) -> Result<DeviceTensor, ExplainError> {
    let request = Accumulation {
        subject: estimation.subject,
        objective,
        rows: REPLICATES,
        initial: Vec::new(),
        expected,
    };
    cx.accumulate(&request, planner)
}

/// A tensor `[N, ...]` as N of them.
fn rows(all: &Tensor, dims: &[usize]) -> Result<Vec<Tensor>, ExplainError> {
    let size = dims.iter().product::<usize>().max(1);
    let rows = all.data().chunks(size);
    rows.map(|row| Ok(Tensor::from_slice(dims, row)?)).collect()
}

/// One block of points.
struct Block(Vec<Weighted>);

impl Planner for Block {
    fn next(&mut self, _: &mut Sums<'_>) -> Result<Vec<Weighted>, ExplainError> {
        Ok(std::mem::take(&mut self.0))
    }
}

/// The first gradients: their parameters and squared norms, and their sums,
/// one for each replicate. A gradient of each replicate is taken at a time, so
/// that a sum is one gradient and its norm is the gradient's.
#[allow(clippy::type_complexity)]
fn pilot(
    estimation: &Estimation<'_>,
    cx: &mut dyn Context,
    objective: &Objective,
) -> Result<(Vec<(f64, f64)>, DeviceTensor), ExplainError> {
    let points = JointPlanner::pilot(estimation.seed, &*estimation.trajectory.joint_walk);
    let dims = estimation.subject.image.dims();
    let mut norms = Vec::with_capacity(points.len());
    let mut total: Option<DeviceTensor> = None;
    for points in points.chunks(REPLICATES) {
        let block = points.iter().map(|(_, point)| *point).collect();
        let count = points.len() as u64;
        let maps = sums(estimation, cx, objective, count, &mut Block(block))?;
        let inputs: Vec<&DeviceTensor> = std::iter::once(&maps).chain(&total).collect();
        let mut made = cx.compute(&squared_norms(dims, inputs.len())?, &inputs)?;
        let found = cx.download(&made[0])?;
        let found = found.data().iter().map(|norm| f64::from(*norm));
        norms.extend(points.iter().map(|(u, _)| *u).zip(found));
        total = made.pop().filter(|_| inputs.len() > 1).or(Some(maps));
    }
    total
        .map(|total| (norms, total))
        .ok_or(ExplainError::Cancelled)
}

/// Inputs `[replicates, C, H, W]` and their sum.
fn added(graph: &mut Graph, dims: &[usize], inputs: usize) -> Result<ValueId, GraphError> {
    let fact = Fact::f32([&[REPLICATES], dims].concat());
    let first = graph.input("sums", fact.clone());
    match inputs {
        1 => Ok(first),
        _ => {
            let before = graph.input("before", fact);
            Ok(graph.push("all", Add {}, &[before, first])?[0])
        }
    }
}

/// The squared norm of each row of the first input, and the inputs' sum where
/// there are two.
fn squared_norms(dims: &[usize], inputs: usize) -> Result<Graph, GraphError> {
    let mut graph = Graph::new();
    let all = added(&mut graph, dims, inputs)?;
    let maps = graph.inputs()[0];
    let squares = graph.push("squares", Mul {}, &[maps, maps])?[0];
    let axes = (1..=dims.len()).collect();
    let norms = graph.push("norms", ReduceSum { axes }, &[squares])?[0];
    match inputs {
        1 => graph.set_outputs(&[norms]),
        _ => graph.set_outputs(&[norms, all]),
    }
    Ok(graph)
}

/// The mean over the replicates, and the sum of squared deviations from it, of
/// the inputs' sum.
fn moments(dims: &[usize], inputs: usize) -> Result<Graph, GraphError> {
    let mut graph = Graph::new();
    let all = added(&mut graph, dims, inputs)?;
    let mean = graph.push("mean", ReduceMean { axes: vec![0] }, &[all])?[0];
    let deviations = graph.push("deviations", Sub {}, &[all, mean])?[0];
    let squares = graph.push("squares", Mul {}, &[deviations, deviations])?[0];
    let squares = graph.push("sum", ReduceSum { axes: vec![0] }, &[squares])?[0];
    graph.set_outputs(&[mean, squares]);
    Ok(graph)
}
