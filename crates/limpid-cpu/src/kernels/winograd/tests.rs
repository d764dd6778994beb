//! Fewer products against direct sums: that they agree, and which is faster.

use super::Winograd;
use crate::Isa;
use crate::arch::Backend;
use crate::arch::store::Finish;
use crate::kernels::Context;
use crate::kernels::window::{Destination, Offset, Source, Window};
use crate::layout::Precision;
use crate::operands::Workspace;
use crate::pack::PackSpec;
use crate::pool::Pool;
use crate::simd::LANES;
use limpid_tensor::AlignedBuffer;
use std::time::Instant;

const ROUNDS: usize = 9;

/// The distances of a window of 3 x 3 from `channels` to as many.
fn geometry(images: usize, channels: usize, side: usize) -> (Source, Destination, PackSpec) {
    let blocks = channels / LANES;
    let source = Source {
        height: side,
        width: side,
        image: blocks * side * side * LANES,
        block: side * side * LANES,
        depth: 1,
        position: LANES,
    };
    let destination = Destination {
        images,
        planes: blocks,
        height: side,
        width: side,
        position: LANES,
    };
    let spec = PackSpec {
        transposed: false,
        outputs: channels,
        inputs: channels,
        groups: 1,
        taps: 9,
        vectors: 4,
        depthwise: false,
        winograd: 0,
        spread: false,
        precision: Precision::F32,
    };
    (source, destination, spec)
}

/// A window with its weights, for each algorithm.
struct Problem {
    input: Vec<f32>,
    direct: Window,
    /// By the size of the output tile.
    fewer: [Winograd; 2],
    packs: [AlignedBuffer; 3],
}

impl Problem {
    fn new(images: usize, channels: usize, side: usize) -> Self {
        let (source, destination, spec) = geometry(images, channels, side);
        let number = |i: usize| (i * 7919 % 1013) as f32 / 507.0 - 1.0;
        let weights: Vec<f32> = (0..channels * channels * 9).map(number).collect();
        let taps = (0..9).map(|index| Offset {
            dy: index as isize / 3 - 1,
            dx: index as isize % 3 - 1,
            index,
        });
        let phases = vec![([0, 0], taps.collect())];
        let direct = Window::new(source, destination, [1, 1], [1, 1], phases, spec);
        let fewer = [2, 4].map(|size| Winograd::new(source, destination, [-1, -1], size, spec));
        let packs = [direct.spec(), fewer[0].spec(), fewer[1].spec()];
        Self {
            input: (0..images * source.image).map(number).collect(),
            direct,
            fewer,
            packs: packs.map(|spec| spec.pack(&weights).unwrap()),
        }
    }

    /// Direct sums, or the smaller or the larger tile.
    fn run(&self, algorithm: usize, out: &mut [f32], work: &mut Vec<f32>, cx: Context<'_>) {
        let (none, input) = (Finish::default(), &self.input);
        let pack = self.packs[algorithm].as_slice();
        let Some(winograd) = algorithm.checked_sub(1).map(|k| &self.fewer[k]) else {
            self.direct
                .run(input, pack, [None; 2], out, &mut [], none, cx);
            return;
        };
        let needed = winograd.workspace(cx.pool.count());
        work.resize(work.len().max(needed), 0.0);
        let work = Workspace(work);
        winograd.run(input, pack, [None; 2], out, &mut [], none, work, cx);
    }
}

#[test]
fn however_tiles_are_dealt_out() {
    let backend = Backend::new(Isa::available()[0]).unwrap();
    // In a task's own cache, several images at once, and a part of one.
    for (images, channels, side) in [(2, 48, 30), (3, 256, 13), (2, 256, 62)] {
        let problem = Problem::new(images, channels, side);
        let run = |algorithm: usize, threads: usize| {
            let pool = Pool::new(threads).unwrap();
            let cx = Context {
                backend,
                pool: &pool,
            };
            let mut out = vec![f32::NAN; problem.input.len()];
            problem.run(algorithm, &mut out, &mut Vec::new(), cx);
            out
        };
        let direct = run(0, 2);
        let largest = direct.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
        for algorithm in [1, 2] {
            let found = run(algorithm, 1);
            assert_eq!(found, run(algorithm, 3), "{channels} {side}");
            for (found, direct) in found.iter().zip(&direct) {
                assert!(
                    (found - direct).abs() <= 2e-5 * largest,
                    "{channels} {side}"
                );
            }
        }
    }
}

/// What [`super::tile_size`] rests on:
/// `cargo test --release -p limpid-cpu --lib -- --ignored --nocapture windows_in_turn`
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout)]
fn windows_in_turn() {
    let isa = Isa::available()[0];
    let backend = Backend::new(isa).unwrap();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = Pool::new(threads).unwrap();
    let cx = Context {
        backend,
        pool: &pool,
    };
    println!("{{\"isa\": \"{isa}\", \"threads\": {threads}, \"rounds\": {ROUNDS}, \"windows\": [");
    let mut comma = "";
    for (images, channels, side) in [1, 8]
        .into_iter()
        .flat_map(|n| [32, 64, 128, 256, 512].map(|c| (n, c)))
        .flat_map(|(n, c)| [7, 14, 28, 56, 112].map(|side| (n, c, side)))
        .filter(|(n, c, side)| n * c * side * side <= 1 << 23)
    {
        let problem = Problem::new(images, channels, side);
        let (mut out, mut work) = (vec![0.0; problem.input.len()], Vec::new());
        let mut times = [const { Vec::new() }; 3];
        for round in 0..=ROUNDS {
            for k in 0..3 {
                let start = Instant::now();
                problem.run(k, &mut out, &mut work, cx);
                if round > 0 {
                    times[k].push(start.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        let [direct, two, four] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[ROUNDS / 2]
        });
        print!(
            "{comma} {{\"images\": {images}, \"channels\": {channels}, \"side\": {side}, \
             \"direct_ms\": {direct:.3}, \"two_ms\": {two:.3}, \"four_ms\": {four:.3}}}"
        );
        comma = ",\n";
    }
    println!("\n]}}");
}
