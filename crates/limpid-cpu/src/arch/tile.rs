//! Register tiles: sums of products for a few positions times a few vectors of
//! channels, kept in registers from the first product to the store.
//!
//! [`dense`] is safe: it checks once that everything a run of tiles reads and
//! writes is inside its slices, and the tiles then read and write unchecked.

use super::Backend;
use crate::Isa;
use crate::simd::{LANES, Simd, Vectorize};

/// Products that are summed up before their sum is added to the whole. A sum
/// of n products in one go is off by about sqrt(n / 2) roundings, in parts of
/// this many by a quarter of that where n is 1000; the kinks of a network make
/// a hundred times as much of it in a gradient.
const PARTIAL: usize = 64;

/// The widest tile, in vectors.
pub(crate) const MAX_VECTORS: usize = 4;

/// One tap of a window: where its input lies from a position's, and where its
/// weights lie.
#[derive(Debug, Clone, Copy)]
struct Tap {
    input: isize,
    weights: usize,
}

/// The taps of a window that are inside the image.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taps {
    list: Vec<Tap>,
    low: isize,
    high: isize,
    weights: usize,
}

impl Taps {
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        (self.low, self.high, self.weights) = (isize::MAX, isize::MIN, 0);
    }

    pub(crate) fn push(&mut self, input: isize, weights: usize) {
        self.list.push(Tap { input, weights });
        self.low = self.low.min(input);
        self.high = self.high.max(input);
        self.weights = self.weights.max(weights);
    }
}

/// Blocks of input channels, or of a matrix product's depth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks {
    /// How many.
    pub(crate) count: usize,
    /// Products in each but the last.
    pub(crate) depth: usize,
    /// Products in the last.
    pub(crate) last: usize,
    /// Input elements from one to the next.
    pub(crate) input: usize,
    /// Weights from one to the next.
    pub(crate) weights: usize,
}

/// What a run of tiles reads.
#[derive(Clone, Copy)]
pub(crate) struct Sweep<'a> {
    pub(crate) input: &'a [f32],
    pub(crate) weights: &'a [f32],
    /// What is added to the sums: a vector for each of the tile's, or zero.
    pub(crate) bias: Option<&'a [f32]>,
    /// A factor of the sums before the bias.
    pub(crate) scale: Option<&'a [f32]>,
    pub(crate) taps: &'a Taps,
    pub(crate) blocks: Blocks,
    /// The first position's place in the input, which its taps are relative to.
    pub(crate) start: isize,
    /// Input elements from a position to the next.
    pub(crate) step: usize,
    /// Input elements from a product to the next.
    pub(crate) depth_step: usize,
    /// Weights from a product to the next.
    pub(crate) row: usize,
}

/// Where the tile's results go; `at` and `step` as in [`Store`].
pub(crate) enum Target<'a, 'b> {
    /// Vector v to plane v.
    Planes(&'a mut [&'b mut [f32]]),
    /// Lane l of the only vector to plane l, for as many as there are.
    Lanes(&'a mut [&'b mut [f32]]),
    /// The vectors of a position side by side; their masks are all in the first
    /// plane of masks.
    Rows(&'a mut [f32]),
}

/// What is done before a result is stored, in this order.
#[derive(Clone, Copy, Default)]
pub(crate) struct Finish<'a> {
    /// Add this value, of the output's layout.
    pub(crate) add: Option<&'a [f32]>,
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

/// The numbers of positions for which there are tiles of `vectors`, the best
/// first and 1 last. As many as leave registers for the weights.
fn tile_positions(isa: Isa, vectors: usize) -> &'static [usize] {
    match (isa, vectors) {
        (Isa::Avx512, 4) => &[6, 4, 2, 1],
        (Isa::Avx512, 3) => &[9, 6, 4, 2, 1],
        (Isa::Avx512, 2) => &[14, 8, 4, 2, 1],
        (Isa::Avx512, _) => &[28, 14, 8, 4, 2, 1],
        _ => &[6, 4, 2, 1],
    }
}

/// Computes `positions` positions of `vectors` vectors of channels: a matrix
/// product, or a convolution over positions that have the same taps.
pub(crate) fn dense(
    backend: Backend,
    vectors: usize,
    positions: usize,
    mut sweep: Sweep<'_>,
    store: &mut Store<'_, '_>,
) {
    let mut rest = positions;
    for &p in tile_positions(backend.isa(), vectors) {
        let tiles = rest / p;
        if tiles == 0 {
            continue;
        }
        check_dense(&sweep, vectors, tiles * p);
        check_store(store, vectors, tiles * p);
        macro_rules! tiles {
            ($($v:literal x $p:literal),*) => {
                match (vectors, p) {
                    $(($v, $p) => run_dense::<$p, $v>(backend, tiles, &sweep, store),)*
                    _ => unreachable!("no tile of {vectors} x {p}"),
                }
            };
        }
        tiles!(
            4 x 6, 4 x 4, 4 x 2, 4 x 1, 3 x 9, 3 x 6, 3 x 4, 3 x 2, 3 x 1, 2 x 14, 2 x 8, 2 x 4,
            2 x 2, 2 x 1, 1 x 28, 1 x 14, 1 x 8, 1 x 6, 1 x 4, 1 x 2, 1 x 1
        );
        let done = tiles * p;
        sweep.start += (done * sweep.step) as isize;
        store.at += done * store.step;
        rest -= done;
    }
}

fn run_dense<const P: usize, const V: usize>(
    backend: Backend,
    tiles: usize,
    sweep: &Sweep<'_>,
    store: &mut Store<'_, '_>,
) {
    // Constant distances, the usual ones, make for shorter code.
    if sweep.step == LANES && sweep.depth_step == 1 && sweep.row == V * LANES {
        if sweep.taps.list.len() == 1 {
            backend.vectorize(Dense::<P, V, true, true>(tiles, sweep, store));
        } else {
            backend.vectorize(Dense::<P, V, true, false>(tiles, sweep, store));
        }
    } else {
        backend.vectorize(Dense::<P, V, false, false>(tiles, sweep, store));
    }
}

/// Panics unless `positions` positions of `sweep` are inside its slices.
fn check_dense(sweep: &Sweep<'_>, vectors: usize, positions: usize) {
    let b = &sweep.blocks;
    for per_channel in [sweep.bias, sweep.scale].into_iter().flatten() {
        assert!(per_channel.len() >= vectors * LANES, "bias of the tile");
    }
    if sweep.taps.list.is_empty() {
        return;
    }
    // The last element read in a block of `depth` products.
    let ends = |block: usize, depth: usize| {
        let (block, depth) = (block as i128, depth as i128 - 1);
        let last = (positions as i128 - 1) * sweep.step as i128;
        let input = sweep.start as i128 + sweep.taps.high as i128;
        let input = input + last + block * b.input as i128 + depth * sweep.depth_step as i128;
        let weights = sweep.taps.weights as i128 + block * b.weights as i128;
        let weights = weights + depth * sweep.row as i128 + (vectors * LANES) as i128 - 1;
        input < sweep.input.len() as i128 && weights < sweep.weights.len() as i128
    };
    let full = b.count < 2 || b.depth == 0 || ends(b.count - 2, b.depth);
    let last = b.count == 0 || b.last == 0 || ends(b.count - 1, b.last);
    let begin = sweep.start as i128 + sweep.taps.low as i128 >= 0;
    assert!(full && last && begin, "tile reads inside its slices");
}

/// Panics unless `positions` positions of `store` are inside its slices.
pub(super) fn check_store(store: &Store<'_, '_>, vectors: usize, positions: usize) {
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

struct Dense<'r, 's, 'a, 'b, const P: usize, const V: usize, const NEAR: bool, const AHEAD: bool>(
    usize,
    &'r Sweep<'s>,
    &'r mut Store<'a, 'b>,
);

impl<const P: usize, const V: usize, const NEAR: bool, const AHEAD: bool> Vectorize
    for Dense<'_, '_, '_, '_, P, V, NEAR, AHEAD>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if !S::WIDE && (V > 1 || P > 6) {
            unreachable!("tiles of {V} x {P} are for wide registers");
        }
        let Self(tiles, sweep, store) = self;
        let (step, depth_step, row) = if NEAR {
            (LANES, 1, V * LANES)
        } else {
            (sweep.step, sweep.depth_step, sweep.row)
        };
        let b = sweep.blocks;
        let span = (PARTIAL / (b.depth * sweep.taps.list.len()).max(1)).max(1);
        for tile in 0..tiles {
            if AHEAD {
                if let Some(add) = store.finish.add {
                    for v in 0..V {
                        let at = store.planes_at[v] + store.at + tile * P * store.step;
                        let from = add.as_ptr().wrapping_add(at);
                        for p in 0..P {
                            s.prefetch(from.wrapping_add(p * store.step));
                        }
                    }
                }
            }
            let mut acc = start::<S, P, V>(s, [sweep.bias, sweep.scale]);
            let mut whole = [[s.splat(0.0); V]; P];
            let start = sweep.start + (tile * P * step) as isize;
            for block in 0..b.count {
                if block > 0 && block % span == 0 {
                    add_all(s, &mut whole, acc);
                    acc = [[s.splat(0.0); V]; P];
                }
                let depth = if block + 1 == b.count {
                    b.last
                } else {
                    b.depth
                };
                let start = start + (block * b.input) as isize;
                if AHEAD {
                    let next = start + (P * step) as isize;
                    let next = sweep.input.as_ptr().wrapping_offset(next);
                    for p in 0..P {
                        s.prefetch(next.wrapping_add(p * step));
                    }
                }
                for tap in &sweep.taps.list {
                    let mut x = sweep.input.as_ptr().wrapping_offset(start + tap.input);
                    let weights = tap.weights + block * b.weights;
                    let mut w = sweep.weights.as_ptr().wrapping_add(weights);
                    for _ in 0..depth {
                        // SAFETY: `check_dense` has found the first and the
                        // last position, product, block and tap to be inside
                        // the slices, and all others are between them.
                        unsafe {
                            let mut factors = [s.splat(0.0); V];
                            for v in 0..V {
                                factors[v] = s.load(&*w.add(v * LANES).cast());
                            }
                            for p in 0..P {
                                let value = s.splat(*x.add(p * step));
                                for v in 0..V {
                                    acc[p][v] = s.fma(value, factors[v], acc[p][v]);
                                }
                            }
                        }
                        x = x.wrapping_add(depth_step);
                        w = w.wrapping_add(row);
                    }
                }
            }
            add_all(s, &mut acc, whole);
            scale(s, &mut acc, [sweep.bias, sweep.scale]);
            finish(s, acc, store, store.at + tile * P * store.step);
        }
    }
}

/// a += b.
#[inline(always)]
fn add_all<S: Simd, const P: usize, const V: usize>(
    s: S,
    a: &mut [[S::V; V]; P],
    b: [[S::V; V]; P],
) {
    for p in 0..P {
        for v in 0..V {
            a[p][v] = s.add(a[p][v], b[p][v]);
        }
    }
}

/// The sums before the first product: the bias, unless it comes after a factor.
#[inline(always)]
pub(super) fn start<S: Simd, const P: usize, const V: usize>(
    s: S,
    [bias, scale]: [Option<&[f32]>; 2],
) -> [[S::V; V]; P] {
    [per_channel(s, bias.filter(|_| scale.is_none())); P]
}

/// Multiplies the sums by their channel's factor and adds the bias.
#[inline(always)]
pub(super) fn scale<S: Simd, const P: usize, const V: usize>(
    s: S,
    acc: &mut [[S::V; V]; P],
    [bias, scale]: [Option<&[f32]>; 2],
) {
    if scale.is_some() {
        let factors: [S::V; V] = per_channel(s, scale);
        let bias: [S::V; V] = per_channel(s, bias);
        for p in 0..P {
            for v in 0..V {
                acc[p][v] = s.fma(acc[p][v], factors[v], bias[v]);
            }
        }
    }
}

/// A value for each channel of a tile, or zero.
#[inline(always)]
fn per_channel<S: Simd, const V: usize>(s: S, values: Option<&[f32]>) -> [S::V; V] {
    let mut vectors = [s.splat(0.0); V];
    if let Some(values) = values {
        for v in 0..V {
            // SAFETY: the checks found these to be at least V vectors.
            vectors[v] = unsafe { s.load(&*values.as_ptr().add(v * LANES).cast()) };
        }
    }
    vectors
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
    // SAFETY of the blocks below: `check_store` has found the first and the
    // last position of every plane, mask and operand that is read or written
    // to be inside its slice, and all others are between them.
    if let Some(add) = store.finish.add {
        for v in 0..V {
            let from = add.as_ptr().wrapping_add(store.planes_at[v] + at);
            for p in 0..P {
                // SAFETY: see above.
                let operand = unsafe { s.load(&*from.add(p * step).cast()) };
                acc[p][v] = s.add(acc[p][v], operand);
            }
        }
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
