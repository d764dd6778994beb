use super::{eliminate_dead_code, rewrite};
use crate::ops::{BatchNormalization, Conv, Op};
use crate::{Graph, GraphError, Node, ValueId};
use limpid_tensor::Tensor;

/// Folds each batch normalisation into the convolution before it: a factor and
/// a bias for each output channel, computed in f64. The weights stay as they
/// are. Multiplied by the factor and rounded to f32 they would make a slightly
/// different network, off in the same way at every pixel, and units near a kink
/// would switch together.
///
/// A convolution whose own result is an output, or read elsewhere, stays.
///
/// # Errors
/// When memory is short, or a constant cannot be read.
pub fn fold_batch_norm(graph: &Graph) -> Result<Graph, GraphError> {
    let uses = graph.uses();
    let folded = rewrite(graph, |new, map, _, node| {
        let inputs = map.all(&node.inputs);
        let outs = match candidate(graph, &uses, node) {
            Some((norm, conv)) => {
                let (scale, bias) = fold(graph, norm, node, conv)?;
                let bias = new.constant(format!("{}.bias", node.name), bias);
                let scale = new.constant(format!("{}.scale", node.name), scale);
                let [x, weight] = [0, 1].map(|i| map.get(conv.inputs[i]));
                let mut op = conv.op.clone();
                if let Op::Conv(op) = &mut op {
                    op.scaled = true;
                }
                new.push(node.name.clone(), op, &[x, weight, bias, scale])?
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
    let constant = |v: &ValueId| graph.is_constant(*v);
    let foldable = matches!(&conv.op, Op::Conv(Conv { epilogue, scaled: false, .. }) if epilogue.is_none())
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
    let values = |v: &ValueId| -> Result<Vec<f64>, GraphError> {
        let constant = graph.constant_of(*v).expect("checked to be a constant");
        Ok(constant
            .load()?
            .data()
            .iter()
            .map(|x| f64::from(*x))
            .collect())
    };
    let statistics = node.inputs[1..].iter().map(values);
    let statistics = statistics.collect::<Result<Vec<_>, _>>()?;
    let affine = norm.affine([0, 1, 2, 3].map(|i| &statistics[i][..]));
    let before = conv.inputs.get(2).map(values).transpose()?;
    let bias: Vec<f32> = affine
        .iter()
        .enumerate()
        .map(|(c, (factor, offset))| {
            (before.as_ref().map_or(0.0, |b| b[c]) * factor + offset) as f32
        })
        .collect();
    let scale: Vec<f32> = affine.iter().map(|(factor, _)| *factor as f32).collect();
    let channels = [affine.len()];
    Ok((Tensor::new(channels, scale)?, Tensor::new(channels, bias)?))
}
