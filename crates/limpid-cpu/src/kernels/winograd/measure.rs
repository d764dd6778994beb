//! What the choice between direct sums and fewer products rests on:
//! `cargo test --release -p limpid-cpu --lib -- --ignored --nocapture windows_in_turn`

use super::Winograd;
use crate::Isa;
use crate::arch::Backend;
use crate::arch::tile::Finish;
use crate::kernels::Context;
use crate::kernels::window::{Destination, Offset, Source, Window};
use crate::operands::Workspace;
use crate::pack::PackSpec;
use crate::pool::Pool;
use crate::simd::LANES;
use std::time::Instant;

const ROUNDS: usize = 9;

/// The three algorithms for `channels` in and out.
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
    };
    (source, destination, spec)
}

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
        let (source, destination, spec) = geometry(images, channels, side);
        let number = |i: usize| (i * 7919 % 1013) as f32 / 507.0 - 1.0;
        let input: Vec<f32> = (0..images * source.image).map(number).collect();
        let weights: Vec<f32> = (0..channels * channels * 9).map(number).collect();
        let taps = (0..9).map(|index| Offset {
            dy: index as isize / 3 - 1,
            dx: index as isize % 3 - 1,
            index,
        });
        let phases = vec![([0, 0], taps.collect())];
        let direct = Window::new(source, destination, [1, 1], [1, 1], phases, spec);
        let others = [2, 4].map(|size| Winograd::new(source, destination, [-1, -1], size, spec));
        let packs = [direct.spec(), others[0].spec(), others[1].spec()];
        let packs = packs.map(|spec| spec.pack(&weights, None).unwrap());
        let most = others.iter().map(|w| w.workspace(threads)).max();
        let mut workspace = vec![0.0; most.unwrap_or(0)];
        let mut out = vec![0.0; images * source.image];
        let mut times = [const { Vec::new() }; 3];
        for round in 0..=ROUNDS {
            for (k, pack) in packs.iter().enumerate() {
                let (none, pack) = (Finish::default(), pack.as_slice());
                let start = Instant::now();
                match k {
                    0 => direct.run(&input, pack, [None; 2], &mut out, &mut [], none, cx),
                    _ => {
                        let workspace = Workspace(&mut workspace);
                        let winograd = &others[k - 1];
                        let out = &mut out;
                        winograd.run(&input, pack, [None; 2], out, &mut [], none, workspace, cx);
                    }
                }
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
