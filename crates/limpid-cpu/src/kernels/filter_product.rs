//! Products of small matrices in f64, for filters of images: the network behind
//! a filter turns an error of 1e-6 in its input into one of 4e-2 in its
//! gradient, where the image's own rounding to f32 costs 1e-4.

use crate::arch::Backend;
use crate::simd::{DOUBLES, Double, Simd, Vectorize};

/// Columns of a tile.
pub(super) const COLUMNS: usize = 2 * DOUBLES;

/// A row of a tile.
type Row<S> = [<S as Double>::D; 2];

/// A matrix whose element (i, k) is at i * `row` + k * `column`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) data: &'a [f64],
    pub(super) row: usize,
    pub(super) column: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of contiguous numbers that begin every `row` numbers.
    pub(super) fn rows(data: &'a [f64], row: usize) -> Self {
        Self {
            data,
            row,
            column: 1,
        }
    }

    #[inline(always)]
    pub(super) fn after_rows(self, row: usize) -> Self {
        Self {
            data: &self.data[row * self.row..],
            ..self
        }
    }
}

/// out = a * b, with `rows` rows, sums of `depth` products and `columns`
/// columns rounded up to sixteen; rows of b and out begin every `stride` numbers.
pub(super) fn product(
    backend: Backend,
    size: [usize; 3],
    a: Matrix<'_>,
    b: &[f64],
    out: &mut [f64],
    stride: usize,
) {
    backend.vectorize(Product {
        size,
        a,
        b,
        out,
        stride,
    });
}

struct Product<'a> {
    size: [usize; 3],
    a: Matrix<'a>,
    b: &'a [f64],
    out: &'a mut [f64],
    stride: usize,
}

impl Vectorize for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (a, b) = (self.a, (self.b, self.stride));
        multiply(s, self.size, a, b, (self.out, self.stride));
    }
}

/// out = a * b, where b and out are given with the distance of their rows.
#[inline(always)]
pub(super) fn multiply<S: Simd>(
    s: S,
    [rows, depth, columns]: [usize; 3],
    a: Matrix<'_>,
    (b, b_stride): (&[f64], usize),
    (out, out_stride): (&mut [f64], usize),
) {
    for column in (0..columns).step_by(COLUMNS) {
        let b = (&b[column..], b_stride);
        in_tiles(
            s,
            rows,
            Multiply {
                depth,
                a,
                b,
                out: &mut out[column..],
                stride: out_stride,
            },
        );
    }
}

struct Multiply<'a> {
    depth: usize,
    a: Matrix<'a>,
    b: (&'a [f64], usize),
    out: &'a mut [f64],
    stride: usize,
}

impl Tiles for Multiply<'_> {
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&mut self, s: S, row: usize) {
        let sums: [_; R] = sums(s, self.a.after_rows(row), self.b, self.depth);
        for (r, [first, second]) in sums.into_iter().enumerate() {
            let out = &mut self.out[(row + r) * self.stride..][..COLUMNS];
            s.store_doubles(first, eight_mut(out));
            s.store_doubles(second, eight_mut(&mut out[DOUBLES..]));
        }
    }
}

/// Work that is done for some rows at a time.
pub(super) trait Tiles {
    /// Does it for `R` rows from `row` on.
    fn tile<S: Simd, const R: usize>(&mut self, s: S, row: usize);
}

/// Cuts rows into tiles: with sixteen columns, four rows take eight registers
/// of AVX-512, and two rows eight of AVX2.
#[inline(always)]
pub(super) fn in_tiles<S: Simd>(s: S, rows: usize, mut work: impl Tiles) {
    let mut row = 0;
    while S::WIDE && row + 4 <= rows {
        work.tile::<S, 4>(s, row);
        row += 4;
    }
    while row + 2 <= rows {
        work.tile::<S, 2>(s, row);
        row += 2;
    }
    if row < rows {
        work.tile::<S, 1>(s, row);
    }
}

/// A tile of a * b. Every element is a sum in the order of the depth, whatever
/// tile it falls into.
#[inline(always)]
pub(super) fn sums<S: Simd, const R: usize>(
    s: S,
    a: Matrix<'_>,
    (b, stride): (&[f64], usize),
    depth: usize,
) -> [Row<S>; R] {
    let mut sums = [[s.splat_doubles(0.0); 2]; R];
    let a_rows: [&[f64]; R] = std::array::from_fn(|r| &a.data[r * a.row..]);
    for k in 0..depth {
        let b = &b[k * stride..][..COLUMNS];
        let b = [
            s.load_doubles(eight(b)),
            s.load_doubles(eight(&b[DOUBLES..])),
        ];
        for r in 0..R {
            let factor = s.splat_doubles(a_rows[r][k * a.column]);
            for v in 0..2 {
                sums[r][v] = s.fma_doubles(factor, b[v], sums[r][v]);
            }
        }
    }
    sums
}

/// The first eight numbers.
#[inline(always)]
pub(super) fn eight(from: &[f64]) -> &[f64; DOUBLES] {
    from.first_chunk().expect("rows are padded to whole tiles")
}

/// The same, to write.
#[inline(always)]
pub(super) fn eight_mut(from: &mut [f64]) -> &mut [f64; DOUBLES] {
    from.first_chunk_mut()
        .expect("rows are padded to whole tiles")
}
