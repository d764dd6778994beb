//! The suite on the best graphics adapter of this machine, in hardware or in
//! software. Without one the tests are skipped, unless LIMPID_REQUIRE_WGPU is set.
//!
//! Mesa's software Vulkan on two cores takes a minute or two for each of the
//! two large modes. So not everything runs in every setting: gradients, whose kernels are
//! those of the operators, only in the first; with WebGPU's limits and without
//! subgroups at once, since nothing depends on both; other tiles and sizes of
//! workgroups, and checks of bounds, without the reference and guards. `op-suite --device wgpu` runs
//! each alone.

#![allow(clippy::print_stderr, reason = "it is told why a test is skipped")]

use limpid_device::DeviceError;
use limpid_op_suite::{
    Batched, KnownFailures, Mode, Options, batched_problems, bits, run, test_problems,
};
use limpid_wgpu::{AdapterClass, LimitSet, Matrices, Tile, Tuning, WgpuDevice, WgpuOptions};

fn device(options: WgpuOptions) -> Option<WgpuDevice> {
    match WgpuDevice::new(options) {
        Ok(device) => Some(device),
        Err(e) if std::env::var_os("LIMPID_REQUIRE_WGPU").is_some() => panic!("{e}"),
        Err(e) => {
            eprintln!("skipped: {e}");
            None
        }
    }
}

fn check(mode: Mode, options: WgpuOptions) {
    let Some(device) = device(options) else {
        return;
    };
    let options = Options {
        known: KnownFailures::committed().unwrap(),
        ..Options::default()
    };
    let report = run(&device, mode, &options);
    assert!(report.is_success(), "{report}");
    assert!(report.unsupported().is_empty(), "{report}");
}

#[test]
fn operators_match_the_reference() {
    check(Mode::Test, WgpuOptions::default());
}

#[test]
fn gradients_match_the_reference() {
    check(Mode::Gradient, WgpuOptions::default());
}

#[test]
fn everything_is_supported() {
    check(Mode::Support, WgpuOptions::default());
}

#[test]
fn operators_match_the_reference_within_webgpu_s_limits_and_without_subgroups() {
    let options = WgpuOptions {
        limits: LimitSet::WebGpu,
        no_subgroups: true,
        ..WgpuOptions::default()
    };
    check(Mode::Test, options);
}

/// Images as f16, where the adapter has it: convolutions and pools, which are
/// what reads and writes them; and units for small matrices, emulated.
#[test]
fn images_of_f16_match_the_reference() {
    for (filter, matrices) in [
        ("conv", Matrices::Adapter),
        ("pool", Matrices::Adapter),
        ("conv 3x3", Matrices::Emulated),
    ] {
        let options = WgpuOptions {
            half: true,
            matrices,
            ..WgpuOptions::default()
        };
        match WgpuDevice::new(options.clone()) {
            Err(e @ DeviceError::Precision { .. }) => eprintln!("skipped: {e}"),
            _ => check_some(filter, options),
        }
    }
}

#[test]
fn products_by_units_for_matrices_match_the_reference() {
    let options = WgpuOptions {
        matrices: Matrices::Emulated,
        ..WgpuOptions::default()
    };
    for filter in ["conv 3x3", "gemm [3, 128]", "matmul"] {
        check_some(filter, options.clone());
    }
}

/// The cases whose names contain `filter`.
fn check_some(filter: &str, options: WgpuOptions) {
    let Some(device) = device(options) else {
        return;
    };
    let options = Options {
        filter: Some(filter.to_owned()),
        ..Options::default()
    };
    let report = run(&device, Mode::Test, &options);
    assert!(report.is_success(), "{report}");
}

#[test]
fn results_do_not_depend_on_tiles_workgroups_subgroups_nor_checks() {
    let tile = |rows, columns, depth, per_row, per_column| Tile {
        rows,
        columns,
        depth,
        per_row,
        per_column,
    };
    // The one has small tiles alone and cuts launches, the other large ones.
    let table = Tuning::of(AdapterClass::Software);
    let small = Tuning {
        large: tile(32, 32, 16, 4, 4),
        small: tile(32, 32, 16, 4, 4),
        narrow: tile(8, 128, 8, 4, 4),
        invocations: 128,
        fill: usize::MAX,
        submission: 1_000_000,
        ..table
    };
    let large = Tuning {
        large: tile(64, 128, 8, 8, 8),
        small: tile(64, 128, 8, 8, 8),
        narrow: tile(4, 256, 8, 4, 4),
        invocations: 256,
        fill: 0,
        submission: u64::MAX,
        ..table
    };
    let tuned = |tuning| WgpuOptions {
        tuning: Some(tuning),
        ..WgpuOptions::default()
    };
    let without_subgroups = WgpuOptions {
        no_subgroups: true,
        ..tuned(small)
    };
    // Kernels are compiled without checks of their bounds otherwise.
    let checked = WgpuOptions {
        checked: true,
        ..tuned(large)
    };
    let others = [tuned(large), without_subgroups, checked].map(device);
    let Some(first) = device(tuned(small)) else {
        return;
    };
    for problem in &test_problems() {
        let expected = bits(&first, problem);
        for (i, other) in others.iter().flatten().enumerate() {
            assert!(
                bits(other, problem) == expected,
                "{}, variant {i}",
                problem.name
            );
        }
    }
}

#[test]
fn results_do_not_depend_on_the_batch() {
    for matrices in [Matrices::Adapter, Matrices::Emulated] {
        let options = WgpuOptions {
            matrices,
            ..WgpuOptions::default()
        };
        let Some(device) = device(options) else {
            return;
        };
        for Batched { all, each } in batched_problems() {
            let alone = each.iter().flat_map(|p| bits(&device, p).remove(0));
            let whole = bits(&device, &all).remove(0);
            assert!(whole.into_iter().eq(alone), "{}, {matrices:?}", all.name);
        }
    }
}
