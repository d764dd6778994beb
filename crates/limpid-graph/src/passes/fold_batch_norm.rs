use super::{eliminate_dead_code, rewrite};
use crate::ops::{BatchNormalization, Conv, Op};
use crate::{Graph, GraphError, Node, ValueId};
use limpid_tensor::Tensor;
use std::sync::Arc;

/// Folds each batch normalisation into the convolution before it, in f64.
/// A convolution whose own result is an output, or read elsewhere, stays.
///
/// # Errors
/// When memory for the folded weights is short.
pub fn fold_batch_norm(graph: &Graph) -> Result<Graph, GraphError> {
    let uses = graph.uses();
    let folded = rewrite(graph, |new, map, _, node| {
        let inputs = map.all(&node.inputs);
        let outs = match candidate(graph, &uses, node) {
            Some((norm, conv)) => {
                let (weight, bias) = fold(graph, norm, node, conv)?;
                let weight = new.constant(format!("{}.weight", node.name), Arc::new(weight));
                let bias = new.constant(format!("{}.bias", node.name), Arc::new(bias));
                let x = map.get(conv.inputs[0]);
                new.push(node.name.clone(), conv.op.clone(), &[x, weight, bias])?
            }
            None => new.push(node.name.clone(), node.op.clone(), &inputs)?,
        };
        Ok(outs.into_iter().map(Some).collect())
    })?;
    eliminate_dead_code(&folded)
}

/// The convolution that the batch normalisation `node` can be folded into.
fn candidate<'a>(
    graph: &'a Graph,
    uses: &[usize],
    node: &'a Node,
) -> Option<(&'a BatchNormalization, &'a Node)> {
    let Op::BatchNormalization(norm) = &node.op else {
        return None;
    };
    let (_, conv) = graph.producer(node.inputs[0])?;
    let constant = |v: &ValueId| graph.constant_tensor(*v).is_some();
    let foldable = matches!(&conv.op, Op::Conv(Conv { epilogue, .. }) if epilogue.is_none())
        && uses[node.inputs[0].index()] == 1
        && conv.inputs[1..].iter().all(constant)
        && node.inputs[1..].iter().all(constant);
    foldable.then_some((norm, conv))
}

fn fold(
    graph: &Graph,
    norm: &BatchNormalization,
    node: &Node,
    conv: &Node,
) -> Result<(Tensor, Tensor), GraphError> {
    let values = |v: ValueId| -> Vec<f64> {
        let t = graph.constant_tensor(v).expect("checked to be a constant");
        t.data().iter().map(|x| f64::from(*x)).collect()
    };
    let statistics = [1, 2, 3, 4].map(|i| values(node.inputs[i]));
    let affine = norm.affine([0, 1, 2, 3].map(|i| &statistics[i][..]));
    let weight = graph
        .constant_tensor(conv.inputs[1])
        .expect("checked to be a constant");
    let taps = weight.data().len() / affine.len().max(1);
    let folded = weight
        .data()
        .iter()
        .enumerate()
        .map(|(i, w)| (f64::from(*w) * affine[i / taps].0) as f32)
        .collect();
    let before = conv.inputs.get(2).map(|v| values(*v));
    let bias: Vec<f32> = affine
        .iter()
        .enumerate()
        .map(|(c, (factor, offset))| {
            (before.as_ref().map_or(0.0, |b| b[c]) * factor + offset) as f32
        })
        .collect();
    let bias = Tensor::new([bias.len()], bias)?;
    Ok((Tensor::new(weight.shape(), folded)?, bias))
}
