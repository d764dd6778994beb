use super::{Cost, Operator, Residual, arity, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The axes in another order: axis k of the output is axis `perm[k]` of the input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transpose {
    /// The input's axes in the output's order.
    pub perm: Vec<usize>,
}

impl Transpose {
    /// The exchange of two axes of a value of this rank.
    #[must_use]
    pub fn swapping(rank: usize, a: usize, b: usize) -> Self {
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(a, b);
        Self { perm }
    }

    /// The transposition that takes this one back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let mut perm = vec![0; self.perm.len()];
        for (to, &from) in self.perm.iter().enumerate() {
            perm[from] = to;
        }
        Self { perm }
    }
}

impl Operator for Transpose {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        let from = &inputs[0].shape;
        let mut sorted = self.perm.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..from.len()) {
            return Err(OpError::Attribute {
                name: "perm",
                expected: "a permutation of the input's axes",
            });
        }
        let shape: Vec<usize> = self.perm.iter().map(|axis| from[*axis]).collect();
        Ok(vec![Fact::f32(shape)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let shape: Vec<usize> = self.perm.iter().map(|axis| x.shape[*axis]).collect();
        let mut from = vec![0; shape.len()];
        vec![RefTensor::from_index(shape, |to| {
            for (&axis, i) in self.perm.iter().zip(to) {
                from[axis] = *i;
            }
            x.at(&from)
        })]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, _input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        cx.push(self.inverse(), &[g])
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        type Row = (&'static [usize], &'static [usize]);
        let rows: [Row; 12] = [
            (&[7, 33], &[1, 0]),
            (&[2, 7, 65], &[0, 2, 1]),
            (&[3, 5, 17], &[2, 0, 1]),
            (&[2, 17, 7, 5], &[0, 2, 3, 1]),
            (&[2, 7, 5, 17], &[0, 3, 1, 2]),
            (&[2, 33, 3, 5], &[0, 1, 3, 2]),
            (&[1, 3, 8, 9], &[0, 2, 3, 1]),
            (&[3, 7, 4, 31], &[0, 2, 1, 3]),
            (&[2, 3, 4, 5], &[0, 1, 2, 3]),
            (&[2, 7, 3, 2, 5], &[0, 3, 1, 4, 2]),
            (&[2, 2, 3, 2, 3, 17], &[0, 1, 3, 2, 4, 5]),
            (&[5], &[0]),
        ];
        let mut cases = Vec::new();
        for (shape, perm) in rows {
            let perm = perm.to_vec();
            let name = format!("transpose {shape:?} {perm:?}");
            let op = Self { perm };
            let random = vec![CaseInput::variable(shape)];
            let exact = vec![CaseInput::integers(shape, -99, 99)];
            cases.push(Case::new(&name, op.clone(), random));
            cases.push(Case::new(format!("{name} exact"), op, exact));
        }
        cases
    }
}
