use super::{Cost, Operator, Transpose, arity, image, shaped};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// Which channels make a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DepthToSpaceMode {
    /// The block's position changes slowest: channel (dy * b + dx) * C' + c.
    #[default]
    #[serde(rename = "DCR")]
    Dcr,
    /// The block's position changes fastest, as PyTorch's `pixel_shuffle` has
    /// it: channel (c * b + dy) * b + dx.
    #[serde(rename = "CRD")]
    Crd,
}

/// Channels laid out as blocks of pixels: `[N, C, H, W]` to
/// `[N, C / b^2, H * b, W * b]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthToSpace {
    /// The extent b of a block.
    pub blocksize: usize,
    /// Which channels make a block.
    #[serde(default)]
    pub mode: DepthToSpaceMode,
}

/// The square of a block's extent, if it is one.
pub(super) fn square(blocksize: usize) -> Result<usize, OpError> {
    if (1..=1 << 10).contains(&blocksize) {
        return Ok(blocksize * blocksize);
    }
    Err(OpError::Attribute {
        name: "blocksize",
        expected: "between 1 and 2^10",
    })
}

impl Operator for DepthToSpace {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        let [n, c, h, w] = image(inputs, 0)?;
        let (b, square) = (self.blocksize, square(self.blocksize)?);
        shaped(
            inputs,
            0,
            format!("of a multiple of {square} channels"),
            c % square == 0,
        )?;
        Ok(vec![Fact::f32([n, c / square, h * b, w * b])])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (x, b) = (inputs[0], self.blocksize);
        let [n, c, h, w] = [0, 1, 2, 3].map(|i| x.shape[i]);
        let channels = c / (b * b);
        vec![RefTensor::from_index([n, channels, h * b, w * b], |to| {
            let (dy, dx) = (to[2] % b, to[3] % b);
            let channel = match self.mode {
                DepthToSpaceMode::Dcr => (dy * b + dx) * channels + to[1],
                DepthToSpaceMode::Crd => (to[1] * b + dy) * b + dx,
            };
            x.at(&[to[0], channel, to[2] / b, to[3] / b])
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let (x, b) = (cx.input(0), self.blocksize);
        let dims = cx.dims(x);
        let (n, c, h, w) = (dims[0], dims[1] / (b * b), dims[2], dims[3]);
        let (blocks, perm) = match self.mode {
            DepthToSpaceMode::Dcr => ([n, b, b, c, h, w], vec![0, 3, 4, 1, 5, 2]),
            DepthToSpaceMode::Crd => ([n, c, b, b, h, w], vec![0, 1, 4, 2, 5, 3]),
        };
        let x = cx.reshape(x, &blocks)?;
        let x = cx.push(Transpose { perm }, &[x])?;
        Ok(Some(vec![cx.reshape(x, &[n, c, h * b, w * b])?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for (shape, blocksize) in [([2, 36, 3, 5], 2), ([1, 27, 2, 3], 3), ([1, 4, 1, 1], 1)] {
            for mode in [DepthToSpaceMode::Dcr, DepthToSpaceMode::Crd] {
                let op = Self { blocksize, mode };
                let name = format!("depth to space {shape:?} {blocksize} {mode:?}");
                let exact = vec![CaseInput::integers(&shape, -99, 99)];
                cases.push(Case::new(&name, op, vec![CaseInput::variable(&shape)]));
                cases.push(Case::new(format!("{name} exact"), op, exact));
            }
        }
        cases
    }
}
