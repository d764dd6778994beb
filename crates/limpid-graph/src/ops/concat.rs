use super::{Cost, Operator, Residual, Slice, arity, axis_in, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::{DType, Shape, TensorError};
use serde::{Deserialize, Serialize};

/// The inputs, one behind the other along `axis`. Along the other axes extents
/// of 1 are stretched, as numpy broadcasts: a class token `[1, 1, C]` stands
/// before the tokens `[N, T, C]` of every picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concat {
    /// The axis along which the inputs follow one another.
    pub axis: usize,
}

impl Operator for Concat {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "at least 1", |n| n > 0)?;
        let rank = inputs[0].shape.len();
        axis_in(self.axis, rank)?;
        let (mut extent, mut others) = (0usize, Shape::from(vec![1; rank]));
        for (i, fact) in inputs.iter().enumerate() {
            typed(inputs, i, DType::F32)?;
            shaped(
                inputs,
                i,
                format!("of rank {rank}"),
                fact.shape.len() == rank,
            )?;
            let mut dims = fact.shape.to_vec();
            let own = std::mem::replace(&mut dims[self.axis], 1);
            let overflow = || TensorError::Overflow(fact.shape.clone());
            extent = extent.checked_add(own).ok_or_else(overflow)?;
            others = others
                .broadcast(&dims.into())
                .ok_or_else(|| OpError::Shape {
                    input: i,
                    expected: format!("broadcastable with {others} but for axis {}", self.axis),
                    found: fact.shape.clone(),
                })?;
        }
        let mut shape = others.to_vec();
        shape[self.axis] = extent;
        Ok(vec![Fact::f32(shape)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let facts: Vec<Fact> = inputs.iter().map(|t| Fact::f32(&t.shape)).collect();
        let facts: Vec<&Fact> = facts.iter().collect();
        let shape = self.infer(&facts).expect("accepted before").remove(0).shape;
        vec![RefTensor::from_index(shape, |index| {
            let (mut from, mut k) = (index.to_vec(), 0);
            while from[self.axis] >= inputs[k].shape[self.axis] {
                from[self.axis] -= inputs[k].shape[self.axis];
                k += 1;
            }
            for (i, d) in from.iter_mut().zip(&*inputs[k].shape) {
                *i %= d;
            }
            inputs[k].at(&from)
        })]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        let extent = |i: usize| cx.input_fact(i).shape[self.axis];
        let slice = Slice {
            axis: self.axis,
            start: (0..input).map(extent).sum(),
            step: 1,
            count: extent(input) as i64,
        };
        let g = cx.push(slice, &[g])?;
        cx.sum_to_input(g, input)
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        type Row = (&'static str, usize, &'static [&'static [usize]]);
        let rows: [Row; 11] = [
            ("one", 1, &[&[2, 5, 3]]),
            (
                "channels",
                1,
                &[&[2, 17, 7, 5], &[2, 33, 7, 5], &[2, 3, 7, 5]],
            ),
            ("whole blocks", 1, &[&[1, 16, 5, 5], &[1, 32, 5, 5]]),
            ("rows", 2, &[&[2, 17, 3, 5], &[2, 17, 4, 5]]),
            ("columns", 3, &[&[1, 20, 3, 5], &[1, 20, 3, 1]]),
            ("batch", 0, &[&[1, 17, 3, 5], &[2, 17, 3, 5]]),
            ("class token", 1, &[&[1, 1, 33], &[3, 7, 33]]),
            ("last axis", 2, &[&[2, 7, 31], &[2, 7, 33]]),
            ("stretched", 1, &[&[2, 17, 1, 1], &[2, 5, 3, 4]]),
            ("matrix", 1, &[&[3, 1], &[3, 65]]),
            ("rank 5", 3, &[&[2, 3, 2, 3, 5], &[2, 3, 1, 2, 5]]),
        ];
        let mut cases = Vec::new();
        for (name, axis, shapes) in rows {
            let random = shapes.iter().map(|s| CaseInput::variable(s)).collect();
            let exact = shapes
                .iter()
                .map(|s| CaseInput::integers(s, -99, 99))
                .collect();
            cases.push(Case::new(format!("concat {name}"), Self { axis }, random));
            cases.push(Case::new(
                format!("concat {name} exact"),
                Self { axis },
                exact,
            ));
        }
        cases
    }
}
