//! Sparse maps along an axis.

use super::channels::{Channels, Term};
use super::{Context, Kernel, TASK};
use crate::layout::Layout;
use crate::operands::Operands;
use crate::select::Signature;
use crate::simd::{LANES, Simd, Vectorize};
use limpid_device::DeviceError;
use limpid_graph::ops::{AxisFilter, SparseMatrix};

/// out[o, r, i] = the sum over c of matrix[r, c] * x[o, c, i].
pub(crate) struct AxisFilterKernel {
    how: How,
    matrix: SparseMatrix,
    /// The matrix where it does nothing but select.
    runs: Option<Vec<Run>>,
}

/// Rows, from one on, that are columns, from one on, or nothing: how many.
type Run = (usize, Option<usize>, usize);

/// The runs of a matrix that selects; `None` for any other.
fn runs(matrix: &SparseMatrix) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for row in 0..matrix.rows() {
        let column = match *matrix.row(row) {
            [] => None,
            [(column, 1.0)] => Some(column),
            _ => return None,
        };
        match runs.last_mut() {
            Some((_, first, count)) if first.map(|c| c + *count) == column => *count += 1,
            _ => runs.push((row, column, 1)),
        }
    }
    Some(runs)
}

enum How {
    /// With `outer` and `inner` extents around the axis.
    Lines {
        outer: usize,
        inner: usize,
    },
    Channels(Channels),
}

/// The extents of a value's storage before and behind an axis; `None` for the
/// channels of blocks.
pub(super) fn around(shape: &[usize], layout: Layout, axis: usize) -> Option<[usize; 2]> {
    let product = |d: &[usize]| d.iter().product::<usize>();
    match layout {
        Layout::Blocked(_) if axis == 1 => None,
        Layout::Blocked([n, c, h, w]) => {
            let blocks = c.div_ceil(LANES);
            let dims = [n, blocks, h, w, LANES];
            Some([product(&dims[..axis]), product(&dims[axis + 1..])])
        }
        _ => Some([product(&shape[..axis]), product(&shape[axis + 1..])]),
    }
}

impl AxisFilterKernel {
    /// The kernel of a filter; `None` where the layouts have none.
    pub(crate) fn new(op: &AxisFilter, s: &Signature<'_>) -> Option<Self> {
        let (input, output) = (s.read[0], s.written[0]);
        let lines = [(s.shape(0), input), (s.output(), output)];
        let [from, to] = lines.map(|(shape, layout)| around(shape, layout, op.axis));
        let channels = || {
            let terms = |row: usize| {
                let term = |(channel, weight): &(usize, f32)| Term {
                    input: 0,
                    channel: *channel,
                    weight: *weight,
                };
                op.matrix.row(row).iter().map(term).collect()
            };
            Channels::new(&[input], output, op.matrix.rows(), terms)
        };
        let how = match (from, to) {
            (Some([outer, inner]), Some(_)) => How::Lines { outer, inner },
            _ => How::Channels(channels()?),
        };
        Some(Self {
            how,
            runs: runs(&op.matrix),
            matrix: op.matrix.clone(),
        })
    }
}

impl Kernel for AxisFilterKernel {
    fn name(&self) -> &'static str {
        "axis filter"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let x = io.input::<f32>(0);
        let (outer, inner) = match &self.how {
            How::Lines { outer, inner } => (*outer, *inner),
            How::Channels(channels) => {
                channels.run(&[x], io.output(), cx);
                return Ok(());
            }
        };
        let (rows, columns) = (self.matrix.rows(), self.matrix.columns());
        let (from, to) = (columns * inner, rows * inner);
        if from == 0 || to == 0 {
            return Ok(());
        }
        let whole = (TASK / to).max(1);
        let out = &mut io.output()[..outer * to];
        let tasks = out.chunks_mut(whole * to).enumerate().collect();
        cx.pool.each(tasks, |(i, out)| {
            cx.backend.vectorize(Filter {
                matrix: &self.matrix,
                runs: self.runs.as_deref(),
                inner,
                x: &x[i * whole * from..],
                out,
            });
        });
        Ok(())
    }
}

/// Some of the outer positions.
struct Filter<'a> {
    matrix: &'a SparseMatrix,
    runs: Option<&'a [Run]>,
    inner: usize,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Vectorize for Filter<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (rows, columns) = (self.matrix.rows(), self.matrix.columns());
        let inner = self.inner;
        let lines = self.out.chunks_mut(rows * inner);
        for (out, x) in lines.zip(self.x.chunks(columns * inner)) {
            if let Some(runs) = self.runs {
                for (row, column, count) in runs {
                    let to = &mut out[row * inner..][..count * inner];
                    match column {
                        Some(c) => to.copy_from_slice(&x[c * inner..][..count * inner]),
                        None => to.fill(0.0),
                    }
                }
                continue;
            }
            if inner == 1 {
                for (row, out) in out.iter_mut().enumerate() {
                    let terms = self.matrix.row(row).iter();
                    *out = terms.fold(0.0, |sum, (c, w)| sum + w * x[*c]);
                }
                continue;
            }
            for (row, out) in out.chunks_mut(inner).enumerate() {
                let line = |c: usize| &x[c * inner..][..inner];
                match *self.matrix.row(row) {
                    [] => out.fill(0.0),
                    [(c, w), ref rest @ ..] => {
                        for (out, x) in out.iter_mut().zip(line(c)) {
                            *out = w * x;
                        }
                        for (c, w) in rest {
                            for (out, x) in out.iter_mut().zip(line(*c)) {
                                *out += w * x;
                            }
                        }
                    }
                }
            }
        }
    }
}
