use super::{Cost, Operator, Residual, arity, axis_in, count, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// A matrix of few entries, row after row.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SparseMatrix {
    columns: usize,
    /// Row r has the entries from `starts[r]` to `starts[r + 1]`.
    starts: Vec<usize>,
    entries: Vec<(usize, f32)>,
}

impl SparseMatrix {
    /// The matrix of these rows of (column, weight).
    #[must_use]
    pub fn new(columns: usize, rows: impl IntoIterator<Item = Vec<(usize, f32)>>) -> Self {
        let (mut starts, mut entries) = (vec![0], Vec::new());
        for row in rows {
            entries.extend(row);
            starts.push(entries.len());
        }
        Self {
            columns,
            starts,
            entries,
        }
    }

    /// The matrix whose row r takes one column, or nothing.
    #[must_use]
    pub fn selecting(columns: usize, rows: impl IntoIterator<Item = Option<usize>>) -> Self {
        let row = |c: Option<usize>| c.map(|c| (c, 1.0)).into_iter().collect();
        Self::new(columns, rows.into_iter().map(row))
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The (column, weight) entries of a row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[(usize, f32)] {
        &self.entries[self.starts[row]..self.starts[row + 1]]
    }

    /// The number of entries.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// The transpose.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let mut rows = vec![Vec::new(); self.columns];
        for r in 0..self.rows() {
            for &(c, w) in self.row(r) {
                rows[c].push((r, w));
            }
        }
        Self::new(self.rows(), rows)
    }
}

/// A linear map along one axis: the matrix's rows are the output's positions,
/// its columns the input's. Slices, gathers, padding, resizing and average
/// pooling are such maps, and the gradient of each is the transpose's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisFilter {
    /// The axis.
    pub axis: usize,
    /// The matrix, `[output extent, input extent]`.
    pub matrix: SparseMatrix,
}

/// The longest axis for which a matrix is made.
const LONGEST: usize = 1 << 22;

/// Checks that an input has the axis, and that it is not too long for a matrix.
pub(super) fn check_axis(inputs: &[&Fact], input: usize, axis: usize) -> Result<(), OpError> {
    axis_in(axis, inputs[input].shape.len())?;
    let short = inputs[input].shape[axis] <= LONGEST;
    shaped(
        inputs,
        input,
        format!("at most 2^22 long on axis {axis}"),
        short,
    )
}

/// The most entries of a matrix that an operator is written with.
const MOST_ENTRIES: usize = 1 << 24;

/// Checks that a matrix of this many rows has not too many entries.
pub(super) fn check_entries(rows: usize, per_row: usize) -> Result<(), OpError> {
    if rows.checked_mul(per_row).is_some_and(|n| n <= MOST_ENTRIES) {
        return Ok(());
    }
    Err(OpError::Attribute {
        name: "window",
        expected: "such that windows at all positions have at most 2^24 elements of an axis",
    })
}

impl Operator for AxisFilter {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        let mut shape = inputs[0].shape.to_vec();
        let extent = shape.get_mut(self.axis).ok_or(OpError::Attribute {
            name: "axis",
            expected: "below the input's rank",
        })?;
        if *extent != self.matrix.columns() {
            return Err(OpError::Shape {
                input: 0,
                expected: format!("{} long on axis {}", self.matrix.columns(), self.axis),
                found: inputs[0].shape.clone(),
            });
        }
        *extent = self.matrix.rows();
        Ok(vec![Fact::f32(shape)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let inner: usize = x.shape[self.axis + 1..].iter().product();
        let (rows, columns) = (self.matrix.rows(), self.matrix.columns());
        let mut shape = x.shape.to_vec();
        shape[self.axis] = rows;
        let out = RefTensor::from_fn(shape, |i| {
            let (outer, row, at) = (i / inner / rows, i / inner % rows, i % inner);
            let terms = self.matrix.row(row).iter();
            terms
                .map(|(c, w)| f64::from(*w) * x.data[(outer * columns + c) * inner + at])
                .sum()
        });
        vec![out]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, _input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        let transposed = Self {
            axis: self.axis,
            matrix: self.matrix.transposed(),
        };
        cx.push(transposed, &[g])
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        let per_row = self.matrix.entries() / self.matrix.rows().max(1) + 1;
        let elementwise = count(&outputs[0].shape).saturating_mul(per_row as u64);
        Cost {
            multiply_adds: 0,
            elementwise,
        }
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let reversed = |n: usize| SparseMatrix::selecting(n, (0..n).rev().map(Some));
        let padded = |n: usize| {
            let middle = (0..n).map(Some);
            SparseMatrix::selecting(n, [None].into_iter().chain(middle).chain([None, None]))
        };
        let blurred = |n: usize| {
            SparseMatrix::new(
                n,
                (0..n).map(|i| {
                    let near = i.saturating_sub(1)..(i + 2).min(n);
                    near.map(|c| (c, 0.25 + c as f32 / 8.0)).collect()
                }),
            )
        };
        type Row = (&'static [usize], usize);
        let shapes: [Row; 8] = [
            (&[2, 33, 7, 5], 1),
            (&[2, 33, 7, 5], 2),
            (&[2, 17, 7, 5], 3),
            (&[1, 3, 9, 8], 2),
            (&[2, 7, 65], 1),
            (&[2, 7, 31], 2),
            (&[2, 3, 1, 4, 5], 3),
            (&[7, 9], 1),
        ];
        let mut cases = Vec::new();
        for (shape, axis) in shapes {
            let n = shape[axis];
            for (name, matrix) in [
                ("reversed", reversed(n)),
                ("padded", padded(n)),
                ("blurred", blurred(n)),
            ] {
                let op = Self { axis, matrix };
                let name = format!("axis filter {shape:?} axis {axis} {name}");
                cases.push(Case::new(
                    &name,
                    op.clone(),
                    vec![CaseInput::variable(shape)],
                ));
                if op.matrix.entries.iter().all(|(_, w)| *w == 1.0) {
                    let whole = vec![CaseInput::integers(shape, -9, 9)];
                    cases.push(Case::new(format!("{name} exact"), op, whole));
                }
            }
        }
        cases
    }
}
