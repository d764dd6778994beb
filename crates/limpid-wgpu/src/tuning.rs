use crate::adapter::AdapterClass;
use serde::{Deserialize, Serialize};

/// How a product is cut: a workgroup computes a block of `rows` x `columns`
/// outputs, `depth` products at a time, each invocation `per_row` x
/// `per_column` of them in registers. The order of each sum does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    /// Rows of a block.
    pub rows: usize,
    /// Columns of a block, a multiple of 32.
    pub columns: usize,
    /// Products between two barriers.
    pub depth: usize,
    /// Rows of an invocation, a multiple of 4.
    pub per_row: usize,
    /// Columns of an invocation, a multiple of 4.
    pub per_column: usize,
}

impl Tile {
    /// The rounds of loops that an invocation makes for sums so deep.
    pub(crate) fn rounds(&self, depth: usize) -> u64 {
        let turns = |side: usize| (side * self.depth / 16).div_ceil(self.invocations());
        // One of blocks, the turns of each fetch, four depths in each of the others.
        let block = 1 + turns(self.rows) + turns(self.columns) + self.depth / 4;
        (depth.div_ceil(self.depth) * block) as u64
    }

    /// Whether a block's columns are fetched in one turn whatever their order:
    /// kernels of blurs prepare each column once.
    #[must_use]
    pub fn in_one_turn(&self) -> bool {
        self.columns * self.depth <= 16 * self.invocations()
    }

    /// Invocations of a workgroup.
    #[must_use]
    pub fn invocations(&self) -> usize {
        (self.rows / self.per_row) * (self.columns / self.per_column)
    }

    /// Bytes of workgroup memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let staged = self.rows / self.per_row * self.columns;
        4 * (self.depth * (self.rows + self.columns) + staged) + self.rows * self.columns / 8
    }

    /// Whether its blocks can be cut into matrices of this size, each subgroup of
    /// 32 having a part of the columns.
    pub(crate) fn suits(&self, size: usize) -> bool {
        let subgroups = self.invocations() / 32;
        self.invocations().is_multiple_of(32)
            && self.rows.is_multiple_of(size)
            && self.depth.is_multiple_of(size)
            && self.columns.is_multiple_of(size * subgroups)
            && 4 * (self.depth * (self.rows + self.columns) + size * self.columns)
                + self.rows * self.columns / 8
                <= 16 << 10
    }

    /// Whether kernels can be made of it within WebGPU's guaranteed limits.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let four = [self.rows, self.depth, self.per_row, self.per_column];
        let whole = four.iter().all(|v| *v > 0 && v.is_multiple_of(4))
            && self.columns > 0
            && self.columns.is_multiple_of(32)
            && self.rows.is_multiple_of(self.per_row)
            && self.columns.is_multiple_of(self.per_column);
        let bounded = |v: usize, most: usize| v <= most;
        whole
            && bounded(self.rows, 256)
            && bounded(self.columns, 256)
            && bounded(self.depth, 64)
            && bounded(self.bytes(), 16 << 10)
            && (16..=256).contains(&self.invocations())
            // Each invocation fetches the same columns in all of its turns, where
            // neighbours in memory are columns.
            && self.invocations().is_multiple_of(self.columns / 4)
            && self.invocations().is_multiple_of(self.rows / 4)
    }
}

/// The convolutions that go by way of Winograd's transforms; a matter of one
/// image's shape, so that results do not depend on the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Winograd {
    /// Channels, on the side that has fewer, from which they save more than
    /// transforms cost.
    pub channels: usize,
    /// Tiles of 4 x 4 of an image from which weights, of which there are four
    /// times as many, are not what is waited for.
    pub tiles: usize,
}

impl Winograd {
    /// Where it pays on most adapters; `docs/gpu.md` says why.
    pub const PAYS: Self = Self {
        channels: 96,
        tiles: 16,
    };
}

/// The choices that depend on the hardware and not on the operator. They change
/// how fast a kernel is, not what it computes, but for `winograd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// For products with many outputs.
    pub large: Tile,
    /// For products too small to fill the device with large tiles, and for blurs,
    /// which ask for a block of columns [in one turn](Tile::in_one_turn).
    pub small: Tile,
    /// For products of a few rows: the gradient of a picture has three.
    pub narrow: Tile,
    /// Where windows of 3 x 3 take fewer products by Winograd's transforms; never
    /// if `None`. It changes how sums are rounded, so nothing measured changes it.
    pub winograd: Option<Winograd>,
    /// Invocations of a workgroup of kernels without tiles: 128 or 256.
    pub invocations: usize,
    /// Blocks below which the small tile is taken.
    pub fill: usize,
    /// Floating-point operations of one submission: less than a second of a slow
    /// adapter of the class at a fifth of its rate, while drivers take two for a
    /// hang. Software has nobody who watches it.
    pub submission: u64,
}

impl Tuning {
    /// The tiles.
    #[must_use]
    pub fn tiles(&self) -> [Tile; 3] {
        [self.large, self.small, self.narrow]
    }

    /// Whether kernels can be made of it within WebGPU's guaranteed limits.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.tiles().iter().all(Tile::is_sound)
            && self.small.in_one_turn()
            && [128, 256].contains(&self.invocations)
    }

    /// The table, from public data of such devices; `docs/gpu.md` says why.
    #[must_use]
    pub fn of(class: AdapterClass) -> Self {
        let tile = |rows, columns, depth, per_row, per_column| Tile {
            rows,
            columns,
            depth,
            per_row,
            per_column,
        };
        let narrow = tile(4, 256, 8, 4, 4);
        match class {
            AdapterClass::Discrete => Self {
                large: tile(64, 128, 8, 8, 8),
                small: tile(32, 64, 16, 4, 4),
                narrow,
                winograd: Some(Winograd::PAYS),
                invocations: 256,
                fill: 256,
                submission: 150_000_000_000,
            },
            AdapterClass::Integrated => Self {
                large: tile(64, 64, 16, 4, 8),
                small: tile(32, 32, 16, 4, 4),
                narrow,
                winograd: Some(Winograd::PAYS),
                invocations: 256,
                fill: 64,
                submission: 30_000_000_000,
            },
            AdapterClass::Software => Self {
                large: tile(64, 64, 16, 8, 8),
                small: tile(32, 64, 16, 4, 8),
                narrow,
                // Memory is as near as arithmetic is slow.
                winograd: Some(Winograd {
                    channels: 32,
                    ..Winograd::PAYS
                }),
                invocations: 256,
                fill: 0,
                submission: 20_000_000_000,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        use AdapterClass::{Discrete, Integrated, Software};
        for class in [Discrete, Integrated, Software] {
            assert!(Tuning::of(class).is_sound(), "{class}");
        }
    }

    /// Blurs prepare each column once, so its fetch may take one turn alone.
    #[test]
    fn a_small_tile_is_fetched_in_one_turn() {
        let table = Tuning::of(AdapterClass::Software);
        let deep = Tile {
            depth: 32,
            ..table.small
        };
        assert!(deep.is_sound() && !deep.in_one_turn());
        let tuning = |large, small| Tuning {
            large,
            small,
            ..table
        };
        assert!(tuning(deep, table.small).is_sound());
        assert!(!tuning(table.large, deep).is_sound());
    }
}
