use super::{AxisFilter, Cost, Operator, SparseMatrix, arity, axis_filter, typed};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// Every `step`-th element along an axis: element k of the output is element
/// `start` + k * `step` of the input.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// The axis.
    pub axis: usize,
    /// The position of the first element.
    pub start: usize,
    /// The distance between two elements; below 0 it leads backwards.
    #[serde(default = "one")]
    pub step: i64,
    /// How many elements; -1 takes all up to the end, or backwards to the beginning.
    pub count: i64,
}

fn one() -> i64 {
    1
}

impl Slice {
    /// How many elements there are of an axis of this extent.
    fn count_of(&self, extent: usize) -> Result<usize, OpError> {
        let bad = |name, expected| Err(OpError::Attribute { name, expected });
        if self.start >= extent {
            return bad("start", "below the axis's extent");
        }
        let behind = if self.step > 0 {
            extent - 1 - self.start
        } else {
            self.start
        };
        let Ok(step) = usize::try_from(self.step.unsigned_abs()) else {
            return bad("step", "smaller");
        };
        if step == 0 {
            return bad("step", "other than 0");
        }
        let most = behind / step + 1;
        match self.count {
            -1 => Ok(most),
            n => match usize::try_from(n) {
                Ok(n) if n <= most => Ok(n),
                _ => bad(
                    "count",
                    "-1, or so small that the last element lies in the axis",
                ),
            },
        }
    }

    /// The position of element k, which inference has accepted.
    fn position(&self, k: usize) -> usize {
        let distance = k * self.step.unsigned_abs() as usize;
        if self.step > 0 {
            self.start + distance
        } else {
            self.start - distance
        }
    }
}

impl Operator for Slice {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        let mut shape = inputs[0].shape.to_vec();
        axis_filter::check_axis(inputs, 0, self.axis)?;
        shape[self.axis] = self.count_of(shape[self.axis])?;
        Ok(vec![Fact::f32(shape)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let mut shape = x.shape.to_vec();
        shape[self.axis] = self.count_of(shape[self.axis]).expect("accepted before");
        vec![RefTensor::from_index(shape, |to| {
            let mut from = to.to_vec();
            let at = self.start as i64 + to[self.axis] as i64 * self.step;
            from[self.axis] = at as usize;
            x.at(&from)
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let extent = cx.dims(x)[self.axis];
        let count = self.count_of(extent).map_err(|e| cx.error(e))?;
        if (self.start, self.step, count) == (0, 1, extent) {
            return Ok(Some(vec![x]));
        }
        let matrix = SparseMatrix::selecting(extent, (0..count).map(|k| Some(self.position(k))));
        let axis = self.axis;
        Ok(Some(vec![cx.push(AxisFilter { axis, matrix }, &[x])?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        // (shape, axis, start, step, count)
        type Row = (&'static [usize], usize, usize, i64, i64);
        let rows: [Row; 11] = [
            (&[2, 33, 7, 5], 1, 16, 1, 16),
            (&[2, 33, 7, 5], 1, 5, 3, -1),
            (&[2, 17, 7, 5], 2, 0, 2, -1),
            (&[2, 17, 7, 5], 3, 4, -1, -1),
            (&[2, 17, 7, 5], 3, 4, -2, 2),
            (&[3, 5, 7], 0, 1, 1, 2),
            (&[2, 7, 33], 1, 0, 1, 1),
            (&[2, 7, 33], 2, 0, 1, -1),
            (&[3, 31], 1, 30, -5, -1),
            (&[2, 3, 4, 5, 6], 4, 1, 2, -1),
            (&[9], 0, 3, 1, 5),
        ];
        let mut cases = Vec::new();
        for (shape, axis, start, step, count) in rows {
            let op = Self {
                axis,
                start,
                step,
                count,
            };
            let name = format!("slice {shape:?} axis {axis} from {start} by {step} count {count}");
            let exact = vec![CaseInput::integers(shape, -99, 99)];
            cases.push(Case::new(&name, op, vec![CaseInput::variable(shape)]));
            cases.push(Case::new(format!("{name} exact"), op, exact));
        }
        cases
    }
}
