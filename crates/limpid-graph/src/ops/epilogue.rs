use super::{Clip, MaskMul, RangeMask, arity, shaped, typed};
use crate::reference::RefTensor;
use crate::{Fact, OpError, Operator};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// Work that a product or convolution does on its result before storing it,
/// in this order. Passes set it; a fresh operator has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Epilogue {
    /// Add another input of the result's shape: a residual branch, or the
    /// gradient of another consumer.
    pub add: bool,
    /// Clip the result.
    pub clip: Option<Clip>,
    /// Put out the mask of the result as a second output.
    pub store_mask: Option<RangeMask>,
    /// Multiply by a mask, the last input.
    pub mask_mul: bool,
}

impl Epilogue {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// How many inputs it adds, behind the operator's own.
    #[must_use]
    pub fn inputs(&self) -> usize {
        usize::from(self.add) + usize::from(self.mask_mul)
    }

    /// The operator's own inputs and those of the epilogue.
    ///
    /// # Errors
    /// When there are fewer than the epilogue takes.
    pub fn split<'a, T>(&self, inputs: &'a [T]) -> Result<(&'a [T], &'a [T]), OpError> {
        let own = inputs.len().checked_sub(self.inputs());
        own.map(|n| inputs.split_at(n)).ok_or(OpError::InputCount {
            expected: "its own and its epilogue's",
            found: inputs.len(),
        })
    }

    pub(super) fn infer(&self, out: Fact, extra: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(extra, "its own and its epilogue's", |n| n == self.inputs())?;
        for (i, fact) in extra.iter().enumerate() {
            let mask = self.mask_mul && i + 1 == extra.len();
            typed(extra, i, if mask { DType::Bits } else { DType::F32 })?;
            shaped(extra, i, format!("{}", out.shape), fact.shape == out.shape)?;
        }
        let mask = self.store_mask.map(|_| Fact::bits(&out.shape));
        Ok(std::iter::once(out).chain(mask).collect())
    }

    pub(super) fn reference(&self, mut out: RefTensor, extra: &[&RefTensor]) -> Vec<RefTensor> {
        if self.add {
            out = out.zip(extra[0], |a, b| a + b);
        }
        if let Some(clip) = self.clip {
            out = clip.reference(&[&out]).remove(0);
        }
        let mask = self.store_mask.map(|m| m.reference(&[&out]).remove(0));
        if self.mask_mul {
            out = MaskMul {}
                .reference(&[&out, extra[extra.len() - 1]])
                .remove(0);
        }
        std::iter::once(out).chain(mask).collect()
    }
}
