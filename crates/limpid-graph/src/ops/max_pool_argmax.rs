use super::{Cost, MaxPool, Operator, Residual, arity, image};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The second output of a [`MaxPool`] with `store_argmax`, alone: the tap
/// ky * kW + kx of the first element, in row-major order, that is the largest
/// of its window.
///
/// Input: x `[N, C, H, W]`. Output: bytes `[N, C, oH, oW]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPoolArgmax {
    /// The window.
    pub pool: MaxPool,
}

impl Operator for MaxPoolArgmax {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        let output = self.pool.output_of_bytes(image(inputs, 0)?)?;
        Ok(vec![Fact::new(DType::U8, output)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let [_, taps] = self.pool.naive(inputs[0]);
        vec![taps]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        Err(cx.no_gradient(input))
    }

    fn cost(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        self.pool.cost(inputs, outputs)
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for (name, pool, shape) in MaxPool::windows() {
            let name = format!("max pool argmax {name}");
            let random = vec![CaseInput::fixed(&shape)];
            let exact = vec![CaseInput::integers(&shape, -2, 2)];
            cases.push(Case::new(&name, Self { pool }, random));
            cases.push(Case::new(format!("{name} exact"), Self { pool }, exact));
        }
        cases
    }
}
