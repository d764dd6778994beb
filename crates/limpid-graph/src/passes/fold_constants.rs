use super::{eliminate_dead_code, rewrite};
use crate::reference::RefTensor;
use crate::{Fact, Graph, GraphError};
use limpid_tensor::{DType, Tensor};
use std::sync::Arc;

/// The most work that a constant is computed with here, where it is done naively.
const MAX_WORK: u64 = 1 << 28;

/// Computes, in f64, what depends on constants alone. What would take long is
/// left to the device.
///
/// # Errors
/// When memory is short.
pub fn fold_constants(graph: &Graph) -> Result<Graph, GraphError> {
    let folded = rewrite(graph, |new, map, _, node| {
        let inputs = map.all(&node.inputs);
        let outs = new.push(node.name.clone(), node.op.clone(), &inputs)?;
        let tensors: Option<Vec<_>> = inputs.iter().map(|v| new.constant_tensor(*v)).collect();
        let facts = |ids: &[crate::ValueId]| -> Vec<&Fact> { ids.iter().map(|v| new.fact(*v)).collect() };
        let (of, made) = (facts(&inputs), facts(&outs));
        let cost = node.op.cost(&of, &made);
        let small = cost.multiply_adds.saturating_add(cost.elementwise) <= MAX_WORK;
        let floats = made.iter().all(|f| f.dtype == DType::F32);
        let Some(tensors) = tensors.filter(|t| small && floats && !t.is_empty()) else {
            return Ok(outs.into_iter().map(Some).collect());
        };
        let operands: Vec<RefTensor> = tensors.iter().map(|t| RefTensor::from(&***t)).collect();
        let results = node.op.reference(&operands.iter().collect::<Vec<_>>());
        let mut constants = Vec::with_capacity(outs.len());
        for (value, result) in outs.iter().zip(results) {
            let data = result.data.iter().map(|v| *v as f32).collect();
            let tensor = Tensor::new(result.shape, data)?;
            let name = new.value(*value).name.clone();
            constants.push(Some(new.constant(name, Arc::new(tensor))));
        }
        Ok(constants)
    })?;
    eliminate_dead_code(&folded)
}
