//! What tiles do with their sums: the epilogue in registers, and the store.

use super::tile::MAX_VECTORS;
use crate::simd::{LANES, Simd};
use half::bf16;
use std::ops::Range;

/// Where the tile's results go; `at` and `step` as in [`Store`].
pub(crate) enum Target<'a, 'b> {
    /// Vector v to plane v.
    Planes(&'a mut [&'b mut [f32]]),
    /// Vector v, rounded, to plane v.
    Rounded(&'a mut [&'b mut [bf16]]),
    /// Lane l of the only vector to plane l, for as many as there are.
    Lanes(&'a mut [&'b mut [f32]]),
    /// The vectors of a position side by side; their masks are all in the first
    /// plane of masks.
    Rows(&'a mut [f32]),
}

/// Numbers of either precision.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbers<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

impl Numbers<'_> {
    /// Some of them.
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::F32(numbers) => Self::F32(&numbers[range]),
            Self::Bf16(numbers) => Self::Bf16(&numbers[range]),
        }
    }

    /// Asks for the line of a number, which need not be one of them.
    #[inline(always)]
    pub(crate) fn prefetch<S: Simd>(self, s: S, at: usize) {
        match self {
            Self::F32(numbers) => s.prefetch(numbers.as_ptr().wrapping_add(at)),
            Self::Bf16(numbers) => s.prefetch(numbers.as_ptr().wrapping_add(at)),
        }
    }

    /// The `i`-th sixteen of them.
    #[inline(always)]
    pub(crate) fn vector<S: Simd>(self, s: S, i: usize) -> S::V {
        match self {
            Self::F32(numbers) => s.load(&numbers.as_chunks().0[i]),
            Self::Bf16(numbers) => s.load_bf16(&numbers.as_chunks().0[i]),
        }
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::Bf16(numbers) => numbers.len(),
        }
    }
}

/// What is done before a result is stored, in this order.
#[derive(Clone, Copy, Default)]
pub(crate) struct Finish<'a> {
    /// Add this value, of the output's layout.
    pub(crate) add: Option<Numbers<'a>>,
    /// Clip to these bounds.
    pub(crate) clip: Option<(f32, f32)>,
    /// Store the mask of what is strictly between these bounds.
    pub(crate) mask: Option<(f32, f32)>,
    /// Keep what is set in this mask, of the output's layout.
    pub(crate) keep: Option<&'a [u16]>,
}

/// What a run of tiles writes.
pub(crate) struct Store<'a, 'b> {
    pub(crate) target: Target<'a, 'b>,
    /// The planes of the stored mask.
    pub(crate) masks: &'a mut [&'b mut [u16]],
    pub(crate) finish: Finish<'a>,
    /// Where each vector's plane begins in the whole output.
    pub(crate) planes_at: [usize; MAX_VECTORS],
    /// The first position's place in a plane.
    pub(crate) at: usize,
    /// Elements of a plane from a position to the next.
    pub(crate) step: usize,
}

/// Panics unless `positions` positions of `store` are inside its slices.
pub(super) fn check(store: &Store<'_, '_>, vectors: usize, positions: usize) {
    let last = store.at as u128 + (positions as u128 - 1) * store.step as u128;
    let rows = matches!(store.target, Target::Rows(_));
    // The vectors of a plane, or of a row.
    let (planes, wide) = if rows { (1, vectors) } else { (vectors, 1) };
    let end = last + (wide * LANES) as u128;
    let masked = store.finish.mask.is_some();
    let target = match &store.target {
        Target::Planes(planes) => {
            planes.len() >= vectors && planes.iter().take(vectors).all(|p| p.len() as u128 >= end)
        }
        Target::Rounded(planes) => {
            planes.len() >= vectors && planes.iter().take(vectors).all(|p| p.len() as u128 >= end)
        }
        Target::Rows(rows) => rows.len() as u128 >= end,
        Target::Lanes(planes) => {
            let plain = store.finish.add.is_none() && store.finish.keep.is_none() && !masked;
            plain && vectors == 1 && planes.len() <= LANES
        }
    };
    let masks = !masked
        || store.masks.len() >= planes
            && store
                .masks
                .iter()
                .take(planes)
                .all(|m| m.len() as u128 * 16 >= end);
    let whole = |len: usize| {
        let mut planes = store.planes_at.iter().take(vectors);
        planes.all(|at| *at as u128 + last + LANES as u128 <= len as u128)
    };
    let add = store.finish.add.is_none_or(|a| whole(a.len()));
    let keep = store.finish.keep.is_none_or(|k| whole(k.len() * 16));
    assert!(
        target && masks && add && keep,
        "tile writes inside its slices"
    );
}

/// Finishes and stores a tile whose first position is at `at`. Each piece of
/// work is a pass of its own over registers, short enough to be unrolled.
#[inline(always)]
pub(super) fn finish<S: Simd, const P: usize, const V: usize>(
    s: S,
    mut acc: [[S::V; V]; P],
    store: &mut Store<'_, '_>,
    at: usize,
) {
    let step = store.step;
    // SAFETY of the blocks below: [`check`] has found the first and the
    // last position of every plane, mask and operand that is read or written
    // to be inside its slice, and all others are between them.
    match store.finish.add {
        Some(Numbers::F32(add)) => {
            for v in 0..V {
                let from = add.as_ptr().wrapping_add(store.planes_at[v] + at);
                for p in 0..P {
                    // SAFETY: see above.
                    let operand = unsafe { s.load(&*from.add(p * step).cast()) };
                    acc[p][v] = s.add(acc[p][v], operand);
                }
            }
        }
        Some(Numbers::Bf16(add)) => {
            for v in 0..V {
                let from = add.as_ptr().wrapping_add(store.planes_at[v] + at);
                for p in 0..P {
                    // SAFETY: see above.
                    let operand = unsafe { s.load_bf16(&*from.add(p * step).cast()) };
                    acc[p][v] = s.add(acc[p][v], operand);
                }
            }
        }
        None => {}
    }
    if let Some((low, high)) = store.finish.clip {
        let (low, high) = (s.splat(low), s.splat(high));
        for v in 0..V {
            for p in 0..P {
                acc[p][v] = s.min(high, s.max(low, acc[p][v]));
            }
        }
    }
    if let Some((low, high)) = store.finish.mask {
        let (low, high) = (s.splat(low), s.splat(high));
        for v in 0..V {
            let to = match store.target {
                Target::Rows(_) => store.masks[0].as_mut_ptr().wrapping_add(at / LANES + v),
                _ => store.masks[v].as_mut_ptr().wrapping_add(at / LANES),
            };
            for p in 0..P {
                let lanes = s.inside(acc[p][v], low, high);
                // SAFETY: see above.
                unsafe { *to.add(p * (step / LANES)) = lanes };
            }
        }
    }
    if let Some(keep) = store.finish.keep {
        for v in 0..V {
            let from = keep
                .as_ptr()
                .wrapping_add((store.planes_at[v] + at) / LANES);
            for p in 0..P {
                // SAFETY: see above.
                let lanes = unsafe { *from.add(p * (step / LANES)) };
                acc[p][v] = s.keep(acc[p][v], lanes);
            }
        }
    }
    match &mut store.target {
        Target::Planes(planes) => {
            for v in 0..V {
                let to = planes[v].as_mut_ptr().wrapping_add(at);
                for p in 0..P {
                    // SAFETY: see above.
                    unsafe { s.store(acc[p][v], &mut *to.add(p * step).cast()) };
                }
            }
        }
        Target::Rounded(planes) => {
            for v in 0..V {
                let to = planes[v].as_mut_ptr().wrapping_add(at);
                for p in 0..P {
                    // SAFETY: see above.
                    unsafe { s.store_bf16(acc[p][v], &mut *to.add(p * step).cast()) };
                }
            }
        }
        Target::Rows(rows) => {
            let to = rows.as_mut_ptr().wrapping_add(at);
            for p in 0..P {
                for v in 0..V {
                    // SAFETY: see above.
                    unsafe { s.store(acc[p][v], &mut *to.add(p * step + v * LANES).cast()) };
                }
            }
        }
        Target::Lanes(planes) => {
            let mut lanes = [[0.0; LANES]; P];
            for p in 0..P {
                s.store(acc[p][0], &mut lanes[p]);
            }
            for (l, plane) in planes.iter_mut().enumerate() {
                for (p, lanes) in lanes.iter().enumerate() {
                    plane[at + p * step] = lanes[l];
                }
            }
        }
    }
}
