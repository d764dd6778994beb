use super::{AxisFilter, Cost, Operator, SparseMatrix, arity, axis_filter, typed};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The elements moved along an axis; those that leave it at one end come in at
/// the other, as with `torch.roll`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roll {
    /// The axis.
    pub axis: usize,
    /// How far, towards larger positions.
    pub shift: i64,
}

impl Operator for Roll {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        axis_filter::check_axis(inputs, 0, self.axis)?;
        Ok(vec![inputs[0].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let mut out = x.clone();
        let n = x.shape[self.axis];
        let inner: usize = x.shape[self.axis + 1..].iter().product();
        // Line by line, as the standard library turns a slice.
        for start in (0..x.data.len()).filter(|i| (i / inner).is_multiple_of(n)) {
            let mut line: Vec<f64> = (0..n).map(|k| x.data[start + k * inner]).collect();
            line.rotate_right(self.shift.rem_euclid(n as i64) as usize);
            for (k, v) in line.into_iter().enumerate() {
                out.data[start + k * inner] = v;
            }
        }
        vec![out]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let n = cx.dims(x)[self.axis];
        let shift = self.shift.rem_euclid(n as i64) as usize;
        let rows = (0..n).map(|k| Some((k + n - shift) % n));
        let filter = AxisFilter {
            axis: self.axis,
            matrix: SparseMatrix::selecting(n, rows),
        };
        Ok(Some(vec![cx.push(filter, &[x])?]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        type Row = (&'static [usize], usize, i64);
        let rows: [Row; 6] = [
            (&[2, 7, 5, 33], 1, -3),
            (&[2, 7, 5, 33], 2, 1),
            (&[2, 17, 5, 3], 1, 20),
            (&[2, 17, 5, 3], 3, i64::MIN),
            (&[3, 7], 0, 2),
            (&[2, 2, 3, 2, 3], 4, -1),
        ];
        let mut cases = Vec::new();
        for (shape, axis, shift) in rows {
            let op = Self { axis, shift };
            let name = format!("roll {shape:?} axis {axis} by {shift}");
            let exact = vec![CaseInput::integers(shape, -99, 99)];
            cases.push(Case::new(&name, op, vec![CaseInput::variable(shape)]));
            cases.push(Case::new(format!("{name} exact"), op, exact));
        }
        cases
    }
}
