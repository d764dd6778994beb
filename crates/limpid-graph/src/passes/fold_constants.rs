use super::{eliminate_dead_code, rewrite};
use crate::reference::RefTensor;
use crate::{Constant, Fact, Graph, GraphError, Op, OpError};
use limpid_tensor::{DType, Tensor};

/// The operations that the constants of one network are computed with at most,
/// as it is done naively.
pub const MAX_CONSTANT_WORK: u64 = 1 << 26;

/// Computes, in f64, what depends on constants alone. What would take long is
/// left to the device.
///
/// # Errors
/// When memory is short, or a constant cannot be read.
pub fn fold_constants(graph: &Graph) -> Result<Graph, GraphError> {
    let mut work = MAX_CONSTANT_WORK;
    let folded = rewrite(graph, |new, map, _, node| {
        let inputs = map.all(&node.inputs);
        let constants = inputs.iter().map(|v| new.constant_of(*v));
        let computed = match constants.collect::<Option<Vec<_>>>() {
            Some(constants) => {
                constants_of(&node.op, &constants, &mut work).map_err(|source| GraphError::Op {
                    node: node.name.clone(),
                    op: node.op.name(),
                    source,
                })?
            }
            None => None,
        };
        let outs = match computed {
            Some(tensors) => {
                let names = node.outputs.iter().map(|v| graph.value(*v).name.clone());
                let named = names.zip(tensors);
                named.map(|(name, t)| new.constant(name, t)).collect()
            }
            None => new.push(node.name.clone(), node.op.clone(), &inputs)?,
        };
        Ok(outs.into_iter().map(Some).collect())
    })?;
    eliminate_dead_code(&folded)
}

/// What an operator makes of constants, computed in f64; `None` where that
/// takes more than the operations left in `work`, or makes something else than
/// floats.
///
/// # Errors
/// When the operator refuses the constants, or one cannot be read.
pub fn constants_of(
    op: &Op,
    inputs: &[&Constant],
    work: &mut u64,
) -> Result<Option<Vec<Tensor>>, OpError> {
    let facts: Vec<Fact> = inputs.iter().map(|c| Fact::f32(c.shape())).collect();
    let facts: Vec<&Fact> = facts.iter().collect();
    let made = op.infer(&facts)?;
    let cost = op.cost(&facts, &made.iter().collect::<Vec<_>>());
    let needed = cost.multiply_adds.saturating_add(cost.elementwise);
    let floats = made.iter().all(|f| f.dtype == DType::F32);
    match work.checked_sub(needed) {
        Some(left) if floats && !inputs.is_empty() => *work = left,
        _ => return Ok(None),
    }
    let operands = inputs.iter().map(|c| Ok(RefTensor::from(&*c.load()?)));
    let operands = operands.collect::<Result<Vec<_>, OpError>>()?;
    let results = op.reference(&operands.iter().collect::<Vec<_>>());
    let tensors = results.into_iter().map(|r| {
        let data = r.data.iter().map(|v| *v as f32).collect();
        Ok(Tensor::new(r.shape, data)?)
    });
    Ok(Some(tensors.collect::<Result<_, OpError>>()?))
}
