//! Products of small matrices in f64, for filters of images: the network behind
//! a filter turns an error of 1e-6 in its input into one of 4e-2 in its
//! gradient, where the image's own rounding to f32 costs 1e-4.

use crate::arch::Backend;
use crate::simd::{Simd, Vectorize};

/// Columns of a tile.
const COLUMNS: usize = 16;
/// Rows of a tile: with as many columns, half of the registers of AVX-512.
const ROWS: usize = 4;

/// A matrix whose element (i, k) is at i * `row` + k * `column`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) data: &'a [f64],
    pub(super) row: usize,
    pub(super) column: usize,
}

/// out = a * b, with `rows` rows, sums of `depth` products and `columns`
/// columns rounded up to sixteen; rows of b and out begin every `stride` numbers.
pub(super) fn product(
    backend: Backend,
    [rows, depth, columns]: [usize; 3],
    a: Matrix<'_>,
    b: &[f64],
    out: &mut [f64],
    stride: usize,
) {
    backend.vectorize(Product {
        rows,
        depth,
        columns,
        a,
        b,
        out,
        stride,
    });
}

struct Product<'a> {
    rows: usize,
    depth: usize,
    columns: usize,
    a: Matrix<'a>,
    b: &'a [f64],
    out: &'a mut [f64],
    stride: usize,
}

impl Vectorize for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, _: S) {
        for column in (0..self.columns).step_by(COLUMNS) {
            let mut row = 0;
            while row + ROWS <= self.rows {
                self.tile::<S, ROWS>(row, column);
                row += ROWS;
            }
            for row in row..self.rows {
                self.tile::<S, 1>(row, column);
            }
        }
    }
}

impl Product<'_> {
    /// One tile. Every element is a sum in the order of the depth, whatever
    /// tile it falls into.
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&mut self, row: usize, column: usize) {
        let mut sums = [[0.0f64; COLUMNS]; R];
        let a: [&[f64]; R] = std::array::from_fn(|r| &self.a.data[(row + r) * self.a.row..]);
        for k in 0..self.depth {
            let b: &[f64; COLUMNS] = self.b[k * self.stride + column..]
                .first_chunk()
                .expect("rows are padded to whole tiles");
            for (sums, a) in sums.iter_mut().zip(a) {
                let a = a[k * self.a.column];
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = if S::FUSED {
                        a.mul_add(*b, *sum)
                    } else {
                        a * b + *sum
                    };
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            self.out[(row + r) * self.stride + column..][..COLUMNS].copy_from_slice(sums);
        }
    }
}
