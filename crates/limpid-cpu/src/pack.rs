//! Weights in the order in which the tiles read them.

use crate::arch::tile::MAX_VECTORS;
use crate::kernels::kernel_matrix;
use crate::layout::Precision;
use crate::simd::LANES;
use crate::simd::round;
use half::bf16;
use limpid_graph::{Constant, TensorSource};
use limpid_tensor::{AlignedBuffer, TensorError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// How weights are turned into a pack. With its tensor, the key of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PackSpec {
    /// The weights are `[inputs, outputs / groups, taps]`, as a transposed
    /// convolution has them, not `[outputs, inputs / groups, taps]`.
    pub(crate) transposed: bool,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) groups: usize,
    /// Taps of the window, in C order.
    pub(crate) taps: usize,
    /// The widest tile, in vectors of output channels.
    pub(crate) vectors: usize,
    /// Each output channel reads the one input channel of its number, and both
    /// lie in blocks.
    pub(crate) depthwise: bool,
    /// Rows and columns of an output tile where the nine taps are transformed
    /// to the points of one; 0 where they are not.
    pub(crate) winograd: usize,
    /// Every tap of a block of outputs is a block of outputs of its own.
    pub(crate) spread: bool,
    /// Of what its numbers are. A depthwise pack's are floats.
    pub(crate) precision: Precision,
}

/// A few vectors of output channels that are computed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    /// The first block of output channels.
    pub(crate) first: usize,
    /// Blocks of output channels.
    pub(crate) vectors: usize,
    /// The first block of input channels that it reads.
    pub(crate) input: usize,
    /// Blocks of input channels that it reads.
    pub(crate) blocks: usize,
    /// Input channels in the last of them.
    pub(crate) last: usize,
    /// Input channels that a block has room for in the pack.
    pub(crate) room: usize,
    /// Where its weights begin in the pack.
    pub(crate) at: usize,
}

impl PackSpec {
    /// The tiles, and the numbers of the pack.
    ///
    /// A tile is `[block][tap][input channel][vector][16]`, of bf16
    /// `[block][tap][pair of channels][vector][16][2]`. Output blocks are
    /// dealt out as evenly as possible. A grouped convolution's tile reads all
    /// blocks that its groups touch, with weights of zero across groups.
    pub(crate) fn tiles(&self) -> (Vec<Tile>, usize) {
        let blocks = self.outputs.div_ceil(LANES);
        let widest = if self.groups > 1 {
            1
        } else {
            self.vectors.clamp(1, MAX_VECTORS)
        };
        let count = blocks.div_ceil(widest);
        let (mut tiles, mut first, mut at) = (Vec::with_capacity(count), 0, 0);
        for i in 0..count {
            let vectors = blocks / count + usize::from(i < blocks % count);
            let (low, high) = self.input_range(first * LANES, (first + vectors) * LANES);
            let input = low / LANES;
            let reads = high.div_ceil(LANES) - input;
            let last = high - (input + reads.max(1) - 1) * LANES;
            let room = if reads > 1 { LANES } else { last };
            let room = room.next_multiple_of(self.precision.group());
            tiles.push(Tile {
                first,
                vectors,
                input,
                blocks: reads,
                last,
                room,
                at,
            });
            first += vectors;
            at += reads * self.taps * room * vectors * LANES;
        }
        (tiles, at)
    }

    /// The pack as that of a matrix: a row for every input and tap, or where
    /// they are spread a column for every output and tap.
    pub(crate) fn matrix(self) -> Self {
        let taps = self.taps;
        let (inputs, outputs) = if self.spread {
            (self.inputs, self.outputs.next_multiple_of(LANES) * taps)
        } else {
            (self.inputs * taps, self.outputs)
        };
        Self {
            inputs,
            outputs,
            taps: 1,
            spread: false,
            ..self
        }
    }

    /// The input channels that these output channels read.
    fn input_range(&self, first: usize, end: usize) -> (usize, usize) {
        let (per_in, per_out) = self.per_group();
        let group = |o: usize| o / per_out.max(1);
        let end = end.min(self.outputs);
        (group(first) * per_in, (group(end - 1) + 1) * per_in)
    }

    fn per_group(&self) -> (usize, usize) {
        (self.inputs / self.groups, self.outputs / self.groups)
    }

    /// Where the window of an output and an input begins in the unpacked
    /// weights, if there is one.
    fn source(&self, output: usize, input: usize) -> Option<usize> {
        let (per_in, per_out) = self.per_group();
        if output >= self.outputs || input >= self.inputs {
            return None;
        }
        let group = output / per_out;
        if input / per_in != group {
            return None;
        }
        let row = if self.transposed {
            input * per_out + output % per_out
        } else {
            output * per_in + input % per_in
        };
        Some(row * self.taps)
    }

    /// Multiplies rows of weights, which are given in C order, by `factors`.
    pub(crate) fn scale(&self, weights: &mut [f32], factors: &[f32]) {
        let row = weights.len() / self.inputs.max(1);
        for (weights, factor) in weights.chunks_mut(row.max(1)).zip(factors) {
            for weight in weights {
                *weight *= factor;
            }
        }
    }

    /// Packs weights given in C order.
    pub(crate) fn pack(&self, weights: &[f32]) -> Result<AlignedBuffer, TensorError> {
        if self.depthwise {
            return self.pack_depthwise(weights);
        }
        if self.winograd > 0 {
            return self.pack_winograd(weights);
        }
        let all = if self.spread { self.matrix() } else { *self };
        let (tiles, len) = all.tiles();
        let mut buffer = AlignedBuffer::zeroed(len * size_of::<f32>())?;
        self.pack_dense(&tiles, weights, buffer.as_mut_slice());
        if self.precision == Precision::F32 {
            return Ok(buffer);
        }
        let mut rounded = AlignedBuffer::zeroed(len * size_of::<bf16>())?;
        pair_up(&tiles, buffer.as_slice(), rounded.as_mut_slice());
        Ok(rounded)
    }

    fn pack_dense(&self, tiles: &[Tile], weights: &[f32], out: &mut [f32]) {
        if self.spread {
            return self.pack_spread(tiles, weights, out);
        }
        if self.groups == 1 && self.taps == 1 {
            return self.pack_matrix(tiles, weights, out);
        }
        for t in tiles {
            let row = t.vectors * LANES;
            for input in t.input * LANES..(t.input + t.blocks) * LANES {
                let (block, k) = (input / LANES - t.input, input % LANES);
                let at = t.at + (block * self.taps * t.room + k) * row;
                for lane in 0..row {
                    let Some(from) = self.source(t.first * LANES + lane, input) else {
                        continue;
                    };
                    let to = out[at + lane..].iter_mut().step_by(t.room * row);
                    for (to, from) in to.zip(&weights[from..][..self.taps]) {
                        *to = *from;
                    }
                }
            }
        }
    }

    /// Packs the matrix of one tap and group: a tile is `[input][vector][16]`.
    /// The lanes beyond the outputs are left alone.
    pub(crate) fn pack_matrix(&self, tiles: &[Tile], weights: &[f32], out: &mut [f32]) {
        for t in tiles {
            let (row, first) = (t.vectors * LANES, t.first * LANES);
            let lanes = row.min(self.outputs - first);
            let out = &mut out[t.at..][..self.inputs * row];
            if self.transposed {
                let from = weights.chunks_exact(self.outputs);
                for (to, from) in out.chunks_exact_mut(row).zip(from) {
                    to[..lanes].copy_from_slice(&from[first..first + lanes]);
                }
                continue;
            }
            // Some inputs of all lanes at a time, which stay in the cache.
            for (part, out) in out.chunks_mut(LANES * row).enumerate() {
                for lane in 0..lanes {
                    let from = &weights[(first + lane) * self.inputs + part * LANES..];
                    for (to, from) in out.chunks_exact_mut(row).zip(from) {
                        to[lane] = *from;
                    }
                }
            }
        }
    }

    /// Packs a transposed convolution whose taps are spread.
    fn pack_spread(&self, tiles: &[Tile], weights: &[f32], out: &mut [f32]) {
        for (input, weights) in weights.chunks(self.outputs * self.taps).enumerate() {
            for (t, vector) in tiles
                .iter()
                .flat_map(|t| (0..t.vectors).map(move |v| (t, v)))
            {
                let (block, tap) = (
                    (t.first + vector) / self.taps,
                    (t.first + vector) % self.taps,
                );
                let to = t.at + (input * t.vectors + vector) * LANES;
                let from = weights[block * LANES * self.taps..].chunks(self.taps);
                for (to, from) in out[to..to + LANES].iter_mut().zip(from) {
                    *to = from[tap];
                }
            }
        }
    }

    /// For every point a pack of one tap: the kernel's values there, computed in f64.
    fn pack_winograd(&self, weights: &[f32]) -> Result<AlignedBuffer, TensorError> {
        let matrix = kernel_matrix(self.winograd);
        let points = matrix.len();
        let (tiles, len) = Self { taps: 1, ..*self }.tiles();
        let mut buffer = AlignedBuffer::zeroed(points * points * len * size_of::<f32>())?;
        let out = buffer.as_mut_slice::<f32>();
        for t in &tiles {
            let row = t.vectors * LANES;
            for (input, vector) in
                (0..self.inputs).flat_map(|i| (0..t.vectors).map(move |v| (i, v)))
            {
                let first = (t.first + vector) * LANES;
                let mut kernels = [[0.0; LANES]; 9];
                for lane in 0..LANES.min(self.outputs.saturating_sub(first)) {
                    let Some(from) = self.source(first + lane, input) else {
                        continue;
                    };
                    for (tap, weight) in weights[from..][..9].iter().enumerate() {
                        // A transposed convolution's window is reversed.
                        let tap = if self.transposed { 8 - tap } else { tap };
                        kernels[tap][lane] = f64::from(*weight);
                    }
                }
                let to = t.at + input * row + vector * LANES;
                let along_x = |line: &[[f64; LANES]], m: &[f64; 3]| -> [f64; LANES] {
                    std::array::from_fn(|l| {
                        m[0] * line[0][l] + m[1] * line[1][l] + m[2] * line[2][l]
                    })
                };
                for (column, m) in matrix.iter().enumerate() {
                    let lines: [[f64; LANES]; 3] =
                        std::array::from_fn(|r| along_x(&kernels[3 * r..], m));
                    for (point_row, m) in matrix.iter().enumerate() {
                        let values = along_x(&lines, m);
                        let to = (point_row * points + column) * len + to;
                        for (to, value) in out[to..to + LANES].iter_mut().zip(values) {
                            *to = value as f32;
                        }
                    }
                }
            }
        }
        Ok(buffer)
    }

    /// `[block][tap][16]`.
    fn pack_depthwise(&self, weights: &[f32]) -> Result<AlignedBuffer, TensorError> {
        let len = self.outputs.div_ceil(LANES) * LANES * self.taps;
        let mut buffer = AlignedBuffer::zeroed(len * size_of::<f32>())?;
        let out = buffer.as_mut_slice::<f32>();
        for (c, weights) in weights.chunks(self.taps.max(1)).enumerate() {
            for (tap, weight) in weights.iter().enumerate() {
                out[(c / LANES * self.taps + tap) * LANES + c % LANES] = *weight;
            }
        }
        Ok(buffer)
    }
}

/// Interleaves and rounds the weights of each two input channels.
pub(crate) fn pair_up(tiles: &[Tile], pack: &[f32], out: &mut [bf16]) {
    let ends = tiles.iter().skip(1).map(|t| t.at).chain([pack.len()]);
    for (t, end) in tiles.iter().zip(ends) {
        let row = t.vectors * LANES;
        let from = pack[t.at..end].chunks_exact(2 * row);
        for (to, from) in out[t.at..end].chunks_exact_mut(2 * row).zip(from) {
            let (first, second) = from.split_at(row);
            for (to, (a, b)) in to
                .as_chunks_mut()
                .0
                .iter_mut()
                .zip(first.iter().zip(second))
            {
                *to = [round(*a), round(*b)];
            }
        }
    }
}

/// What a pack was made of: weights and factors, kept as long as the entry so
/// that their addresses are not given away.
struct Entry {
    weights: Weak<dyn TensorSource>,
    factors: Option<Weak<dyn TensorSource>>,
    pack: Weak<AlignedBuffer>,
}

type Key = (usize, Option<usize>, PackSpec);

/// The packs in use. They live as long as an executable holds them, so plans
/// for several batches and for forward and gradient share theirs.
#[derive(Default)]
pub(crate) struct PackCache(Mutex<HashMap<Key, Entry>>);

impl PackCache {
    /// The pack of weights, their rows times `factors`, made now unless it is in
    /// use already. What it is made of is loaded for that alone.
    pub(crate) fn get(
        &self,
        weights: &Constant,
        factors: Option<&Constant>,
        spec: PackSpec,
    ) -> Result<Arc<AlignedBuffer>, TensorError> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (weights.address(), factors.map(Constant::address), spec);
        if let Some(pack) = entries.get(&key).and_then(|e| e.pack.upgrade()) {
            return Ok(pack);
        }
        entries.retain(|_, e| {
            let alive = |c: &Weak<dyn TensorSource>| c.strong_count() > 0;
            alive(&e.weights) && e.factors.as_ref().is_none_or(alive) && e.pack.strong_count() > 0
        });
        let mut numbers = weights.load()?;
        if let Some(factors) = factors {
            spec.scale(numbers.to_mut().data_mut(), factors.load()?.data());
        }
        let pack = Arc::new(spec.pack(numbers.data())?);
        let entry = Entry {
            weights: weights.downgrade(),
            factors: factors.map(Constant::downgrade),
            pack: Arc::downgrade(&pack),
        };
        entries.insert(key, entry);
        Ok(pack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limpid_tensor::Tensor;

    fn spec(outputs: usize, inputs: usize, groups: usize) -> PackSpec {
        PackSpec {
            transposed: false,
            outputs,
            inputs,
            groups,
            taps: 1,
            vectors: 4,
            depthwise: false,
            winograd: 0,
            spread: false,
            precision: Precision::F32,
        }
    }

    #[test]
    fn tiles_cover_all_blocks_evenly() {
        for outputs in 1..400 {
            let (tiles, _) = spec(outputs, 7, 1).tiles();
            let mut next = 0;
            for t in &tiles {
                assert_eq!(t.first, next);
                next += t.vectors;
            }
            assert_eq!(next, outputs.div_ceil(16));
            let widths = tiles.iter().map(|t| t.vectors);
            assert!(widths.clone().max().unwrap() - widths.min().unwrap() <= 1);
        }
    }

    #[test]
    fn groups_read_their_own_blocks() {
        let (tiles, _) = spec(128, 128, 32).tiles();
        assert_eq!((tiles[3].input, tiles[3].blocks, tiles[3].last), (3, 1, 16));
    }

    #[test]
    fn packs_are_shared_and_let_go() {
        let cache = PackCache::default();
        let weights = |value| Constant::from(Tensor::new([2, 3], vec![value; 6]).unwrap());
        let ones = weights(1.0);
        let pack = cache.get(&ones, None, spec(2, 3, 1)).unwrap();
        assert!(Arc::ptr_eq(
            &pack,
            &cache.get(&ones, None, spec(2, 3, 1)).unwrap()
        ));
        drop((pack, ones));
        let other = weights(2.0);
        let pack = cache.get(&other, None, spec(2, 3, 1)).unwrap();
        assert_eq!(pack.as_slice::<f32>()[0], 2.0);
        assert_eq!(cache.0.lock().unwrap().len(), 1);
    }
}
