use super::{Cost, Operator, Transpose, arity, depth_to_space, image, shaped};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// Blocks of pixels laid out as channels, the block's position changing
/// slowest: `[N, C, H, W]` to `[N, C * b^2, H / b, W / b]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceToDepth {
    /// The extent b of a block.
    pub blocksize: usize,
}

impl Operator for SpaceToDepth {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        let [n, c, h, w] = image(inputs, 0)?;
        let (b, square) = (self.blocksize, depth_to_space::square(self.blocksize)?);
        let whole = h % b == 0 && w % b == 0;
        shaped(inputs, 0, format!("a multiple of {b} high and wide"), whole)?;
        let overflow = || limpid_tensor::TensorError::Overflow(inputs[0].shape.clone());
        let channels = c.checked_mul(square).ok_or_else(overflow)?;
        Ok(vec![Fact::f32([n, channels, h / b, w / b])])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (x, b) = (inputs[0], self.blocksize);
        let [n, c, h, w] = [0, 1, 2, 3].map(|i| x.shape[i]);
        vec![RefTensor::from_index([n, c * b * b, h / b, w / b], |to| {
            let (place, channel) = (to[1] / c, to[1] % c);
            x.at(&[to[0], channel, to[2] * b + place / b, to[3] * b + place % b])
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let (x, b) = (cx.input(0), self.blocksize);
        let dims = cx.dims(x);
        let (n, c, h, w) = (dims[0], dims[1], dims[2] / b, dims[3] / b);
        let x = cx.reshape(x, &[n, c, h, b, w, b])?;
        let perm = vec![0, 3, 5, 1, 2, 4];
        let x = cx.push(Transpose { perm }, &[x])?;
        Ok(Some(vec![cx.reshape(x, &[n, c * b * b, h, w])?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for (shape, blocksize) in [([2, 3, 6, 10], 2), ([1, 17, 3, 6], 3), ([1, 4, 1, 1], 1)] {
            let op = Self { blocksize };
            let name = format!("space to depth {shape:?} {blocksize}");
            let exact = vec![CaseInput::integers(&shape, -99, 99)];
            cases.push(Case::new(&name, op, vec![CaseInput::variable(&shape)]));
            cases.push(Case::new(format!("{name} exact"), op, exact));
        }
        cases
    }
}
