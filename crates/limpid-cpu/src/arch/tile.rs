//! Register tiles: sums of products for a few positions times a few vectors of
//! channels, kept in registers from the first product to the store.
//!
//! [`dense`] is safe: it checks once that everything a run of tiles reads and
//! writes is inside its slices, and the tiles then read and write unchecked.

use super::Backend;
use super::number::Number;
use super::store::{self, Store, finish};
use crate::Isa;
use crate::simd::{LANES, Simd, Vectorize};

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
pub(crate) struct Sweep<'a, T> {
    pub(crate) input: &'a [T],
    pub(crate) weights: &'a [T],
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
    /// Input elements from a product to the next; 1 where products are made in
    /// groups.
    pub(crate) depth_step: usize,
    /// Weights from a product to the next. Those of a group are interleaved.
    pub(crate) row: usize,
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
pub(crate) fn dense<T: Number>(
    backend: Backend,
    vectors: usize,
    positions: usize,
    mut sweep: Sweep<'_, T>,
    store: &mut Store<'_, '_>,
) {
    let mut rest = positions;
    for &p in tile_positions(backend.isa(), vectors) {
        let tiles = rest / p;
        if tiles == 0 {
            continue;
        }
        check_dense(&sweep, vectors, tiles * p);
        store::check(store, vectors, tiles * p);
        macro_rules! tiles {
            ($($v:literal x $p:literal),*) => {
                match (vectors, p) {
                    $(($v, $p) => run_dense::<T, $p, $v>(backend, tiles, &sweep, store),)*
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

fn run_dense<T: Number, const P: usize, const V: usize>(
    backend: Backend,
    tiles: usize,
    sweep: &Sweep<'_, T>,
    store: &mut Store<'_, '_>,
) {
    // Constant distances, the usual ones, make for shorter code.
    if sweep.step == LANES && sweep.depth_step == 1 && sweep.row == V * LANES {
        if sweep.taps.list.len() == 1 {
            T::vectorize(backend, Dense::<T, P, V, true, true>(tiles, sweep, store));
        } else {
            T::vectorize(backend, Dense::<T, P, V, true, false>(tiles, sweep, store));
        }
    } else {
        T::vectorize(backend, Dense::<T, P, V, false, false>(tiles, sweep, store));
    }
}

/// Panics unless `positions` positions of `sweep` are inside its slices.
fn check_dense<T: Number>(sweep: &Sweep<'_, T>, vectors: usize, positions: usize) {
    let b = &sweep.blocks;
    assert!(
        T::GROUP == 1 || sweep.depth_step == 1,
        "groups side by side"
    );
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
        // Those of the last group.
        let group = T::GROUP as i128;
        let weights = weights + depth / group * group * sweep.row as i128;
        let weights = weights + group * (vectors * LANES) as i128 - 1;
        input < sweep.input.len() as i128 && weights < sweep.weights.len() as i128
    };
    let full = b.count < 2 || b.depth == 0 || ends(b.count - 2, b.depth);
    let last = b.count == 0 || b.last == 0 || ends(b.count - 1, b.last);
    let begin = sweep.start as i128 + sweep.taps.low as i128 >= 0;
    assert!(full && last && begin, "tile reads inside its slices");
}

struct Dense<'r, 's, 'a, 'b, T, const P: usize, const V: usize, const NEAR: bool, const AHEAD: bool>(
    usize,
    &'r Sweep<'s, T>,
    &'r mut Store<'a, 'b>,
);

impl<T: Number, const P: usize, const V: usize, const NEAR: bool, const AHEAD: bool> Vectorize
    for Dense<'_, '_, '_, '_, T, P, V, NEAR, AHEAD>
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
        let span = (T::PARTIAL / (b.depth * sweep.taps.list.len()).max(1)).max(1);
        for tile in 0..tiles {
            if AHEAD && let Some(add) = store.finish.add {
                for v in 0..V {
                    let at = store.planes_at[v] + store.at + tile * P * store.step;
                    for p in 0..P {
                        add.prefetch(s, at + p * store.step);
                    }
                }
            }
            let mut acc = start::<S, P, V>(s, [sweep.bias, sweep.scale]);
            // The sum of the parts that are done. An option, since memory for
            // what there is none of in most layers would be cleared each time.
            let mut whole = None;
            let start = sweep.start + (tile * P * step) as isize;
            for block in 0..b.count {
                if block > 0 && block % span == 0 {
                    add_part(s, &mut acc, whole);
                    whole = Some(acc);
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
                    for _ in 0..depth / T::GROUP {
                        // SAFETY: `check_dense` has found the first and the
                        // last position, product, block and tap to be inside
                        // the slices, and all others are between them.
                        unsafe { multiply(s, &mut acc, x, step, w, |x| T::splat(s, x)) };
                        x = x.wrapping_add(T::GROUP * depth_step);
                        w = w.wrapping_add(T::GROUP * row);
                    }
                    if depth % T::GROUP > 0 {
                        // SAFETY: as above.
                        unsafe { multiply(s, &mut acc, x, step, w, |x| T::splat_one(s, x)) };
                    }
                }
            }
            add_part(s, &mut acc, whole);
            scale(s, &mut acc, [sweep.bias, sweep.scale]);
            finish(s, acc, store, store.at + tile * P * store.step);
        }
    }
}

/// Adds a group of products to the sums.
///
/// # Safety
/// What `splat` reads of the `P` positions at `x` and the weights at `w` must
/// be valid.
#[inline(always)]
unsafe fn multiply<S: Simd, T: Number, const P: usize, const V: usize>(
    s: S,
    acc: &mut [[S::V; V]; P],
    x: *const T,
    step: usize,
    w: *const T,
    splat: impl Fn(*const T) -> T::Factors<S>,
) {
    // SAFETY: the caller's.
    let factors: [T::Factors<S>; V] =
        std::array::from_fn(|v| unsafe { T::load(s, w.add(v * T::GROUP * LANES)) });
    for p in 0..P {
        let value = splat(x.wrapping_add(p * step));
        for v in 0..V {
            acc[p][v] = T::multiply(s, value, factors[v], acc[p][v]);
        }
    }
}

/// Adds the sum of the parts before, if there are any.
#[inline(always)]
fn add_part<S: Simd, const P: usize, const V: usize>(
    s: S,
    acc: &mut [[S::V; V]; P],
    whole: Option<[[S::V; V]; P]>,
) {
    if let Some(whole) = whole {
        for p in 0..P {
            for v in 0..V {
                acc[p][v] = s.add(acc[p][v], whole[p][v]);
            }
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
