//! Tiles chosen by measuring them.

use crate::adapter::Adapter;
use crate::device::{WgpuDevice, WgpuOptions};
use crate::tuning::{Tile, Tuning};
use limpid_device::{Buffer, Device, DeviceError, Executable, HostData};
use limpid_graph::ops::{Conv, ConvTranspose, Gemm, Padding};
use limpid_graph::{Fact, Graph, GraphError};
use limpid_tensor::{Tensor, philox};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is measured of a [`Tuning`]: what changes how fast products are, and no
/// sum of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// As [`Tuning::large`].
    pub large: Tile,
    /// As [`Tuning::small`].
    pub small: Tile,
    /// As [`Tuning::narrow`].
    pub narrow: Tile,
    /// As [`Tuning::fill`].
    pub fill: usize,
}

impl Measured {
    /// Whether kernels can be made of it.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.applied_to(Tuning::of(crate::AdapterClass::Software))
            .is_sound()
    }

    /// A tuning with what was measured in place of its own.
    #[must_use]
    pub fn applied_to(&self, tuning: Tuning) -> Tuning {
        Tuning {
            large: self.large,
            small: self.small,
            narrow: self.narrow,
            fill: self.fill,
            ..tuning
        }
    }
}

/// A tile's seconds for some work, the median.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TileTime {
    /// What the tile is for: `large`, `small`, `narrow` or `fill`.
    pub role: &'static str,
    /// What was computed.
    pub work: String,
    /// The tile.
    pub tile: Tile,
    /// How long it took.
    pub seconds: f64,
}

/// A choice and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TileChoice {
    /// The fastest.
    pub chosen: Measured,
    /// Everything that was measured.
    pub times: Vec<TileTime>,
    /// How many times as long a window of 3 x 3 takes without Winograd's
    /// transforms; nothing is chosen by it, since they change results.
    pub winograd: f64,
}

const fn tile(rows: usize, columns: usize, depth: usize, per: [usize; 2]) -> Tile {
    let [per_row, per_column] = per;
    Tile {
        rows,
        columns,
        depth,
        per_row,
        per_column,
    }
}

/// Tiles for many outputs and for few.
const WIDE: [Tile; 9] = [
    tile(64, 128, 8, [8, 8]),
    tile(128, 64, 8, [8, 8]),
    tile(64, 64, 16, [8, 8]),
    tile(64, 64, 16, [4, 8]),
    tile(64, 64, 16, [4, 4]),
    tile(32, 128, 8, [4, 8]),
    tile(32, 64, 16, [4, 8]),
    tile(32, 64, 16, [4, 4]),
    tile(32, 32, 16, [4, 4]),
];

/// Tiles for the three channels of a picture's gradient.
const NARROW: [Tile; 4] = [
    tile(4, 64, 16, [4, 4]),
    tile(4, 128, 8, [4, 4]),
    tile(4, 256, 8, [4, 4]),
    tile(4, 256, 4, [4, 4]),
];

/// Work for which a tile is chosen.
struct Work {
    name: String,
    graph: Graph,
}

fn normals(count: usize) -> impl Iterator<Item = f32> {
    let key = philox::key(0);
    let quads = 0..count.div_ceil(4) as u32;
    let quads = quads.flat_map(move |q| philox::normal4(key, 0, [0, 0], q));
    quads.take(count).map(|v| v as f32)
}

fn constant(graph: &mut Graph, dims: &[usize]) -> Result<limpid_graph::ValueId, GraphError> {
    let mut tensor = Tensor::zeros(dims)?;
    let count = tensor.data().len();
    tensor
        .data_mut()
        .iter_mut()
        .zip(normals(count))
        .for_each(|(to, v)| *to = v);
    Ok(graph.constant("weight", tensor))
}

fn conv(
    batch: usize,
    from: usize,
    to: usize,
    side: usize,
    window: usize,
) -> Result<Work, GraphError> {
    let mut graph = Graph::new();
    let x = graph.input("x", Fact::f32([batch, from, side, side]));
    let weight = constant(&mut graph, &[to, from, window, window])?;
    let op = Conv {
        padding: Padding::Explicit([window / 2; 4]),
        ..Conv::default()
    };
    let y = graph.push("conv", op, &[x, weight])?;
    graph.set_outputs(&y);
    let name = format!("{window}x{window}, {from} to {to} at {side}x{side}, batch {batch}");
    Ok(Work { name, graph })
}

/// The gradient of a picture, by its network's first layer.
fn picture() -> Result<Work, GraphError> {
    let mut graph = Graph::new();
    let y = graph.input("y", Fact::f32([2, 64, 112, 112]));
    let weight = constant(&mut graph, &[64, 3, 7, 7])?;
    let op = ConvTranspose {
        strides: [2, 2],
        pads: [3; 4],
        output_padding: [1, 1],
        ..ConvTranspose::default()
    };
    let x = graph.push("conv", op, &[y, weight])?;
    graph.set_outputs(&x);
    let name = "gradient of 7x7 by 2, 64 to 3 at 224x224, batch 2".to_owned();
    Ok(Work { name, graph })
}

fn product([rows, depth, columns]: [usize; 3]) -> Result<Work, GraphError> {
    let mut graph = Graph::new();
    let x = graph.input("x", Fact::f32([rows, depth]));
    let weight = constant(&mut graph, &[depth, columns])?;
    let y = graph.push("product", Gemm::default(), &[x, weight])?;
    graph.set_outputs(&y);
    let name = format!("{rows}x{depth} by {depth}x{columns}");
    Ok(Work { name, graph })
}

/// Work ready to run by one tuning.
struct Runner {
    device: Arc<WgpuDevice>,
    executable: Arc<dyn Executable>,
    input: Buffer,
    output: Buffer,
    seconds: Vec<f64>,
}

impl Runner {
    fn new(device: &Arc<WgpuDevice>, work: &Work) -> Result<Self, DeviceError> {
        let graph = Arc::new(work.graph.clone());
        let fact = graph.fact(graph.inputs()[0]);
        let mut input = device.alloc(fact)?;
        let values: Vec<f32> = normals(fact.shape.elements()?).collect();
        device.write(&mut input, HostData::F32(&values))?;
        let output = device.alloc(graph.fact(graph.outputs()[0]))?;
        let executable = device.prepare(device.plan(graph)?)?;
        Ok(Self {
            device: Arc::clone(device),
            executable,
            input,
            output,
            seconds: Vec::new(),
        })
    }

    fn run(&mut self) -> Result<f64, DeviceError> {
        let (executable, outputs) = (&*self.executable, &mut [&mut self.output]);
        let steps = self.device.timings(executable, &[&self.input], outputs)?;
        Ok(steps.iter().map(|s| s.duration.as_secs_f64()).sum())
    }

    fn median(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
            .get(sorted.len() / 2)
            .copied()
            .unwrap_or(f64::INFINITY)
    }
}

/// Measures tiles on an adapter.
pub struct Tuner {
    adapter: Adapter,
    table: Tuning,
    rounds: u32,
    times: Vec<TileTime>,
}

impl Tuner {
    /// On this adapter, so many runs of each.
    #[must_use]
    pub fn new(adapter: Adapter, rounds: u32) -> Self {
        Self {
            table: Tuning::of(adapter.info().class),
            adapter,
            rounds,
            times: Vec::new(),
        }
    }

    /// The choice. `tell` is given the name of each work before it is measured,
    /// and ends the measurement by `false`: then there is none.
    ///
    /// # Errors
    /// When the adapter cannot be opened, or memory is short.
    pub fn choose(
        mut self,
        mut tell: impl FnMut(&str) -> bool,
    ) -> Result<Option<TileChoice>, DeviceError> {
        let roles = [
            (
                "large",
                &WIDE[..],
                vec![
                    conv(8, 256, 64, 56, 1)?,
                    conv(8, 128, 128, 28, 3)?,
                    product([512, 768, 768])?,
                ],
            ),
            (
                "small",
                &WIDE[..],
                vec![
                    conv(1, 1024, 256, 14, 1)?,
                    conv(1, 512, 512, 7, 3)?,
                    product([50, 768, 768])?,
                ],
            ),
            ("narrow", &NARROW[..], vec![picture()?]),
        ];
        let mut found = [self.table.large, self.table.small, self.table.narrow];
        for ((role, tiles, works), found) in roles.into_iter().zip(&mut found) {
            let tiles = &self.alike(tiles, *found)[..];
            let devices = self.devices(tiles)?;
            let mut scores = vec![0.0; tiles.len()];
            for work in &works {
                if !tell(&work.name) {
                    return Ok(None);
                }
                let seconds = self.measure(&devices, work)?;
                for ((score, seconds), tile) in scores.iter_mut().zip(seconds).zip(tiles) {
                    *score += seconds.ln();
                    self.note(role, work, *tile, seconds);
                }
            }
            let best = scores.iter().zip(tiles).min_by(|a, b| a.0.total_cmp(b.0));
            *found = best.map_or(*found, |(_, tile)| *tile);
        }
        let [large, small, narrow] = found;
        let Some(fill) = self.fill(large, small, &mut tell)? else {
            return Ok(None);
        };
        let work = conv(8, 128, 128, 28, 3)?;
        if !tell("Winograd's transforms") {
            return Ok(None);
        }
        let chosen = Measured {
            large,
            small,
            narrow,
            fill,
        };
        let tunings = [None, Some(crate::Winograd::PAYS)];
        let tunings = tunings.map(|winograd| Tuning {
            winograd,
            ..chosen.applied_to(self.table)
        });
        let devices = tunings.map(|t| self.device(t));
        let devices = devices.into_iter().collect::<Result<Vec<_>, _>>()?;
        let seconds = self.measure(&devices, &work)?;
        Ok(Some(TileChoice {
            chosen,
            times: self.times,
            winograd: seconds[0] / seconds[1],
        }))
    }

    /// The fewest blocks of the large tile from which the small one is not a few
    /// per cent faster.
    fn fill(
        &mut self,
        large: Tile,
        small: Tile,
        tell: &mut impl FnMut(&str) -> bool,
    ) -> Result<Option<usize>, DeviceError> {
        if large == small {
            return Ok(Some(0));
        }
        let devices = self.devices(&[large, small])?;
        let mut fill = 0;
        for columns in [128, 256, 512, 1024, 2048, 4096, 8192] {
            let work = product([256, 512, columns])?;
            if !tell(&work.name) {
                return Ok(None);
            }
            let seconds = self.measure(&devices, &work)?;
            for (tile, seconds) in [large, small].into_iter().zip(&seconds) {
                self.note("fill", &work, tile, *seconds);
            }
            if seconds[1] > 0.97 * seconds[0] {
                break;
            }
            fill = 1 + 256usize.div_ceil(large.rows) * columns.div_ceil(large.columns);
        }
        Ok(Some(fill))
    }

    /// The tiles that suit the adapter's units for matrices where the table's
    /// does, and do not where it does not: units add up in an order of their own.
    fn alike(&self, tiles: &[Tile], table: Tile) -> Vec<Tile> {
        let units = self.adapter.matrices();
        let same = |t: &&Tile| {
            units
                .iter()
                .all(|(size, _)| t.suits(*size) == table.suits(*size))
        };
        tiles.iter().filter(same).copied().collect()
    }

    fn note(&mut self, role: &'static str, work: &Work, tile: Tile, seconds: f64) {
        let work = work.name.clone();
        self.times.push(TileTime {
            role,
            work,
            tile,
            seconds,
        });
    }

    fn device(&self, tuning: Tuning) -> Result<Arc<WgpuDevice>, DeviceError> {
        Ok(Arc::new(WgpuDevice::new(WgpuOptions {
            adapter: Some(self.adapter.clone()),
            tuning: Some(tuning),
            ..WgpuOptions::default()
        })?))
    }

    /// A device for each tile, which takes it for everything that it can.
    fn devices(&self, tiles: &[Tile]) -> Result<Vec<Arc<WgpuDevice>>, DeviceError> {
        let only = |tile: &Tile| {
            self.device(Tuning {
                large: *tile,
                small: if tile.in_one_turn() {
                    *tile
                } else {
                    self.table.small
                },
                narrow: *tile,
                winograd: None,
                ..self.table
            })
        };
        tiles.iter().map(only).collect()
    }

    /// The medians of the devices' seconds, which take turns.
    fn measure(&self, devices: &[Arc<WgpuDevice>], work: &Work) -> Result<Vec<f64>, DeviceError> {
        let runners = devices.iter().map(|d| Runner::new(d, work));
        let mut runners = runners.collect::<Result<Vec<_>, _>>()?;
        for runner in &mut runners {
            runner.run()?;
        }
        for _ in 0..self.rounds {
            for runner in &mut runners {
                let seconds = runner.run()?;
                runner.seconds.push(seconds);
            }
        }
        Ok(runners.iter().map(Runner::median).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_sound() {
        for tile in WIDE.iter().chain(&NARROW) {
            assert!(tile.is_sound(), "{tile:?}");
        }
        assert!(WIDE.iter().all(Tile::in_one_turn));
    }

    #[test]
    fn what_is_measured_takes_the_place_of_the_table() {
        let table = Tuning::of(crate::AdapterClass::Discrete);
        let measured = Measured {
            large: WIDE[3],
            small: WIDE[8],
            narrow: NARROW[0],
            fill: 7,
        };
        let tuning = measured.applied_to(table);
        assert_eq!((tuning.large, tuning.fill), (WIDE[3], 7));
        assert_eq!(tuning.winograd, table.winograd);
    }
}
