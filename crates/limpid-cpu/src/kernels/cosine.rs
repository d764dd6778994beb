//! The cosine transform (DCT-II) of planes as products of small matrices in f64.
//!
//! A mode is even or odd about the middle of its axis, so its first half says
//! all: even modes are sums over x(i) + x(n-1-i), odd ones over x(i) - x(n-1-i),
//! and the way back is the same in reverse. That is half of the multiplications
//! on each axis. A plane is kept as its four quadrants, `[2][rows / 2][2][columns /
//! 2]`: of points folded about the middle, or of modes, even ones first.

use super::filter_product::{COLUMNS, Matrix, Tiles, eight_mut, in_tiles, multiply, sums};
use crate::layout::Layout;
use crate::simd::{DOUBLES, LANES, Simd, Vectorize};
use limpid_graph::ops::HeatKernel;
use limpid_tensor::{AlignedBuffer, Shape, TensorError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Points of a side that are put back at a time: with those of the other side,
/// the columns of a tile.
const SIDE: usize = DOUBLES;

/// The cosine basis of some number of points.
pub(crate) struct Basis {
    extent: usize,
    /// Points up to the middle, one in the middle included.
    half: usize,
    /// `half` rounded up to sixteen: numbers from a row to the next.
    stride: usize,
    /// `[parity][mode / 2][point]`, rows padded with zeros.
    modes: AlignedBuffer,
    /// `[parity][point][mode / 2]`, padded likewise.
    points: AlignedBuffer,
    /// The squared angular frequency of each mode.
    frequencies: Vec<f64>,
}

impl Basis {
    fn new(n: usize) -> Result<Self, TensorError> {
        let overflow = || TensorError::Overflow(Shape::from([n, n]));
        let half = n.div_ceil(2);
        let stride = half.checked_next_multiple_of(LANES).ok_or_else(overflow)?;
        let bytes = half
            .checked_mul(stride)
            .and_then(|numbers| numbers.checked_mul(2 * size_of::<f64>()))
            .ok_or_else(overflow)?;
        let mut modes = AlignedBuffer::zeroed(bytes)?;
        let mut points = AlignedBuffer::zeroed(bytes)?;
        let (m, p) = (modes.as_mut_slice::<f64>(), points.as_mut_slice::<f64>());
        for mode in 0..n {
            let (parity, at) = (mode % 2 * half * stride, mode / 2);
            for point in 0..half {
                let v = HeatKernel::mode(n, mode, point);
                m[parity + at * stride + point] = v;
                p[parity + point * stride + at] = v;
            }
        }
        Ok(Self {
            extent: n,
            half,
            stride,
            modes,
            points,
            frequencies: HeatKernel::frequencies(n),
        })
    }

    /// The squared angular frequency of each mode.
    pub(super) fn frequencies(&self) -> &[f64] {
        &self.frequencies
    }

    /// A table of one parity.
    fn of<'a>(&self, table: &'a AlignedBuffer, parity: usize) -> &'a [f64] {
        let size = self.half * self.stride;
        &table.as_slice::<f64>()[parity * size..][..size]
    }
}

/// The bases in use.
#[derive(Default)]
pub(crate) struct BasisCache(Mutex<HashMap<usize, Weak<Basis>>>);

impl BasisCache {
    pub(super) fn get(&self, n: usize) -> Result<Arc<Basis>, TensorError> {
        let mut bases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(basis) = bases.get(&n).and_then(Weak::upgrade) {
            return Ok(basis);
        }
        bases.retain(|_, basis| basis.strong_count() > 0);
        let basis = Arc::new(Basis::new(n)?);
        bases.insert(n, Arc::downgrade(&basis));
        Ok(basis)
    }
}

/// How many of the first `kept` modes are even, and how many odd.
fn parities(kept: usize) -> [usize; 2] {
    [kept.div_ceil(2), kept / 2]
}

/// The transform of planes.
#[derive(Clone, Copy)]
pub(super) struct Transform<'a> {
    pub(super) rows: &'a Basis,
    pub(super) columns: &'a Basis,
}

impl Transform<'_> {
    /// Numbers of a plane's quadrants.
    pub(super) fn area(&self) -> usize {
        2 * self.rows.half * self.stride()
    }

    /// Numbers from a row of quadrants to the next.
    fn stride(&self) -> usize {
        2 * self.columns.stride
    }

    /// Where a row of a quadrant begins: the parities of rows and columns, and
    /// the row among those of its parity.
    pub(super) fn place(&self, y: usize, row: usize, x: usize) -> usize {
        (y * self.rows.half + row) * self.stride() + x * self.columns.stride
    }
}

/// From a plane to its first modes.
pub(super) struct Analysis<'a> {
    pub(super) transform: Transform<'a>,
    /// The modes wanted: rows and columns.
    pub(super) kept: [usize; 2],
    pub(super) layout: Layout,
    pub(super) plane: &'a [f32],
    /// Which channel of the plane.
    pub(super) channel: usize,
    pub(super) modes: &'a mut [f64],
    /// Working memory of the same size.
    pub(super) work: &'a mut [f64],
}

impl Vectorize for Analysis<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        self.fold();
        let t = self.transform;
        let (rows, columns, stride) = (t.rows, t.columns, t.stride());
        let (ky, kx) = (parities(self.kept[0]), parities(self.kept[1]));
        for (parity, count) in ky.into_iter().enumerate() {
            let at = t.place(parity, 0, 0);
            multiply(
                s,
                [count, rows.half, stride],
                Matrix::rows(rows.of(&rows.modes, parity), rows.stride),
                (&self.modes[at..], stride),
                (&mut self.work[at..], stride),
            );
        }
        for (y, count) in ky.into_iter().enumerate() {
            for (x, wanted) in kx.into_iter().enumerate() {
                let at = t.place(y, 0, x);
                multiply(
                    s,
                    [count, columns.half, wanted],
                    Matrix::rows(&self.work[at..], stride),
                    (columns.of(&columns.points, x), columns.stride),
                    (&mut self.modes[at..], stride),
                );
            }
        }
    }
}

impl Analysis<'_> {
    /// Sums and differences of points that mirror each other. A point in the
    /// middle mirrors itself, and counts once.
    #[inline(always)]
    fn fold(&mut self) {
        let t = self.transform;
        let (h, w) = (t.rows.extent, t.columns.extent);
        let step = step(self.layout);
        let line = |i: usize| &self.plane[i * w * step + self.channel..];
        for i in 0..t.rows.half {
            let (top, bottom) = (line(i), line(h - 1 - i));
            let (even, odd) = self.modes.split_at_mut(t.place(1, 0, 0));
            let (even, odd) = (&mut even[t.place(0, i, 0)..], &mut odd[t.place(0, i, 0)..]);
            let own = if 2 * i + 1 == h { 0.5 } else { 1.0 };
            for p in 0..t.columns.half {
                let at = |line: &[f32], x: usize| f64::from(line[x * step]);
                let once = if 2 * p + 1 == w { 0.5 * own } else { own };
                let mirror = w - 1 - p;
                let (a, b) = (at(top, p), at(top, mirror));
                let (c, d) = (at(bottom, p), at(bottom, mirror));
                even[p] = once * ((a + b) + (c + d));
                even[t.columns.stride + p] = once * ((a - b) + (c - d));
                odd[p] = once * ((a + b) - (c + d));
                odd[t.columns.stride + p] = once * ((a - b) - (c - d));
            }
        }
    }
}

/// From a plane's first modes to its points.
pub(super) struct Synthesis<'a> {
    pub(super) transform: Transform<'a>,
    /// The modes there are: rows and columns.
    pub(super) kept: [usize; 2],
    pub(super) modes: &'a [f64],
    /// Working memory of the same size.
    pub(super) work: &'a mut [f64],
    pub(super) layout: Layout,
    pub(super) plane: &'a mut [f32],
    /// Which channel of the plane.
    pub(super) channel: usize,
}

impl Vectorize for Synthesis<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let t = self.transform;
        let (rows, columns, stride) = (t.rows, t.columns, t.stride());
        let (ky, kx) = (parities(self.kept[0]), parities(self.kept[1]));
        // Columns: eight points of the even part, then the same of the odd one.
        for (y, count) in ky.into_iter().enumerate() {
            let row = t.place(y, 0, 0);
            for (x, depth) in kx.into_iter().enumerate() {
                let basis = columns.of(&columns.modes, x);
                for point in (0..columns.half).step_by(COLUMNS) {
                    in_tiles(
                        s,
                        count,
                        Interleave {
                            depth,
                            modes: Matrix::rows(&self.modes[t.place(y, 0, x)..], stride),
                            basis: (&basis[point..], columns.stride),
                            out: &mut self.work[row + 2 * point + x * SIDE..],
                            stride,
                        },
                    );
                }
            }
        }
        let step = step(self.layout);
        for point in (0..columns.half).step_by(SIDE) {
            let half = |parity| (&self.work[t.place(parity, 0, 0) + 2 * point..], stride);
            in_tiles(
                s,
                rows.half,
                Unfold {
                    depth: ky,
                    basis: [0, 1].map(|y| Matrix::rows(rows.of(&rows.points, y), rows.stride)),
                    half: [half(0), half(1)],
                    extents: [rows.extent, columns.extent],
                    point,
                    sides: SIDE.min(columns.half - point),
                    out: &mut self.plane[self.channel..],
                    step,
                },
            );
        }
    }
}

struct Interleave<'a> {
    depth: usize,
    modes: Matrix<'a>,
    basis: (&'a [f64], usize),
    out: &'a mut [f64],
    stride: usize,
}

impl Tiles for Interleave<'_> {
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&mut self, s: S, row: usize) {
        let sums: [_; R] = sums(s, self.modes.after_rows(row), self.basis, self.depth);
        for (r, [first, second]) in sums.into_iter().enumerate() {
            let out = &mut self.out[(row + r) * self.stride..];
            s.store_doubles(first, eight_mut(out));
            s.store_doubles(second, eight_mut(&mut out[2 * SIDE..]));
        }
    }
}

struct Unfold<'a> {
    /// Even and odd modes of the rows.
    depth: [usize; 2],
    basis: [Matrix<'a>; 2],
    half: [(&'a [f64], usize); 2],
    extents: [usize; 2],
    /// The first point on the left, and how many there are.
    point: usize,
    sides: usize,
    out: &'a mut [f32],
    step: usize,
}

impl Tiles for Unfold<'_> {
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&mut self, s: S, row: usize) {
        let [e, o] = self.basis;
        let even: [_; R] = sums(s, e.after_rows(row), self.half[0], self.depth[0]);
        let odd: [_; R] = sums(s, o.after_rows(row), self.half[1], self.depth[1]);
        for r in 0..R {
            let (even, odd) = (even[r], odd[r]);
            let above = [
                s.add_doubles(even[0], odd[0]),
                s.add_doubles(even[1], odd[1]),
            ];
            let below = [
                s.sub_doubles(even[0], odd[0]),
                s.sub_doubles(even[1], odd[1]),
            ];
            self.line(s, row + r, above);
            self.line(s, self.extents[0] - 1 - row - r, below);
        }
    }
}

impl Unfold<'_> {
    /// Writes points of a line and those that mirror them.
    #[inline(always)]
    fn line<S: Simd>(&mut self, s: S, line: usize, [even, odd]: [S::D; 2]) {
        let w = self.extents[1];
        let (mut left, mut right) = ([0.0; SIDE], [0.0; SIDE]);
        s.store_doubles(s.add_doubles(even, odd), &mut left);
        s.store_doubles(s.sub_doubles(even, odd), &mut right);
        let out = &mut self.out[line * w * self.step..];
        if self.sides == SIDE && self.step == 1 {
            let to = &mut out[self.point..][..SIDE];
            for i in 0..SIDE {
                to[i] = left[i] as f32;
            }
            let to = &mut out[w - self.point - SIDE..][..SIDE];
            for i in 0..SIDE {
                to[i] = right[SIDE - 1 - i] as f32;
            }
            return;
        }
        for i in 0..self.sides {
            out[(self.point + i) * self.step] = left[i] as f32;
            out[(w - 1 - self.point - i) * self.step] = right[i] as f32;
        }
    }
}

/// Floats from a point of a channel to the next.
fn step(layout: Layout) -> usize {
    if matches!(layout, Layout::Blocked(_)) {
        LANES
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basis_beyond_the_memory_is_an_error() {
        for n in [1 << 28, 1 << 31, usize::MAX] {
            assert!(Basis::new(n).is_err(), "{n}");
        }
    }

    #[test]
    fn modes_are_even_and_odd_in_turn() {
        for n in [1, 2, 5, 8] {
            for (k, i) in (0..n).flat_map(|k| (0..n).map(move |i| (k, i))) {
                let (v, mirrored) = (HeatKernel::mode(n, k, i), HeatKernel::mode(n, k, n - 1 - i));
                let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
                assert!((v - sign * mirrored).abs() < 1e-15, "{n} {k} {i}");
            }
        }
    }

    #[test]
    fn both_ways_give_the_plane_back() {
        for [h, w] in [[1, 1], [5, 8], [33, 17], [7, 40]] {
            let (rows, columns) = (Basis::new(h).unwrap(), Basis::new(w).unwrap());
            let transform = Transform {
                rows: &rows,
                columns: &columns,
            };
            let plane: Vec<f32> = (0..h * w).map(|i| (i * i % 23) as f32 - 11.0).collect();
            let layout = Layout::Planar([1, 1, h, w]);
            let mut modes = vec![0.0; transform.area()];
            let mut work = modes.clone();
            crate::arch::Backend::new(crate::Isa::Scalar)
                .unwrap()
                .vectorize(Analysis {
                    transform,
                    kept: [h, w],
                    layout,
                    plane: &plane,
                    channel: 0,
                    modes: &mut modes,
                    work: &mut work,
                });
            let mut back = vec![0.0; h * w];
            crate::arch::Backend::new(crate::Isa::Scalar)
                .unwrap()
                .vectorize(Synthesis {
                    transform,
                    kept: [h, w],
                    modes: &modes,
                    work: &mut work,
                    layout,
                    plane: &mut back,
                    channel: 0,
                });
            assert_eq!(plane, back, "{h} x {w}");
        }
    }
}
